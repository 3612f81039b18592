"""Databases as earlier systems have left them: no sample is to be had, so the shapes are written here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

RUNS = """
CREATE TABLE workflow_runs (id INTEGER PRIMARY KEY, workflow_name TEXT, status TEXT, started_at TEXT,
    completed_at TEXT, error_message TEXT, params TEXT);
CREATE TABLE workflow_steps (id INTEGER PRIMARY KEY, run_id INTEGER, step_name TEXT, status TEXT,
    started_at TEXT, completed_at TEXT, error TEXT);
CREATE TABLE workflow_outputs (id INTEGER PRIMARY KEY, run_id INTEGER, step_name TEXT, output_name TEXT,
    content TEXT);
"""

EXECUTIONS = """
CREATE TABLE workflows (id TEXT PRIMARY KEY, name TEXT);
CREATE TABLE workflow_executions (id TEXT PRIMARY KEY, workflow_id TEXT, state TEXT, created_at INTEGER,
    started_at INTEGER, finished_at INTEGER, error TEXT, context TEXT, trace_id TEXT);
CREATE TABLE workflow_step_executions (id TEXT PRIMARY KEY, execution_id TEXT, step_key TEXT, agent TEXT,
    state TEXT, started_at INTEGER, finished_at INTEGER, output TEXT);
"""

BARE = "CREATE TABLE executions (execution_id TEXT, status TEXT)"  # what is missing is missing

UUID = "6f1c1c9e-5a4e-4a52-9d8b-0e7b6f0a1c11"


def made(path: Path, schema: str, rows: dict[str, Iterable[tuple[Any, ...]]]) -> Path:
    """A database of that schema, with those rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(schema)
        for table, values in rows.items():
            for row in values:
                places = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} VALUES ({places})", row)
        connection.commit()
    return path


def run_history(path: Path) -> Path:
    """Runs, steps and outputs, with all that is odd about old rows."""
    return made(
        path,
        RUNS,
        {
            "workflow_runs": [
                (
                    1,
                    "Nightly Report",
                    "success",
                    "2024-03-01 02:00:00",
                    "2024-03-01T02:05:00+00:00",
                    None,
                    '{"day": 1}',
                ),
                (2, "Nightly Report", "error", "2024-03-02T02:00:00Z", None, "disk full", "not json"),
                (3, "Nightly Report", "in_progress", "yesterday", None, None, None),
                (4, "Nightly Report", "queued", None, None, None, None),
                (5, "Nightly Report", "exploded", None, None, None, None),
                (6, None, None, None, None, None, None),
                (7, "Nightly Report", "Canceled", "1709521200", "1709521260.5", None, "[1, 2]"),
            ],
            "workflow_steps": [
                (1, 1, "Fetch Data", "success", "2024-03-01 02:00:00", "2024-03-01 02:01:00", None),
                (2, 1, "report", "failed", "2024-03-01 02:01:00", "2024-03-01 02:02:00", "timed out"),
                (3, 1, "report", "success", "2024-03-01 02:02:00", "2024-03-01 02:05:00", None),
                (4, 2, "Fetch Data", "error", "2024-03-02 02:00:00", None, "disk full"),
                (5, 3, "Fetch Data", "running", None, None, None),
                (6, 99, "Fetch Data", "success", None, None, None),
            ],
            "workflow_outputs": [
                (1, 1, "report", "pages", "12"),
                (2, 1, "report", "title", "March"),
                (3, 1, None, "archive", b"\x00\xff"),
                (4, 77, "report", "pages", "1"),
            ],
        },
    )


def execution_history(path: Path) -> Path:
    """Executions with names of workflows elsewhere, times in milliseconds and ids of their own."""
    return made(
        path,
        EXECUTIONS,
        {
            "workflows": [("w1", "review")],
            "workflow_executions": [
                (
                    UUID,
                    "w1",
                    "completed",
                    1709280000000,
                    1709280001000,
                    1709280009000,
                    None,
                    '{"pr": 7}',
                    "t-1",
                ),
                ("e 2", "w1", "created", 1709280000000, None, None, None, None, None),
                ("e3", "w9", "paused", None, None, None, None, "{}", ""),
            ],
            "workflow_step_executions": [
                ("s1", UUID, "lint", "ruff", "completed", 1709280001000, 1709280002000, '{"issues": 0}'),
                ("s2", UUID, "ship", None, "skipped", None, None, None),
            ],
        },
    )


def bare_history(path: Path) -> Path:
    """Nothing but ids and statuses, one id twice."""
    return made(
        path, BARE, {"executions": [("a", "done"), ("b", "FAILED"), ("a", "done"), (None, "success")]}
    )
