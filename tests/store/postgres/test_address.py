"""A URL says where the server is, which schema is ours, and never shows a password."""

from __future__ import annotations

import pytest

from perdure.store.errors import StoreError
from perdure.store.postgres.address import NAME_MAX, Address


def test_the_schema_is_ours_and_the_rest_the_drivers():
    """Without one it is `perdure`."""
    address = Address.parse("postgresql://anna@host:5433/orders?schema=audit&sslmode=require")
    assert (address.schema, address.dsn) == ("audit", "postgresql://anna@host:5433/orders?sslmode=require")
    assert Address.parse("postgresql://host/orders").schema == "perdure"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://anna:secret@host/orders", "postgresql://anna@host/orders"),
        ("postgresql://anna:secret@host/orders?schema=x", "postgresql://anna@host/orders?schema=x"),
        ("postgresql://host/orders?user=anna&password=secret", "postgresql://host/orders?user=anna"),
        ("postgresql://anna@/orders?host=/run/pg", "postgresql://anna@/orders?host=/run/pg"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str):
    """Logs and messages carry the address."""
    assert Address.parse(url).shown == shown


@pytest.mark.parametrize("schema", ["", "x" * (NAME_MAX + 1), "pg_mine"])
def test_an_impossible_schema_is_refused(schema: str):
    """PostgreSQL would cut a long name and keep `pg_` for itself."""
    with pytest.raises(StoreError, match="schema="):
        Address.parse(f"postgresql://host/orders?schema={schema}")
