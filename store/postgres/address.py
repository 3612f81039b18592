"""Where the facts are: a `postgresql://` URL, of which `schema` is ours and the rest the driver's."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from perdure.store.errors import StoreError
from perdure.store.urls import POSTGRES, is_address, without_password

FORM: Final = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
SCHEMA: Final = "perdure"  # ours alone, so that no table of the user's is ever in the way
NAME_MAX: Final = 63  # bytes of an identifier; PostgreSQL would cut a longer one in silence
POOLERS: Final = {"auto": None, "transaction": True, "session": False}  # `?pooler=`: what is in between


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A URL taken apart."""

    dsn: str  # what the driver gets
    schema: str
    shown: str  # what people may see: without the password
    is_pooled: bool | None = None  # a pooler hands sessions out transaction by transaction; None: find out

    @classmethod
    def parse(cls, url: str) -> Address:
        """Take it apart. Raises StoreError for what is none, another scheme or an impossible schema."""
        if not is_address(url):
            raise StoreError(
                f"{without_password(url)} cannot be read as an address: write {FORM}, and what a password "
                "has beside letters and digits as %2F and the like"
            )
        parts = urlsplit(url)
        if parts.scheme not in POSTGRES:
            raise StoreError(f"{parts.scheme or url!r} is no address of PostgreSQL: write postgresql://…")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        schema = options.pop("schema", SCHEMA)
        pooler = options.pop("pooler", "auto")
        if pooler not in POOLERS:
            raise StoreError(f"?pooler={pooler}: say transaction, session or auto")
        if not 0 < len(schema.encode()) <= NAME_MAX or "\0" in schema or schema.startswith("pg_"):
            raise StoreError(
                f"?schema={schema!r} cannot be: use a name of at most {NAME_MAX} bytes, not pg_…"
            )
        return cls(
            dsn=urlunsplit(parts._replace(query=urlencode(options, safe="/,:"))),
            schema=schema,
            shown=without_password(url),
            is_pooled=POOLERS[pooler],
        )
