"""The calls of webhooks from the command line: what was told to whom, and what could not be."""

from __future__ import annotations

from typing import Final, Literal

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Limit, Reading
from perdure.runtime.cli.render import ago
from perdure.runtime.cli.session import Session, open_session, run_async
from perdure.runtime.cli.text import Cell
from perdure.store.records import PAGE_MAX

DEFAULTS = Reading()
LIMIT: Final = 20  # what fits on a screen
COLOURS: Final = {"delivered": "green", "dead": "red", "pending": "yellow"}


def list_(
    *,
    state: Literal["pending", "delivered", "dead"] | None = None,
    limit: Limit = LIMIT,
    options: Reading = DEFAULTS,
) -> int:
    """List the calls of webhooks, newest first.

    perdure webhooks --state dead

    Args:
        state: Only those that are pending, delivered or dead: given up after too many tries.
        limit: How many at most.
    """
    session = open_session(options)

    async def main() -> int:
        async with session.looking() as store:
            found = await store.deliveries(state=state, limit=limit)
        if session.out.format != "table":
            session.out.records(found)
            return Exit.DONE
        now = session.now()
        session.out.table(
            ("ID", "EVENT", "STATE", "TRIES", "NEXT", "URL", "WHY"),
            [
                (
                    one.id,
                    one.event,
                    Cell(one.state, COLOURS[one.state]),
                    str(one.attempts),
                    ago(one.due_at, now=now),
                    one.url,
                    one.reason or "",
                )
                for one in found
            ],
        )
        return Exit.DONE

    return run_async(main)


def repeat(id: str, /, *, options: Reading = DEFAULTS) -> int:
    """Let a call be made once more, under its id; its tries begin anew.

    Args:
        id: The call, as `perdure webhooks` lists it.
    """
    session = open_session(options)

    async def main() -> int:
        async with session.runtime("client") as runtime:
            await runtime.webhooks.repeat(id)
            if not await runtime.has_worker():
                session.note("it waits for a process that performs executions on this database")
        return Exit.DONE

    return run_async(main)


async def tell_undelivered(session: Session, execution_id: str) -> None:
    """Say which calls of an execution this process leaves behind; its runtime has been closed."""
    async with session.looking() as store:
        left = await store.deliveries(execution_id=execution_id, state="pending", limit=PAGE_MAX)
    if not left:
        return
    what = "1 call of a webhook is" if len(left) == 1 else f"{len(left):,} calls of webhooks are"
    why = f" ({left[0].reason})" if left[0].reason else ""
    list_them = session.command("webhooks", "--state", "pending")
    session.note(f"{what} not delivered yet{why}: `perdure worker` goes on trying; {list_them} lists them")
