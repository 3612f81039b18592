"""Where a runtime is open: in the event loop that has opened it, and in no other."""

from __future__ import annotations

import asyncio

from perdure.actors.errors import RuntimeClosed


def check_home(home: asyncio.AbstractEventLoop | None) -> None:
    """Raise RuntimeClosed unless there is that loop, and no other runs here.

    In another one, as a second thread or a forked process has, whoever waits would wait for ever.
    """
    if home is None:
        raise RuntimeClosed("the runtime is not open: use it inside `async with Runtime(…) as runtime:`")
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:  # none: what is prepared here may be handed to it
        return
    if here is not home:
        raise RuntimeClosed(
            "the runtime is not open in this event loop but in another: from another thread call it with "
            "`asyncio.run_coroutine_threadsafe(…, loop)`, in a forked process open a Runtime of its own"
        )
