"""The runs of one legacy file: each row with the rows of its steps and outputs."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import msgspec

from perdure.runtime.importing.shapes import Layout, Names

Row = dict[str, Any]


class Tables(Protocol):
    """What rows are read from."""

    def rows(self, table: str) -> Iterable[Row]:
        """Every row of a table by its columns."""
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


class Found(msgspec.Struct, kw_only=True):
    """All of one file: its runs in order, and the rows that belong to none, with the reason."""

    runs: list[Run] = msgspec.field(default_factory=list)
    stray: list[tuple[str, str]] = msgspec.field(default_factory=list)
    rows: int = 0  # of all tables together


def gather(tables: Tables, layout: Layout) -> Found:
    """Put together what belongs together."""
    found = Found()
    names = _workflow_names(tables, layout)
    by_id: dict[str, Run] = {}
    for position, row in enumerate(tables.rows(layout.runs), start=1):
        found.rows += 1
        id_ = text_of(value(row, layout.run, "id")) or f"row-{position}"
        if id_ in by_id:
            found.stray.append((f"{layout.runs} {id_}", "its id is there twice"))
            continue
        workflow = text_of(value(row, layout.run, "workflow")) or "unnamed"
        by_id[id_] = Run(row=row, id=id_, workflow=names.get(workflow, workflow))
    found.runs = list(by_id.values())
    ids = _gather_steps(tables, layout, by_id, found)
    _gather_outputs(tables, layout, by_id, found, ids)
    return found


def _gather_steps(
    tables: Tables, layout: Layout, runs: dict[str, Run], found: Found
) -> dict[tuple[str, str], StepRow]:
    """Give each run its steps; answers the last step of each run by its name, and by its own id."""
    by_name: dict[tuple[str, str], StepRow] = {}
    if layout.steps is None:
        return by_name
    counts: dict[str, int] = defaultdict(int)
    for row, run in _with_runs(tables, layout.steps, layout.step, runs, found):
        counts[run.id] += 1
        key = text_of(value(row, layout.step, "key")) or f"step-{counts[run.id]}"
        step = StepRow(row=row, key=key)
        run.steps.append(step)
        for name in (key, text_of(value(row, layout.step, "id"))):
            if name:
                by_name[run.id, name] = step
    return by_name


def _gather_outputs(
    tables: Tables,
    layout: Layout,
    runs: dict[str, Run],
    found: Found,
    steps: dict[tuple[str, str], StepRow],
) -> None:
    if layout.outputs is None:
        return
    for row, run in _with_runs(tables, layout.outputs, layout.output, runs, found):
        step = steps.get((run.id, text_of(value(row, layout.output, "step"))))
        (run.outputs if step is None else step.outputs).append(row)


def _with_runs(
    tables: Tables, table: str, names: Names, runs: Mapping[str, Run], found: Found
) -> Iterator[tuple[Row, Run]]:
    """The rows of a table, each with the run it belongs to; those that belong to none are stray."""
    for row in tables.rows(table):
        found.rows += 1
        owner = text_of(value(row, names, "run"))
        if owner in runs:
            yield row, runs[owner]
        else:
            found.stray.append((f"{table} {_name(row, names)}", _no_run(owner)))


def _workflow_names(tables: Tables, layout: Layout) -> dict[str, str]:
    """The names of workflows by their ids, where runs tell only those."""
    if layout.definitions is None:
        return {}
    pairs = (
        (text_of(value(row, layout.definition, "id")), text_of(value(row, layout.definition, "name")))
        for row in tables.rows(layout.definitions)
    )
    return {id_: name for id_, name in pairs if id_ and name}


def value(row: Row, names: Names, meaning: str) -> Any:
    """What the row says about it; None where there is no such column."""
    column = names.get(meaning)
    return None if column is None else row[column]


def text_of(part: Any) -> str:
    """A value as a name: numbers as people write them; nothing where there is none."""
    return "" if part is None else str(part).strip()


def parsed(part: Any, read: Callable[[str], Any] = msgspec.json.decode) -> Any:
    """A text that is JSON as what it says, anything else as it stands."""
    if not isinstance(part, str):
        return part
    try:
        return read(part)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return part


def _name(row: Row, names: Names) -> str:
    return next(
        (text_of(value(row, names, meaning)) for meaning in ("id", "key", "name") if meaning in names), "?"
    )


def _no_run(owner: str) -> str:
    return f"it belongs to the run {owner!r}, which is not there" if owner else "it belongs to no run"
