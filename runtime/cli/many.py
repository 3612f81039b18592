"""One command for many executions, from the command line: chosen by a filter, a line for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Choosing, UsageError
from perdure.runtime.cli.session import Session, run_async
from perdure.runtime.cli.text import Cell

if TYPE_CHECKING:
    from perdure.runtime import Execution
    from perdure.runtime.bulk import Done

COLOURS: Final = {"refused": "red", "would be refused": "red", "asked": "yellow"}


def is_one(id_: str | None, choosing: Choosing) -> bool:
    """Whether one execution is meant, not many by a filter. Raises UsageError for neither and both."""
    if (id_ is None) is (choosing.where is None):
        raise UsageError("give an ID, or --where with a filter such as 'state=failed workflow=x'")
    if id_ is not None and choosing.dry_run:
        raise UsageError("--dry-run: only with --where; `perdure status ID` shows one execution")
    return id_ is not None


def to_all(
    session: Session,
    choosing: Choosing,
    act: Callable[[Execution], Awaitable[Any]],
    *,
    command: type,
    timeout: float | None = None,
) -> int:
    """Do it to every execution the filter means, and print what became of each."""

    async def main() -> int:
        from perdure.actors.commands import MEANING
        from perdure.runtime.bulk import for_each, rehearse

        async with session.runtime("client") as runtime:
            chosen = await runtime.select(choosing.where or "")
            if choosing.dry_run:
                done = rehearse(chosen, allowed=MEANING[command])
            else:
                done = await for_each(runtime, chosen, act, timeout=timeout)
                await runtime.ring_workers()
        _show(session, done)
        return Exit.NOT_ALLOWED if any(each.outcome == "refused" for each in done) else Exit.DONE

    return run_async(main)


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
