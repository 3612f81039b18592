"""The lifecycle runs once, however often it is started."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e]

VERDICT = {
    "status": "completed",
    "discovered": 7,
    "accepted": 4,
    "rejected": {
        "OP-04": "pays back after 326 months",
        "OP-05": "has no owner",
        "OP-07": "is only 20% likely",
    },
    "invested": 126_500,
    "net_present_value": 107_560,
    "best": "OP-03",
}


def count(folder: Path, table: str) -> int:
    """Count the rows of a table of the store."""
    with closing(sqlite3.connect(folder / "perdure.db")) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_the_lifecycle_ends_in_its_verdict(python, examples):
    """The smoke test: the program exits with 0 and prints the result."""
    ended = python(examples / "lifecycle" / "main.py")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == VERDICT


def test_a_second_run_joins_the_first_and_runs_no_step(python, examples, tmp_path):
    """One revision, one execution, one attempt of each step."""
    for _ in range(2):
        assert json.loads(python(examples / "lifecycle" / "main.py").stdout) == VERDICT
    assert count(tmp_path, "workflows") == 1
    assert count(tmp_path, "workflow_executions") == 1
    assert count(tmp_path, "workflow_step_executions") == 5
