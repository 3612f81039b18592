"""`perdure schedule list`, `show`, `next`, `history`: what is to start by itself, and what has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from cyclopts import Parameter

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Limit, Reading, check_count
from perdure.runtime.cli.render import ago, value
from perdure.runtime.cli.schedule import clock_of
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import Cell
from perdure.runtime.durations import duration_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from perdure.runtime.schedules.door import Schedules
    from perdure.store.records import Firing, Schedule

DEFAULTS: Final = Reading()
MOMENTS: Final = 10  # what a person looks at
FIRINGS: Final = 50
SHOWN: Final = 5  # moments and firings in `show`
COLOURS: Final = {
    "started": "green",
    "queued": "yellow",
    "skipped": "dim",
    "missed": "yellow",
    "refused": "red",
}

Count = Annotated[int, Parameter(name=["--count", "-n"], negative="", validator=check_count)]
T = TypeVar("T")


def list_(*, workflow: str | None = None, options: Reading = DEFAULTS) -> int:
    """List schedules with what they start, and when next.

    Args:
        workflow: Only those of one workflow.
    """
    from perdure.runtime.schedules import shown

    session = open_session(options)

    async def main() -> int:
        async with session.runtime("client") as runtime:
            found = [shown(one) for one in await runtime.schedules.list(workflow=workflow)]
        if session.out.format != "table":
            session.out.records(found)
            return Exit.DONE
        heads = ("ID", "WORKFLOW", "WHEN", "NEXT", "LAST")
        session.out.table(heads, [_row(session, one) for one in found])
        return Exit.DONE

    return run_async(main)


def show(id: str, /, *, options: Reading = DEFAULTS) -> int:
    """Show one schedule: its rule, its next moments, what became of the last ones.

    Args:
        id: The schedule.
    """
    from perdure.runtime.schedules import shown

    session = open_session(options)

    async def main() -> int:
        async with session.runtime("client") as runtime:
            schedule = shown(await runtime.schedules.get(id))
            coming = await runtime.schedules.next(id, count=SHOWN)
            past = await runtime.schedules.history(id, limit=SHOWN)
        if session.out.format != "table":
            session.out.json({"schedule": schedule, "next": coming, "history": past})
            return Exit.DONE
        session.out.table(("SCHEDULE", schedule.id), _facts(session, schedule))
        session.out.write("\n")
        _show_moments(session, schedule, coming)
        if past:
            session.out.write("\n")
            _show_history(session, schedule, past)
        return Exit.DONE

    return run_async(main)


def next_(id: str, /, *, count: Count = MOMENTS, options: Reading = DEFAULTS) -> int:
    """Print when a schedule will start the next executions, by its own clock.

    perdure schedule next nightly -n 3

    Args:
        id: The schedule.
        count: How many.
    """
    return _tell(id, lambda schedules: schedules.next(id, count=count), _show_moments, options=options)


def history(id: str, /, *, limit: Limit = FIRINGS, options: Reading = DEFAULTS) -> int:
    """Show what became of a schedule's moments, newest first: started, queued, skipped, missed, refused.

    Args:
        id: The schedule.
        limit: How many at most.
    """
    return _tell(id, lambda schedules: schedules.history(id, limit=limit), _show_history, options=options)


def _tell(
    id_: str,
    ask: Callable[[Schedules], Awaitable[list[T]]],
    show: Callable[[Session, Schedule, list[T]], None],
    *,
    options: Reading,
) -> int:
    """Ask about a schedule; show people what there is, and give programs its records."""
    session = open_session(options)

    async def main() -> int:
        async with session.runtime("client") as runtime:
            schedule = await runtime.schedules.get(id_)
            found = await ask(runtime.schedules)
        if session.out.format == "table":
            show(session, schedule, found)
        else:
            session.out.records(found)
        return Exit.DONE

    return run_async(main)


def _row(session: Session, schedule: Schedule) -> tuple[Cell | str, ...]:
    return (
        schedule.id,
        schedule.workflow,
        schedule.rule["text"],
        _coming(session, schedule),
        schedule.last_execution or "–",
    )


def _coming(session: Session, schedule: Schedule) -> Cell | str:
    if schedule.is_paused:
        return session.out.word("paused")
    return "never" if schedule.next_at is None else ago(schedule.next_at, now=session.now())


def _facts(session: Session, schedule: Schedule) -> list[tuple[str, Cell | str]]:
    """What is in force; what is left to its default is not repeated."""
    rule = schedule.rule
    hidden = {"text", "cron", "everyMs", "timezone"}
    return [
        ("workflow", schedule.workflow),
        ("when", rule["text"]),
        *(_fact(name, rule[name]) for name in rule if name not in hidden),
        ("declared by", "the workflow" if schedule.is_declared else "hand"),
        ("waiting", str(len(schedule.pending))),
        ("last execution", schedule.last_execution or "–"),
        ("next", _coming(session, schedule)),
    ]


def _fact(name: str, given: Any) -> tuple[str, str]:
    """A field of the rule as it would be given."""
    if name.endswith("Ms"):
        return name.removesuffix("Ms"), duration_text(given)
    return name, value(given)


def _show_moments(session: Session, schedule: Schedule, coming: list[datetime]) -> None:
    now, zone = session.now(), clock_of(schedule)
    rows = [(f"{at.astimezone(zone):%a %Y-%m-%d %H:%M:%S %z}", ago(at, now=now)) for at in coming]
    session.out.table(("MOMENT", "IN"), rows)


def _show_history(session: Session, schedule: Schedule, past: list[Firing]) -> None:
    zone = clock_of(schedule)
    rows = [
        (
            f"{one.due_at.astimezone(zone):%Y-%m-%d %H:%M:%S %z}",
            Cell(one.decision, COLOURS[one.decision]),
            str(one.count),
            one.execution_id or one.reason or "–",
        )
        for one in past
    ]
    session.out.table(("MOMENT", "BECAME", "COUNT", "EXECUTION"), rows)
