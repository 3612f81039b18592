"""What the databases of earlier systems look like: which tables, and which names their columns have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

# What we look for in a row, and the names it has had; the first one that the table has counts.
RUN: Final[dict[str, tuple[str, ...]]] = {
    "id": ("id", "run_id", "execution_id", "uuid"),
    "workflow": (
        "workflow_name",
        "workflow",
        "workflow_id",
        "pipeline_name",
        "pipeline",
        "definition_id",
        "name",
    ),
    "status": ("status", "state"),
    "created": ("created_at", "created", "queued_at", "timestamp"),
    "started": ("started_at", "start_time", "started", "begin_time"),
    "finished": (
        "completed_at",
        "finished_at",
        "ended_at",
        "end_time",
        "completed",
        "failed_at",
        "cancelled_at",
    ),
    "error": ("error", "error_message", "failure_reason", "exception"),
    "inputs": ("inputs", "input", "context", "parameters", "params", "input_data", "config"),
    "trace_id": ("trace_id", "correlation_id"),
}
STEP: Final[dict[str, tuple[str, ...]]] = {
    "id": ("id", "step_execution_id", "uuid"),
    "run": ("run_id", "workflow_run_id", "execution_id", "workflow_execution_id"),
    "key": ("step_name", "step_key", "key", "name", "step_id", "step"),
    "agent": ("agent", "step_type", "type", "handler"),
    "status": ("status", "state"),
    "started": ("started_at", "start_time", "started", "created_at"),
    "finished": ("completed_at", "finished_at", "ended_at", "end_time", "completed"),
    "error": ("error", "error_message", "failure_reason", "exception"),
    "output": ("output", "result", "outputs", "output_data"),
}
OUTPUT: Final[dict[str, tuple[str, ...]]] = {
    "run": ("run_id", "workflow_run_id", "execution_id"),
    "step": ("step_name", "step_key", "step_id", "step"),
    "name": ("output_name", "output_key", "name", "key", "output_type"),
    "value": ("value", "content", "data", "output", "output_value", "path", "file_path"),
}
DEFINITION: Final[dict[str, tuple[str, ...]]] = {
    "id": ("id", "workflow_id", "uuid"),
    "name": ("name", "workflow_name", "title"),
}

Names = Mapping[str, str]  # what we look for → the column that has it


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A known layout: the tables that mark it, and those that may be missing."""

    name: str
    runs: tuple[str, ...]
    steps: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    definitions: tuple[str, ...] = ()


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """A shape as one file has it: the tables that are there and the names of their columns."""

    shape: str
    runs: str
    run: Names
    steps: str | None = None
    step: Names = {}
    outputs: str | None = None
    output: Names = {}
    definitions: str | None = None
    definition: Names = {}


SHAPES: Final = (
    Shape(name="runs", runs=("workflow_runs",), steps=("workflow_steps", "workflow_run_steps"),
          outputs=("workflow_outputs",)),
    Shape(name="executions", runs=("workflow_executions", "executions"),
          steps=("workflow_step_executions", "step_executions", "execution_steps"),
          outputs=("workflow_outputs", "execution_outputs"),
          definitions=("workflows", "workflow_definitions")),
)  # fmt: skip


def detected(tables: Mapping[str, Iterable[str]]) -> Layout | str:
    """The layout of a file with these tables and columns, or why it has none that is known."""
    for shape in SHAPES:
        runs = _first(shape.runs, tables)
        if runs is None:
            continue
        run = named(RUN, tables[runs])
        if "status" not in run:
            return f"has no column for a status in {runs} ({' or '.join(RUN['status'])})"
        parts = {
            "steps": (_first(shape.steps, tables), "step", STEP),
            "outputs": (_first(shape.outputs, tables), "output", OUTPUT),
            "definitions": (_first(shape.definitions, tables), "definition", DEFINITION),
        }
        found: dict[str, object] = {}
        for part, (table, columns, wanted) in parts.items():
            if table is not None:
                found |= {part: table, columns: named(wanted, tables[table])}
        return msgspec.convert({"shape": shape.name, "runs": runs, "run": run, **found}, Layout)
    known = ", ".join(name for shape in SHAPES for name in shape.runs)
    return f"has none of the tables that are known ({known})"


def named(wanted: Mapping[str, tuple[str, ...]], columns: Iterable[str]) -> Names:
    """For each thing we look for the column that has it; one column is never two things."""
    left = {column.lower(): column for column in columns}
    names: dict[str, str] = {}
    for meaning, candidates in wanted.items():
        column = next((left.pop(name) for name in candidates if name in left), None)
        if column is not None:
            names[meaning] = column
    return names


def _first(candidates: Iterable[str], tables: Iterable[str]) -> str | None:
    there = set(tables)
    return next((name for name in candidates if name in there), None)
