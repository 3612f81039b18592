"""One command for an execution that is named, or for many: chosen by a filter, a line for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Choosing, UsageError
from perdure.runtime.cli.session import Session, run_async
from perdure.runtime.cli.text import Cell

if TYPE_CHECKING:
    from perdure.runtime import Execution, Runtime
    from perdure.runtime.bulk import Done

Ask = Callable[["Execution"], Awaitable[Any]]
AskAll = Callable[["Runtime"], Awaitable["list[Done]"]]

COLOURS: Final = {"refused": "red", "would be refused": "red", "asked": "yellow"}


class Alone(Protocol):
    """What a command does with an execution that is named; answers the exit code."""

    def __call__(self, session: Session, prefix: str, ask: Ask, *, timeout: float | None) -> int:
        """Find the execution, ask it, say what came of it."""


def to_chosen(
    session: Session,
    id_: str | None,
    ask: Ask,
    *,
    choosing: Choosing,
    command: type,
    alone: Alone,
    timeout: float | None,
) -> int:
    """Ask the execution that is named, as `alone` does, or all that the filter means. Raises UsageError."""
    _check(id_, choosing)
    if id_ is not None:
        return alone(session, id_, ask, timeout=timeout)

    async def ask_all(runtime: Runtime) -> list[Done]:
        from perdure.actors.decider.commands import TAKEN
        from perdure.runtime.bulk import rehearse

        where = choosing.where or ""
        if choosing.dry_run:
            return rehearse(await runtime.select(where), allowed=TAKEN[command])
        done = await runtime.bulk(where, ask, timeout=timeout)
        await runtime.ring_workers()
        return done

    return to_all(session, ask_all)


def to_all(session: Session, ask_all: AskAll) -> int:
    """Ask every execution that is meant, and print what became of each."""

    async def main() -> int:
        async with session.runtime("client") as runtime:
            done = await ask_all(runtime)
        _show(session, done)
        return Exit.NOT_ALLOWED if any(each.outcome == "refused" for each in done) else Exit.DONE

    return run_async(main)


def _check(id_: str | None, choosing: Choosing) -> None:
    """Raise UsageError unless either one execution is named or many are chosen."""
    if (id_ is None) is (choosing.where is None):
        raise UsageError("give an ID, or --where with a filter such as 'state=failed workflow=x'")
    if id_ is not None and choosing.dry_run:
        raise UsageError("--dry-run: only with --where; `perdure status ID` shows one execution")


def _show(session: Session, done: list[Done]) -> None:
    out = session.out
    if out.format != "table":
        out.records(done)
        return
    out.table(
        ("ID", "WORKFLOW", "STATE", "OUTCOME", "WHY"),
        [
            (
                each.id,
                each.workflow,
                out.word(str(each.state)),
                Cell(each.outcome, COLOURS.get(each.outcome, "green")),
                each.reason or "",
            )
            for each in done
        ],
    )
    counts = Counter(each.outcome for each in done)
    session.note(", ".join(f"{count} {word}" for word, count in counts.items()) or "none is meant")
