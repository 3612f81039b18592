"""One execution from close by: its status, its log, its checkpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from perdure.runtime.cli.checkpoints import show_list
from perdure.runtime.cli.diagnosis import WORKERS, going_on, waiting_runs
from perdure.runtime.cli.doctor import lives_on
from perdure.runtime.cli.family import descendants, show_family
from perdure.runtime.cli.look import LIST_LIMIT, waits_in
from perdure.runtime.cli.options import Limit, Reading
from perdure.runtime.cli.render import ago, counted, since, size, spending, tripped, value
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import Cell
from perdure.runtime.cli.tree import OPEN_STATES, items_text, moment_text, skipped_since, waits_for
from perdure.store.states import TERMINAL, State

if TYPE_CHECKING:
    from perdure.store.records import Attempt, Event, ExecutionSummary, Runner

DEFAULTS = Reading()
DETAIL_CHARACTERS_MAX: Final = 80  # of an event's data on its line; the rest is in --format json


def status(id: str, /, *, options: Reading = DEFAULTS) -> int:
    """Show one execution: its state, its steps, what it waits for.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
    """
    session = open_session(options)

    async def main() -> int:
        from perdure.runtime.looking import describe, find

        async with session.looking() as store:
            execution_id = await find(store, id)
            summary, query = await store.summary(execution_id), await describe(store, execution_id)
            attempts = await store.attempts(execution_id)
            runners, held = await store.runners(), await store.held()
            below = await descendants(store, execution_id)
        assert summary is not None
        if session.out.format != "table":
            children = [each.summary for each in below.found]
            session.out.json(
                {"execution": summary, "query": query, "attempts": attempts, "children": children}
            )
            return 0
        lives = lives_on(session.settings.db)
        alive = [runner for runner in runners if lives(runner)]
        owners = {runner.id for runner in alive if held.get(runner.no)}
        performer = _performer(session, summary, alive, owners=owners)
        _show_status(session, summary, query, attempts, performer=performer)
        show_family(session, below)
        return 0

    return run_async(main)


def events(
    id: str,
    /,
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative="")] = False,
    after: int = 0,
    options: Reading = DEFAULTS,
) -> int:
    """Print the log of an execution, oldest first.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
        follow: Go on printing what comes, until the execution ends or Ctrl-C.
        after: Leave out events up to this event id.
    """
    session = open_session(options)
    printer = _print_line if session.out.format == "table" else _print_json

    async def look() -> int:
        found = [event async for event in _logged(session, id, after)]
        if session.out.format == "json":
            session.out.records(found)
            return 0
        for event in found:
            printer(session, event)
        return 0

    async def watch() -> int:
        async with session.runtime("client") as runtime:
            execution = await runtime.execution(await runtime.find(id))
            async for event in execution.events(after=after, follow=True):
                printer(session, event)
                session.out.flush()
        return 0

    return run_async(watch if follow else look)


async def _logged(session: Session, id: str, after: int) -> AsyncIterator[Event]:
    """The log after that event id, as far as it goes now."""
    from perdure.runtime.looking import find

    async with session.looking() as store:
        execution_id = await find(store, id)
        while page := await store.events(execution_id=execution_id, after=after):
            for event in page:
                yield event
            after = page[-1].id


def checkpoints(
    id: str,
    /,
    *,
    limit: Limit = LIST_LIMIT,
    options: Reading = DEFAULTS,
) -> int:
    """List the checkpoints of an execution, newest first.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
        limit: How many at most.
    """
    session = open_session(options)

    async def main() -> int:
        from perdure.runtime.looking import find

        async with session.looking() as store:
            execution_id = await find(store, id)
            records = await store.checkpoints(execution_id, limit=limit)
            numbers = await store.checkpoint_statistics(execution_id)
        if session.out.format != "table":
            session.out.records(records)
            return 0
        show_list(session, records)
        session.note(
            f"{counted(numbers.count, 'checkpoint')} "
            f"({numbers.labelled} labelled, {numbers.automatic} automatic), "
            f"the largest of {size(numbers.size_bytes_max)}"
        )
        return 0

    return run_async(main)


def _show_status(
    session: Session,
    summary: ExecutionSummary,
    query: Mapping[str, Any],
    attempts: Sequence[Attempt],
    *,
    performer: Cell | str | None,
) -> None:
    now, out = session.now(), session.out
    facts = _facts(session, summary, query, performer=performer)
    for name, fact in facts:
        cell = fact if isinstance(fact, Cell) else Cell(fact)
        out.write(f"{out.paint(Cell(name.ljust(13), 'dim'))} {out.paint(cell)}\n")
    out.write("\n")
    latest = {attempt.step: attempt for attempt in sorted(attempts, key=_age)}
    out.table(
        ("LEVEL", "STEP", "STATE", "ATTEMPT", "STARTED", "TOOK", "NOTE"),
        [
            _step_row(session, number, key, query["steps"][key], latest.get(key), now=now)
            for number, level in enumerate(query["levels"], start=1)
            for key in level
        ],
    )
    beside = {**query["compensations"], **query["hooks"]}
    rows = [
        _step_row(session, 0, key, step, latest.get(key), now=now)[1:]
        for key, step in beside.items()
        if step["state"] != "pending"
    ]
    if rows:
        out.write("\n")
        out.table(("BESIDE THE GRAPH", "STATE", "ATTEMPT", "STARTED", "TOOK", "NOTE"), rows)


def _stops(
    summary: ExecutionSummary, query: Mapping[str, Any], *, now: datetime
) -> Iterator[tuple[str, str]]:
    """Who has stopped it, in whichever way, when and why."""
    if summary.paused_at and summary.finished_at is None:
        yield "paused", _pause(summary, now=now)
    if query["cancel"]:
        yield "cancelled", _cancel(query["cancel"], now=now)
    if summary.state is State.ROLLED_BACK:
        yield "undone because", summary.rollback_reason or "–"
    elif summary.rollback_reason is not None:  # what of it could not be undone, and why, is its error
        yield "to be undone", f"because {summary.rollback_reason}"


def _pause(summary: ExecutionSummary, *, now: datetime) -> str:
    """Since when it rests, at whose wish and why."""
    by = "" if summary.paused_by is None else f" by {summary.paused_by}"
    why = "" if summary.pause_reason is None else f": {summary.pause_reason}"
    return f"{ago(summary.paused_at, now=now)}{by}{why}"


def _cancel(asked: Event, *, now: datetime) -> str:
    """Since when it is to end, at whose wish and why."""
    by = "" if asked.by is None else f" by {asked.by}"
    why = "" if asked.data.get("reason") is None else f": {asked.data['reason']}"
    return f"{ago(asked.at, now=now)}{by}{why}"


def _performer(
    session: Session, summary: ExecutionSummary, alive: Sequence[Runner], *, owners: Container[str | None]
) -> Cell | str | None:
    """Which living process has an execution that should go on; where there is none, what to do."""
    if summary.state in TERMINAL or summary.state is State.PAUSED:
        return None
    owner = next((runner for runner in alive if runner.id == summary.runner), None)
    if owner is not None:
        return f"{owner.kind} {owner.pid} on {owner.host}"
    worker = next((runner for runner in alive if runner.kind in WORKERS), None)
    if worker is not None:
        return f"nobody yet; {worker.kind} {worker.pid} on {worker.host} takes up what it can perform"
    if waiting := waiting_runs(alive, owners=owners):
        run = waiting[0]
        return f"nobody yet; {run.kind} {run.pid} on {run.host} is there, and may be waiting for it"
    return Cell(f"nobody; go on with: {session.command(going_on(summary.state), summary.id)}", "yellow")


def _facts(
    session: Session, summary: ExecutionSummary, query: Mapping[str, Any], *, performer: Cell | str | None
) -> list[tuple[str, Cell | str]]:
    """What is to be said of the whole, by name; what does not apply is left out."""
    now = session.now()
    facts: list[tuple[str, Cell | str]] = [
        ("execution", summary.id),
        ("workflow", f"{summary.workflow} {summary.workflow_version or ''}".rstrip()),
        ("state", session.out.word(str(summary.state))),
        *([] if performer is None else [("performed by", performer)]),
        ("version", str(summary.version)),
        ("created", ago(summary.created_at, now=now)),
        ("took", since(summary.started_at, summary.finished_at, now=now)),
        ("trace", summary.trace_id),
    ]
    if summary.parent_id:
        facts.append(("parent", summary.parent_id))
    if summary.triggered_by:
        facts.append(("triggered by", summary.triggered_by))
    facts += _stops(summary, query, now=now)
    if note := waits_in(summary):
        facts.append(("queued", note))
    if (breaker := query["circuit_breaker_state"]) and breaker["tripped_at"] is not None:
        facts.append(("breaker", tripped(breaker, now=now)))
    if spent := spending(query):
        facts.append(("used", spent))
    if query["resume_plan"]:
        facts.append(("goes on", _resume_plan(query["resume_plan"])))
    if summary.error is not None:
        facts.append(("error", Cell(f"{summary.error.type}: {summary.error.message}", "red")))
    return facts


def _resume_plan(plan: Mapping[str, Any]) -> str:
    """When, or on which rule, a resting execution is to go on by itself."""
    at, when = plan.get("at_ms"), plan.get("when")
    moments = [] if at is None else [f"at {moment_text(at)}"]
    return " or ".join(moments + ([] if when is None else [f"when {when}"]))


def _age(attempt: Attempt) -> tuple[int, int]:
    return attempt.generation, attempt.attempt


def _step_row(
    session: Session, level: int, key: str, step: Mapping[str, Any], attempt: Attempt | None, *, now: datetime
) -> tuple[Cell | str, ...]:
    started = None if attempt is None else attempt.started_at
    finished = None if attempt is None else attempt.finished_at
    is_told = finished is not None or step["state"] in OPEN_STATES
    error = step.get("error")
    note = f"{error['type']}: {error['message']}" if error else value(step.get("heartbeat"))
    if step.get("waits"):
        note = waits_for(step)
    elif items := items_text(step):
        note = f"{items}; {note}" if error else items
    elif step.get("skipped"):
        note = skipped_since(step["skipped"])
    return (
        str(level),
        key,
        session.out.word(step["state"]),
        str(step.get("attempt") or "–"),
        ago(started, now=now),
        since(started, finished, now=now) if is_told else "–",
        "" if note == "–" else note,
    )


def _print_line(session: Session, event: Event) -> None:
    who = event.step or event.by or ""
    again = f" (attempt {event.attempt})" if event.attempt and event.attempt > 1 else ""
    detail = "" if event.data in (None, {}) else value(event.data, limit=DETAIL_CHARACTERS_MAX)
    stamp = Cell(f"{event.at:%Y-%m-%d %H:%M:%S}.{event.at.microsecond // 1000:03d}Z", "dim")
    out = session.out
    out.write(
        f"{out.paint(stamp)}  {event.version:>5}  {event.type:<20}  {out.paint(Cell(f'{who + again:<20}'))}"
        f"  {out.paint(Cell(detail, 'dim'))}".rstrip()
        + "\n"
    )


def _print_json(session: Session, event: Event) -> None:
    """One line for each event: an array could not be read before its end."""
    session.out.line(event)
