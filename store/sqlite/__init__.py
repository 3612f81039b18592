"""The facts in one SQLite file: the only package that has heard of SQLite; knows nothing of PostgreSQL."""

from perdure.store.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
