"""A password is never shown, wherever in an address it stands."""

from __future__ import annotations

import pytest

from perdure.store.urls import without_password


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("orders.db", "orders.db"),
        (":memory:", ":memory:"),
        ("postgresql://anna:secret@host/orders", "postgresql://anna@host/orders"),
        ("postgresql://anna:sec:r@et@host/orders?schema=x", "postgresql://anna@host/orders?schema=x"),
        ("postgresql://host/orders?user=anna&password=secret", "postgresql://host/orders?user=anna"),
        ("postgresql://host/orders?sslpassword=secret", "postgresql://host/orders"),
        ("postgresql://anna@/orders?host=/run/pg", "postgresql://anna@/orders?host=/run/pg"),
        ("postgresql:///orders?host=/run/pg", "postgresql:///orders?host=/run/pg"),
        ("postgresql://anna:12?a=x@host", "postgresql://…"),
    ],
)
def test_a_location_is_shown_without_its_password(location: str, shown: str):
    """Everything else stays, for people to know it again."""
    assert without_password(location) == shown
