"""perdure.store: the memory. Records, states and their law, SQLite and PostgreSQL behind one protocol."""

from perdure.store.location import store_at
from perdure.store.protocol import Store
from perdure.store.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore", "Store", "store_at"]
