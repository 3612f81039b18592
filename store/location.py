"""Chooses the kind of store by where it is to be: a URL's scheme, or the path of a file."""

from __future__ import annotations

import re
from typing import Final

from perdure.store.errors import StoreError
from perdure.store.protocol import Store
from perdure.store.scripts.sealing import Keys
from perdure.store.sqlite import SQLiteStore
from perdure.store.urls import POSTGRES

ADDRESS: Final = "file:"  # which some builds of SQLite read as one wherever a path is given
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def store_at(
    location: str,
    *,
    durability: str = "power",
    client: bool = False,
    keys: Keys | None = None,
    is_view: bool = False,
    must_exist: bool = False,
) -> Store:
    """The store there, not yet opened; with `keys` its payloads are encrypted.

    On a server one that `is_view` makes no schema and brings none up to date, and one that `must_exist`
    makes none; of a file see `SQLiteView`, and whether it is there.

    Raises StoreError where no store of ours can be.

    What a server needs is imported only when one is asked for.
    """
    url = _SCHEME.match(location)
    if location.startswith(ADDRESS):
        raise StoreError(
            f"{location} is an address of SQLite's, which may name a file that nothing is kept in: give the "
            "path (./file:… if it is called so)"
        )
    if url is None:
        return SQLiteStore(location, durability=durability, client=client, keys=keys)
    if url[1] not in POSTGRES:
        raise StoreError(f"{url[1]}:// is no kind of store: give the path of a file, or postgresql://…")
    try:
        from perdure.store.postgres import PostgresStore  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise StoreError(f"{url[1]}:// needs the asyncpg library: pip install 'perdure[postgres]'") from error
    return PostgresStore(location, durability=durability, keys=keys, is_view=is_view, must_exist=must_exist)
