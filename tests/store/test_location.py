"""Where a store is to be decides which kind it is."""

from __future__ import annotations

import sys

import pytest

from perdure.store import SQLiteStore, store_at
from perdure.store.errors import StoreError
from perdure.store.postgres import PostgresStore


def test_a_path_is_a_file_and_a_url_a_server():
    """Nothing is opened by asking."""
    assert isinstance(store_at("orders.db"), SQLiteStore)
    assert isinstance(store_at(":memory:"), SQLiteStore)
    assert isinstance(store_at("postgresql://host/orders"), PostgresStore)
    assert isinstance(store_at("postgres://host/orders"), PostgresStore)


def test_a_scheme_nobody_knows_is_refused_by_name():
    """Or a file of that strange name would be made."""
    with pytest.raises(StoreError, match=r"mysql:// is no kind of store: .* postgresql://"):
        store_at("mysql://host/orders")


@pytest.mark.parametrize("address", ["file:orders.db", "file:orders?mode=memory", "file:///orders.db"])
def test_an_address_of_sqlites_is_refused(address: str):
    """Builds of SQLite that read it as one would keep another file than we look after, or none."""
    with pytest.raises(StoreError, match="give the path"):
        store_at(address)
    assert isinstance(store_at(f"./{address}"), SQLiteStore)


def test_without_the_extra_it_is_told_what_to_install(monkeypatch):
    """In one sentence, and no other part of the package needs it."""
    for name in [name for name in sys.modules if name.startswith("perdure.store.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(StoreError, match=r"pip install 'perdure\[postgres\]'"):
        store_at("postgresql://host/orders")
