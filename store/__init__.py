"""perdure.store: the memory. Records, states and their law, SQLite behind one protocol."""

from perdure.store.protocol import Store
from perdure.store.sqlite import SQLiteStore

__all__ = ["SQLiteStore", "Store"]
