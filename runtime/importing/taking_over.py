"""Takes the runs of legacy files over into a store, reports on each file, and takes a batch back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from perdure.actors.instructions.plan import PAST
from perdure.runtime.importing.converting import (
    Kind,
    Order,
    Refusal,
    converted,
    created_at,
    kinds,
    publication,
    triggered_by,
)
from perdure.runtime.importing.runs import Found, Run, gather, value
from perdure.runtime.importing.shapes import Layout, detected
from perdure.store.errors import IllegalTransition, NotFound, PerdureError, StoreError
from perdure.store.protocol import Answer
from perdure.store.records import Event, Execution, Workflow
from perdure.store.sqlite.legacy import LegacyFile, opened
from perdure.store.states import State
from perdure.store.writes import DeleteExecution, DeleteWorkflow, Start, Started, Write

STARTS_MAX: Final = 200  # executions of one commit: some MB, and nobody else waits for long
PAGE_BYTES: Final = 8 * 2**20  # of their rows: large ones are fewer in one commit
SUFFIXES: Final = frozenset({".db", ".sqlite", ".sqlite3"})  # what is looked for in a folder


class Target(Protocol):
    """What an import needs of a store."""

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """Apply a batch."""
        ...

    async def execution(self, execution_id: str) -> Execution | None:
        """One execution."""
        ...

    async def events(self, *, execution_id: str | None, after: int = 0, limit: int = 1_000) -> list[Event]:
        """Its log."""
        ...

    async def started_by(self, triggered_by: str, *, limit: int = 1_000) -> list[str]:
        """What a batch has brought."""
        ...

    async def workflows(self, *, active_only: bool = True) -> list[Workflow]:
        """The definitions."""
        ...


class Report(msgspec.Struct, kw_only=True):
    """What became of one file; `runs` is the sum of `imported`, `known` and the refused runs."""

    path: str
    shape: str | None = None
    why: str | None = None  # the file as a whole could not be imported from
    rows: int = 0
    runs: int = 0
    imported: int = 0
    known: int = 0
    refused: list[tuple[str, str]] = msgspec.field(default_factory=list)  # which row, and why
    statuses: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    renamed: dict[str, str] = msgspec.field(default_factory=dict)  # workflows and steps, old → new


def files_in(path: str) -> list[str]:
    """The file, or the databases of the folder and of those below it. Raises NotFound."""
    place = Path(path)
    if place.is_dir():
        found = sorted(str(p) for p in place.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise NotFound("database", path, hint=f"looked for {', '.join(sorted(SUFFIXES))}")
        return found
    if not place.exists():
        raise NotFound("file or folder", path)
    return [path]


async def import_file(
    target: Target | None,
    path: str,
    *,
    source: str,
    batch: str,
    own: Mapping[str, State],
    at: int,
    is_rehearsal: bool,
) -> Report:
    """Take the file's runs over at that time (ms), unless it is a rehearsal; the file itself is only read.

    `target` may be None where there is no store yet and it is a rehearsal. Raises StoreError of the target.
    """
    report = Report(path=path)
    order = Order(source=source, batch=batch, own=own, at=at, dated=_written_at(path))
    try:
        with opened(path) as file:
            layout = detected(file.tables)
            if isinstance(layout, str):
                report.why = layout
                return report
            found = _gathered(file, layout, report)
            published = await _published(target, found, order, report, is_rehearsal=is_rehearsal)
            for page in _pages(_starts(found, order, published, report)):
                await _take_over(target, page, report, is_rehearsal=is_rehearsal)
    except StoreError as error:
        if report.shape is not None:
            raise  # the file was read to its end
        report.why = str(error)
        return report
    assert report.imported + report.known + _refused_runs(report) == report.runs, "a run was lost"
    return report


def _written_at(path: str) -> int:
    """When the file was last written (ms)."""
    return round(Path(path).stat().st_mtime * 1_000)


def _gathered(file: LegacyFile, layout: Layout, report: Report) -> Found:
    found = gather(file, layout)
    report.shape, report.rows, report.runs = layout.shape, found.rows, len(found.runs)
    report.refused += found.stray
    return found


def _refused_runs(report: Report) -> int:
    return sum(which.startswith("run ") for which, _ in report.refused)


async def _published(
    target: Target | None, found: Found, order: Order, report: Report, *, is_rehearsal: bool
) -> dict[str, tuple[Kind, int]]:
    """The workflows of the runs by their old names, with the numbers of the revisions that stand for them."""
    published: dict[str, tuple[Kind, int]] = {}
    for original, kind in kinds(found.all(), found.layout).items():
        renamed = {original: kind.name} | {old: kind.keys[number] for old, number in kind.numbers.items()}
        report.renamed |= {old: new for old, new in renamed.items() if old != new}
        answer: Answer = 0
        if target is not None and not is_rehearsal:
            [answer] = await target.commit([publication(kind, at=order.dated)])
            if isinstance(answer, PerdureError):
                raise answer
        assert isinstance(answer, int)
        published[original] = kind, answer
    return published


def _starts(
    found: Found, order: Order, published: Mapping[str, tuple[Kind, int]], report: Report
) -> Iterator[tuple[Run, Start]]:
    """The writes of all runs that can be imported, in the order of their times; the report has the others."""
    dated = [created_at(run, found.layout, order) for run in found.all()]
    for _, places in sorted(zip(dated, found.runs, strict=True), key=lambda one: one[0]):
        run = found.read(places)
        kind, number = published[run.workflow]
        try:
            start = converted(run, kind, found.layout, order, workflow_no=number)
        except (Refusal, PerdureError) as error:
            report.refused.append((f"run {run.id}", str(error)))
            continue
        report.statuses[str(value(run.row, found.layout.run, "status")), start.state.value] += 1
        yield run, start


def _pages(starts: Iterable[tuple[Run, Start]]) -> Iterator[list[tuple[Run, Start]]]:
    """So many that they are neither too many nor too large for one transaction."""
    page: list[tuple[Run, Start]] = []
    size = 0
    for run, start in starts:
        page.append((run, start))
        size += sum(len(event.data or b"") for event in start.delta.events)
        if len(page) == STARTS_MAX or size >= PAGE_BYTES:
            yield page
            page, size = [], 0
    if page:
        yield page


async def _take_over(
    target: Target | None, starts: Sequence[tuple[Run, Start]], report: Report, *, is_rehearsal: bool
) -> None:
    """Write them, in one transaction; what is there already is compared."""
    if target is None:
        report.imported += len(starts)
        return
    answers: list[Answer] = []
    if is_rehearsal:
        for _, start in starts:
            is_there = await target.execution(start.id) is not None
            answers.append(Started(0, joined=is_there, first_event_id=0))
    else:
        answers = await target.commit([start for _, start in starts])
    for (run, start), answer in zip(starts, answers, strict=True):
        if isinstance(answer, PerdureError):
            report.refused.append((f"run {run.id}", str(answer)))
        elif isinstance(answer, Started) and not answer.joined:
            report.imported += 1
        elif (why := await _unlike(target, run, start.id)) is None:
            report.known += 1
        else:
            report.refused.append((f"run {run.id}", why))


async def _unlike(target: Target, run: Run, id_: str) -> str | None:
    """Why the execution that has its id is not this very run; None when it is."""
    events = await target.events(execution_id=id_, limit=1)
    first = events[0] if events else None
    if first is None or first.type != "workflow_imported" or not isinstance(first.data, dict):
        return f"an execution {id_} is there that was not imported: give the file another name with --source"
    if first.data["digest"] == run.digest:
        return None
    return (
        f"{id_} was imported in batch {first.data['batch']} with other contents: take that batch back with "
        "--rollback, or give the file another name with --source"
    )


async def roll_back(target: Target, batch: str) -> int:
    """Delete what that batch has brought, and the revisions nobody uses any more; how many executions.

    Raises NotFound for a batch that has brought nothing, IllegalTransition when one of its executions
    has been set going again meanwhile.
    """
    deleted = 0
    while ids := await target.started_by(triggered_by(batch), limit=STARTS_MAX):
        for answer in await target.commit([DeleteExecution(execution_id=id_) for id_ in ids]):
            if isinstance(answer, PerdureError):
                raise answer
        deleted += len(ids)
    if not deleted:
        raise NotFound("batch", batch, hint="`perdure list` shows who has started an execution: import:BATCH")
    for workflow in await target.workflows(active_only=False):
        if workflow.revision.startswith(PAST):
            write = DeleteWorkflow(name=workflow.name, revision=workflow.revision)
            [answer] = await target.commit([write])
            if isinstance(answer, PerdureError) and not isinstance(answer, IllegalTransition):
                raise answer
    return deleted


def source_of(path: str, root: str) -> str:
    """What runs of this file are told by: its place below the folder that is imported, without the ending."""
    place = Path(path)
    inside = place.relative_to(root) if Path(root).is_dir() else Path(place.name)
    return ".".join(inside.with_suffix("").parts)
