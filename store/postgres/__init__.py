"""perdure.store.postgres: the same facts in PostgreSQL, for processes and machines that share them."""

from perdure.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
