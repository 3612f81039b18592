"""A URL says where the server is, which schema is ours, and never shows a password."""

from __future__ import annotations

import pytest

from perdure.store.errors import StoreError
from perdure.store.postgres.address import NAME_MAX, Address
from perdure.store.urls import without_password


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


@pytest.mark.parametrize(
    "password", ["ses/ame", "ses?ame", "ses#ame", "ses[ame", "12/ame", "12?34=ame", "ses?am=e"]
)
def test_a_password_that_is_not_written_as_in_a_url_is_refused_and_not_shown_either(password: str):
    """It ends the host in its middle, and the rest of it passes for a path or an option."""
    url = f"postgresql://anna:{password}@host:5433/orders"
    with pytest.raises(StoreError, match="%2F and the like") as told:
        Address.parse(url)
    assert "ame" not in str(told.value) + without_password(url)
    assert without_password(url) == "postgresql://…"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://anna:s%2Fe@host:5433,other:/orders",
        "postgresql://[::1]:5433/orders?search_path=a,b&user=anna@there",
        "postgresql://anna:p@ss@host/orders",
        "postgresql:///orders",
    ],
)
def test_what_can_be_read_as_an_address_is_not_refused(url: str):
    """Several hosts, one in brackets, none; an @ where it does no harm."""
    assert Address.parse(url).schema == "perdure"


@pytest.mark.parametrize("schema", ["", "x" * (NAME_MAX + 1), "pg_mine"])
def test_an_impossible_schema_is_refused(schema: str):
    """PostgreSQL would cut a long name and keep `pg_` for itself."""
    with pytest.raises(StoreError, match="schema="):
        Address.parse(f"postgresql://host/orders?schema={schema}")
