"""`perdure items`: what has become of the items that a step is performed for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from cyclopts import Parameter

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Limit, Reading
from perdure.runtime.cli.render import ago, since, value
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import Cell

if TYPE_CHECKING:
    from perdure.store.scripts.items import Item

DEFAULTS = Reading()
LIMIT: Final = 20  # what fits on a screen
HEADS: Final = ("ITEM", "STATE", "ATTEMPT", "STARTED", "TOOK", "RESULT")


def items(
    id: str,
    step: str,
    /,
    *,
    failed: Annotated[bool, Parameter(negative="")] = False,
    after: int = -1,
    limit: Limit = LIMIT,
    options: Reading = DEFAULTS,
) -> int:
    """List the items of a step with forEach that have begun, in order.

    Args:
        id: Execution: its id, a unique beginning of it, @last or NAME@last.
        step: The key of the step.
        failed: Only those that have failed.
        after: Leave out items up to this number.
        limit: How many at most.
    """
    session = open_session(options)

    async def main() -> int:
        from perdure.runtime.items import failures, loop_of, pages
        from perdure.runtime.looking import find

        async with session.looking() as store:
            execution_id = await find(store, id)
            loop = await loop_of(store, execution_id, step)
            found: list[Item] = []
            async for page in pages(store, execution_id, loop, after=after, limit=limit, failed=failed):
                found += page
            count = loop.failed or await failures(store, execution_id, loop)
        if session.out.format != "table":
            session.out.records(found)
            return Exit.DONE
        session.out.table(HEADS, [_row(session, item) for item in found])
        session.note(f"{loop.completed:,} of {loop.total:,} items completed, {count:,} failed")
        return Exit.DONE

    return run_async(main)


def _row(session: Session, item: Item) -> tuple[Cell | str, ...]:
    result: Cell | str = ""
    if item.error is not None:
        result = Cell(f"{item.error.type}: {item.error.message}", "red")
    elif item.output is not None:
        result = value(msgspec.json.decode(item.output))
    return (
        str(item.item),
        session.out.word(str(item.state)),
        str(item.attempt),
        ago(item.started_at, now=session.now()),
        since(item.started_at, item.finished_at, now=session.now()),
        result,
    )
