"""The statements all stores share are rewritten for PostgreSQL, and only where they must be."""

from __future__ import annotations

import pytest

from perdure.store.postgres.dialect import dialect, quoted


@pytest.mark.parametrize(
    ("shared", "translated"),
    [
        ("SELECT 1 FROM runners WHERE no = ?", 'SELECT 1 FROM "s".runners WHERE no = $1'),
        ("UPDATE workflow_timers SET kind = ?, no = ?", 'UPDATE "s".workflow_timers SET kind = $1, no = $2'),
        ("SELECT id FROM runners INDEXED BY by_id WHERE id > ?", 'SELECT id FROM "s".runners WHERE id > $1'),
        ("INSERT INTO runners (id) VALUES (?)", 'INSERT INTO "s".runners (id) VALUES ($1) RETURNING no'),
        (
            "INSERT INTO workflow_events (at) VALUES (?)",
            'INSERT INTO "s".workflow_events (at) VALUES ($1) RETURNING id',
        ),
        (
            "INSERT INTO workflow_contexts (context) VALUES (?)",
            'INSERT INTO "s".workflow_contexts (context) VALUES ($1)',
        ),
        ("SELECT json_valid(x) FROM (SELECT 1)", 'SELECT "s".json_valid(x) FROM (SELECT 1)'),
    ],
)
def test_a_shared_statement_is_translated(shared: str, translated: str):
    """Tables get their schema, parameters their numbers, and an insert answers its key."""
    assert dialect("s")(shared) == translated


def test_a_schema_may_have_any_name():
    """It is quoted wherever it stands."""
    assert quoted('my "own" place') == '"my ""own"" place"'
