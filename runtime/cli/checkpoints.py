"""Checkpoints from close by: what there was, what has become of it since, and which may go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Flag, Reading, UsageError, read_period
from perdure.runtime.cli.render import ago, size, value
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import Cell, clean

if TYPE_CHECKING:
    from perdure.runtime.lookback import CheckpointState, StepThen
    from perdure.store.records import Checkpoint

DEFAULTS = Reading()


def show(id: str, checkpoint: str, /, *, options: Reading = DEFAULTS) -> int:
    """Show all there was at a checkpoint: steps with their outputs, the context, what was waited for.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
        checkpoint: Its label or version, or latest.
    """
    session = open_session(options)

    async def main() -> int:
        from perdure.runtime.lookback import state_at
        from perdure.runtime.looking import find

        async with session.looking() as store:
            state = await state_at(store, await find(store, id), checkpoint)
        if session.out.format != "table":
            session.out.json(state)
            return Exit.DONE
        _show(session, state)
        return Exit.DONE

    return run_async(main)


def diff(id: str, before: str, after: str, /, *, options: Reading = DEFAULTS) -> int:
    """Show what has become of one checkpoint's state by another one.

    perdure checkpoint diff @last 4 latest

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
        before: The checkpoint to begin with: its label or version, or latest.
        after: The one to compare it with.
    """
    session = open_session(options)

    async def main() -> int:
        from perdure.runtime.lookback import differences, state_at
        from perdure.runtime.looking import find

        async with session.looking() as store:
            execution_id = await find(store, id)
            states = [await state_at(store, execution_id, text) for text in (before, after)]
        found = differences(*states)
        if session.out.format != "table":
            session.out.records(found)
            return Exit.DONE
        names = [f"{state.checkpoint.label or ''} ({state.checkpoint.version})".strip() for state in states]
        rows = [(change.path, value(change.before), value(change.after)) for change in found]
        session.out.table(("WHAT", *names), rows)
        return Exit.DONE

    return run_async(main)


def prune(
    id: str,
    /,
    *,
    keep: int | None = None,
    older_than: str | None = None,
    dry_run: Flag = False,
    options: Reading = DEFAULTS,
) -> int:
    """Forget automatic checkpoints of an execution; its log stays as it is.

    Those with a label, made by hand or that a fork builds on stay.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
        keep: Keep so many of the newest.
        older_than: Only those older than 30s, 15m, 1h30m, 7d or 4w.
        dry_run: Say which would go; nothing is done.
    """
    if keep is None and older_than is None:
        raise UsageError("say which are to go: --keep COUNT, --older-than AGE, or both")
    session = open_session(options)
    age = None if older_than is None else read_period(older_than, what="--older-than")

    async def main() -> int:
        async with session.runtime("client") as runtime:
            execution = await runtime.execution(await runtime.find(id))
            gone = await execution.prune_checkpoints(keep=keep, older_than=age, dry_run=dry_run)
        if session.out.format != "table":
            session.out.records(gone)
            return Exit.DONE
        show_list(session, gone)
        session.note(f"{len(gone)} {'would go' if dry_run else 'gone'}")
        return Exit.DONE

    return run_async(main)


def show_list(session: Session, records: list[Checkpoint]) -> None:
    """A table of checkpoints."""
    session.out.table(
        ("VERSION", "LABEL", "STEPS", "SIZE", "BY", "WHEN"),
        [
            (
                str(record.version),
                record.label or ("automatic" if record.automatic else "–"),
                f"{record.steps_completed}/{record.steps_total}",
                size(record.size_bytes),
                record.by or "–",
                ago(record.created_at, now=session.now()),
            )
            for record in records
        ],
    )


def _show(session: Session, state: CheckpointState) -> None:
    show_list(session, [state.checkpoint])
    session.out.write("\n")
    session.out.table(
        ("STEP", "STATE", "ATTEMPT", "OUTPUT"),
        [
            (key, session.out.word(str(step.state)), str(step.attempt or "–"), _result(step))
            for key, step in state.steps.items()
        ],
    )
    session.out.write("\n")
    session.out.table(("CONTEXT", "VALUE"), [(name, value(given)) for name, given in state.context.items()])


def _result(step: StepThen) -> Cell | str:
    """What the step had given, why it had failed, or what it waited for."""
    if step.error is not None:
        return Cell(f"{step.error.type}: {step.error.message}", "red")
    if step.waits is not None:
        waits: dict[str, Any] = step.waits
        return f"waited for {clean(waits.get('signal') or waits.get('for') or 'something')}"
    return "" if step.output is None else bytes(step.output).decode()
