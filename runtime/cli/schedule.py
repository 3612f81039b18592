"""`perdure schedule add`, `pause`, `resume`, `trigger`, `backfill`, `rm`: what changes schedules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Reading, UsageError, read_inputs, typed_inputs
from perdure.runtime.cli.render import ago
from perdure.runtime.cli.session import Session, open_session, run_async

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from perdure.runtime import Execution, Runtime
    from perdure.store.records import Schedule

DEFAULTS: Final = Reading()
FILES: Final = frozenset({".yaml", ".yml", ".json"})  # what is a definition file, and no workflow's name


def add(
    id: str,
    workflow: str,
    /,
    *,
    cron: str | None = None,
    every: str | None = None,
    timezone: str | None = None,
    missed: Literal["skip", "latest", "all"] | None = None,
    missed_window: str | None = None,
    overlap: Literal["skip", "queue", "replace", "allow"] | None = None,
    jitter: str | None = None,
    input: Annotated[tuple[str, ...], Parameter(name=["--input", "-i"], negative="")] = (),
    context: str | None = None,
    options: Reading = DEFAULTS,
) -> int:
    """Let a workflow start by itself; a schedule that has this id gets the new rule.

    perdure schedule add nightly report --cron "0 2 * * *" --timezone Europe/Berlin

    perdure schedule add poll check.yaml --every 15m -i queue=orders

    Args:
        id: What the schedule is called.
        workflow: A published workflow, or a definition file, which is published.
        cron: Minute, hour, day of month, month and day of week; with six fields, seconds first.
        every: A length of time such as 30s, 15m, 1h30m or 2d, counted from 1970 in UTC.
        timezone: Whose clock --cron reads, such as Europe/Berlin (default: UTC).
        missed: What becomes of moments at which nobody was there (default: latest).
        missed_window: How late a missed moment may be made up for (default: 1d).
        overlap: What happens when the execution before has not ended (default: skip).
        jitter: Delay each start by a part of this length that hangs on the moment.
        input: One input as NAME=VALUE; repeatable. A value is of the declared type, else JSON, else text.
        context: Inputs as a JSON object, or @FILE, or - for stdin.
    """
    given = {
        "cron": cron,
        "every": every,
        "timezone": timezone,
        "missed": missed,
        "missedWindow": missed_window,
        "overlap": overlap,
        "jitter": jitter,
        "input": read_inputs(context, input) or None,
    }
    rule = {name: value for name, value in given.items() if value is not None}
    session = open_session(options)
    return run_async(lambda: _add(session, id, workflow, rule, inputs=input))


def pause(id: str, /, *, options: Reading = DEFAULTS) -> int:
    """Let a schedule start nothing until it is resumed. What it has started goes on.

    Args:
        id: The schedule.
    """
    return _change(open_session(options), id, lambda runtime: runtime.schedules.pause(id))


def resume(id: str, /, *, options: Reading = DEFAULTS) -> int:
    """Let a paused schedule go on from now; what fell into the pause is recorded as skipped.

    Args:
        id: The schedule.
    """
    return _change(open_session(options), id, lambda runtime: runtime.schedules.resume(id))


def trigger(id: str, /, *, options: Reading = DEFAULTS) -> int:
    """Start an execution now, with the schedule's input, and print its id; a worker performs it.

    Args:
        id: The schedule.
    """
    session = open_session(options)

    async def main() -> int:
        async with session.runtime("client") as runtime:
            _show_started(session, [await runtime.schedules.trigger(id)])
            await _note_if_idle(session, runtime)
        return Exit.DONE

    return run_async(main)


def backfill(
    id: str,
    /,
    *,
    from_: str,
    to: str,
    options: Reading = DEFAULTS,
) -> int:
    """Start an execution for each moment of a period that has none, and print the ids of all.

    perdure schedule backfill nightly --from 2026-03-01 --to 2026-03-31T23:59

    Args:
        id: The schedule.
        from_: The first moment: a date or a time, by the schedule's own clock unless it has an offset.
        to: The last moment, likewise.
    """
    session = open_session(options)

    async def main() -> int:
        async with session.runtime("client") as runtime:
            zone = clock_of(await runtime.schedules.get(id))
            start, end = read_time(from_, zone, what="--from"), read_time(to, zone, what="--to")
            if end < start:
                raise UsageError("--to: must not be before --from")
            _show_started(session, await runtime.schedules.backfill(id, start=start, end=end))
            await _note_if_idle(session, runtime)
        return Exit.DONE

    return run_async(main)


def rm(id: str, /, *, options: Reading = DEFAULTS) -> int:
    """Delete a schedule and its history. What it has started goes on.

    Args:
        id: The schedule.
    """
    session = open_session(options)

    async def main() -> int:
        async with session.runtime("client") as runtime:
            await runtime.schedules.remove(id)
        session.note(f"schedule {id} is deleted")
        return Exit.DONE

    return run_async(main)


def clock_of(schedule: Schedule) -> ZoneInfo:
    """The clock a schedule's rule reads. Raises InvalidArgument where it is not known here."""
    from perdure.runtime.schedules.timetable import zone_of

    return zone_of(schedule.rule.get("timezone", "UTC"))


def read_time(text: str, zone: ZoneInfo, *, what: str) -> datetime:
    """A date or time in ISO 8601; without an offset it is of that zone. Raises UsageError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{what} {text}: must be a date or a time such as 2026-03-01, 2026-03-01T02:00 or "
            "2026-03-01T02:00+01:00"
        ) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


async def _add(
    session: Session, id_: str, workflow: str, rule: dict[str, Any], *, inputs: Sequence[str]
) -> int:
    from perdure.runtime import Workflow

    is_file = Path(workflow).suffix in FILES
    given = [Workflow.load(workflow)] if is_file else []
    async with session.runtime("client", workflows=given, must_exist=not is_file) as runtime:
        name = given[0].name if given else workflow
        if inputs:
            revision = await runtime.machine.plans.active(name)
            rule["input"] |= typed_inputs(inputs, revision.definition.inputs)
        schedule = await runtime.schedules.add(id_, name, **rule)
        _show_standing(session, schedule)
        await _note_if_idle(session, runtime)
    return Exit.DONE


async def _note_if_idle(session: Session, runtime: Runtime) -> None:
    if not await runtime.has_worker():
        session.note(f"no worker runs: start `{session.command('worker')}`")


def _change(session: Session, id_: str, change: Callable[[Runtime], Awaitable[None]]) -> int:
    """Change a schedule and print how it stands then."""

    async def main() -> int:
        async with session.runtime("client") as runtime:
            await change(runtime)
            _show_standing(session, await runtime.schedules.get(id_))
        return Exit.DONE

    return run_async(main)


def _show_standing(session: Session, schedule: Schedule) -> None:
    from perdure.runtime.schedules import shown

    if session.out.format != "table":
        session.out.json(shown(schedule))
        return
    coming = "never" if schedule.next_at is None else ago(schedule.next_at, now=session.now())
    standing = "paused" if schedule.is_paused else f"next {coming}"
    session.out.write(f"{schedule.id}  {schedule.workflow}  {shown(schedule).rule['text']}  {standing}\n")


def _show_started(session: Session, executions: list[Execution]) -> None:
    if session.out.format != "table":
        session.out.records([{"id": execution.id} for execution in executions])
        return
    for execution in executions:
        session.out.write(execution.id + "\n")
