"""The runs of one legacy file: each row with the rows of its steps and outputs.

The file is read once to find out which rows belong together. Of a run only the places of its rows are
kept; the rows are read again, run by run, when they are needed. So a file may be larger than the memory.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import msgspec

from perdure.runtime.importing.shapes import Layout, Names
from perdure.store.sqlite.legacy import Place, Row


class Tables(Protocol):
    """What rows are read from."""

    def rows(self, table: str) -> Iterable[tuple[Place, Row]]:
        """Every row of a table by its columns, and its place."""
        ...

    def row_at(self, table: str, place: Place) -> Row:
        """The row of that place."""
        ...


class StepRow(msgspec.Struct, kw_only=True):
    """The row of one step, and of what it has put out."""

    row: Row
    key: str
    outputs: list[Row] = msgspec.field(default_factory=list)


class Run(msgspec.Struct, kw_only=True):
    """The row of one run, and what belongs to it."""

    row: Row
    id: str
    workflow: str
    steps: list[StepRow] = msgspec.field(default_factory=list)
    outputs: list[Row] = msgspec.field(default_factory=list)

    @property
    def digest(self) -> str:
        """What tells this run from one of the same id that says something else."""
        canonical = msgspec.json.encode([self.row, self.steps, self.outputs], order="sorted")
        return hashlib.sha256(canonical).hexdigest()


class Places(msgspec.Struct, kw_only=True):
    """Where the rows of one run are."""

    id: str
    workflow: str
    row: Place
    steps: list[Place] = msgspec.field(default_factory=list)
    outputs: list[Place] = msgspec.field(default_factory=list)


class Found(msgspec.Struct, kw_only=True):
    """All of one file: its runs in order, and the rows that belong to none, with the reason."""

    tables: Tables
    layout: Layout
    runs: list[Places] = msgspec.field(default_factory=list)
    stray: list[tuple[str, str]] = msgspec.field(default_factory=list)
    rows: int = 0  # of all tables together

    def read(self, places: Places) -> Run:
        """All of one run; an output belongs to the last step of its name, or of its id, else to the run."""
        tables, layout = self.tables, self.layout
        run = Run(row=tables.row_at(layout.runs, places.row), id=places.id, workflow=places.workflow)
        by_name: dict[str, StepRow] = {}
        for position, place in enumerate(places.steps, start=1):
            row = tables.row_at(layout.steps or "", place)
            step = StepRow(row=row, key=text_of(value(row, layout.step, "key")) or f"step-{position}")
            run.steps.append(step)
            by_name |= dict.fromkeys((step.key, text_of(value(row, layout.step, "id"))), step)
        by_name.pop("", None)
        for place in places.outputs:
            row = tables.row_at(layout.outputs or "", place)
            owner = by_name.get(text_of(value(row, layout.output, "step")))
            (run.outputs if owner is None else owner.outputs).append(row)
        return run

    def all(self) -> Iterator[Run]:
        """Every run, one after the other."""
        return map(self.read, self.runs)


def gather(tables: Tables, layout: Layout) -> Found:
    """Find out which rows belong together."""
    found = Found(tables=tables, layout=layout)
    names = _workflow_names(tables, layout)
    by_id: dict[str, Places] = {}
    for position, (place, row) in enumerate(tables.rows(layout.runs), start=1):
        found.rows += 1
        id_ = text_of(value(row, layout.run, "id")) or f"row-{position}"
        if id_ in by_id:
            found.stray.append((f"{layout.runs} {id_}", "its id is there twice"))
            continue
        workflow = text_of(value(row, layout.run, "workflow")) or "unnamed"
        by_id[id_] = Places(row=place, id=id_, workflow=sys.intern(names.get(workflow, workflow)))
    found.runs = list(by_id.values())
    for place, run in _with_runs(found, layout.steps, layout.step, by_id):
        run.steps.append(place)
    for place, run in _with_runs(found, layout.outputs, layout.output, by_id):
        run.outputs.append(place)
    return found


def _with_runs(
    found: Found, table: str | None, names: Names, runs: Mapping[str, Places]
) -> Iterator[tuple[Place, Places]]:
    """The rows of a table, if there is one, each with its run; those that belong to none are stray."""
    for place, row in () if table is None else found.tables.rows(table):
        found.rows += 1
        owner = text_of(value(row, names, "run"))
        if owner in runs:
            yield place, runs[owner]
        else:
            found.stray.append((f"{table} {_name(row, names)}", _no_run(owner)))


def _workflow_names(tables: Tables, layout: Layout) -> dict[str, str]:
    """The names of workflows by their ids, where runs tell only those."""
    if layout.definitions is None:
        return {}
    pairs = (
        (text_of(value(row, layout.definition, "id")), text_of(value(row, layout.definition, "name")))
        for _, row in tables.rows(layout.definitions)
    )
    return {id_: name for id_, name in pairs if id_ and name}


def value(row: Row, names: Names, meaning: str) -> Any:
    """What the row says about it; None where there is no such column."""
    column = names.get(meaning)
    return None if column is None else row[column]


def text_of(part: Any) -> str:
    """A value as a name: numbers as people write them; nothing where there is none."""
    return "" if part is None else str(part).strip()


def parsed(part: Any) -> Any:
    """A text that is JSON as what it says, anything else as it stands."""
    if not isinstance(part, str):
        return part
    try:
        return msgspec.json.decode(part)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return part


def _name(row: Row, names: Names) -> str:
    return next(
        (text_of(value(row, names, meaning)) for meaning in ("id", "key", "name") if meaning in names), "?"
    )


def _no_run(owner: str) -> str:
    return f"it belongs to the run {owner!r}, which is not there" if owner else "it belongs to no run"
