"""The data pipeline loads the shipped file, once and only once."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e]

SUMMARY = {
    "sales": 183,
    "rejected": {
        "impossible date": 4,
        "impossible quantity": 8,
        "order seen before": 7,
        "no price": 1,
        "unknown region": 5,
        "line is cut off": 1,
    },
    "revenue_cents": 5_256_890,
    "best_month": "2024-05",
    "best_region": "North",
}


def tables(folder: Path) -> tuple[list[tuple], list[tuple]]:
    """Read both tables back."""
    with closing(sqlite3.connect(folder / "sales.db")) as connection:
        sales = connection.execute("SELECT * FROM sales ORDER BY 1").fetchall()
        return sales, connection.execute("SELECT * FROM revenue ORDER BY 1, 2").fetchall()


def test_the_dirty_file_is_cleaned_loaded_and_summed_up(python, examples, tmp_path):
    """What can be understood is in the table; the rest is counted by reason."""
    ended = python(examples / "data_pipeline" / "main.py")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == SUMMARY
    sales, revenue = tables(tmp_path)
    assert ("S-1002", "2024-03-01", "South", "chair", 2, 23_900) in sales
    assert len(revenue) == 12


def test_loading_the_same_sales_again_changes_nothing(python, examples, tmp_path):
    """The load writes by key: a second run, or one repeated after a crash, leaves the same tables."""
    python(examples / "data_pipeline" / "main.py")
    before = tables(tmp_path)
    ended = python(examples / "data_pipeline" / "main.py")
    assert json.loads(ended.stdout) == SUMMARY
    assert tables(tmp_path) == before
