"""The calls of webhooks from the command line: what was told to whom, and what could not be."""

from __future__ import annotations

from typing import Final, Literal

from perdure.runtime.cli.exit_codes import Exit
from perdure.runtime.cli.options import Limit, Reading
from perdure.runtime.cli.render import ago
from perdure.runtime.cli.session import open_session, run_async
from perdure.runtime.cli.text import Cell

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
