"""Tasks beside the executions: services that look after all of them, and small pieces of work.

What nobody has thought of may crash one of them, and so may a cancellation that nobody has asked for, as
of a future of the program's. It is told with its stack, and ends nothing else. A service begins again,
later each time it crashes at once; of a piece of work others make sure, as of a ring that was not heard.

An error of ours is another matter: with it a task says that all has to end. Nor are the writer and the
heartbeat of the lease among them: without those nothing can go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from anyio.abc import TaskGroup

from perdure.actors.kernel import Alarms, Backoff, Wakeup, flatten, is_cancelled
from perdure.actors.log import get_logger
from perdure.actors.wording import repr_of, stack_of
from perdure.store.errors import PerdureError

BACKOFF: Final = Backoff(first_s=1.0, max_s=60.0)  # whoever is needed is back soon, and no log is flooded

log = get_logger("perdure.helpers")


class Helpers:
    """Those of one task group."""

    def __init__(self, group: TaskGroup, *, alarms: Alarms, chance: Callable[[], float]) -> None:
        """They live in the group; `chance` is for the jitter of restarts."""
        self._group = group
        self._alarms = alarms
        self._chance = chance
        self._is_closed = False

    def close(self) -> None:
        """End them all, and begin nothing any more: others may still call for them, and live longer."""
        self._is_closed = True
        self._group.cancel_scope.cancel()

    def start_soon(self, work: Callable[..., Awaitable[Any]], *args: Any, name: str | None = None) -> None:
        """Do a piece of work once; once they were closed it is left."""
        if self._is_closed:
            return
        called: str = getattr(work, "__name__", "work") if name is None else name
        self._group.start_soon(self._do, called, lambda: work(*args), name=called)

    def keep(self, run: Callable[[], Awaitable[None]], *, name: str) -> None:
        """Keep a service running until it ends by itself."""
        self._group.start_soon(self._serve, name, run, name=name)

    async def _do(self, name: str, work: Callable[[], Awaitable[Any]]) -> None:
        error = await _crash(work)
        if error is not None:
            _tell(name, error, crashes=1)

    async def _serve(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        time = asyncio.get_running_loop().time
        crashes = 0
        while True:
            began_at = time()
            error = await _crash(run)
            if error is None:
                return
            crashes = crashes + 1 if time() - began_at < BACKOFF.max_s else 1
            _tell(name, error, crashes=crashes)
            await Wakeup(self._alarms).wait(BACKOFF.delay_s(crashes, random01=self._chance()))


async def _crash(work: Callable[[], Awaitable[Any]]) -> BaseException | None:
    """Do it, and answer what it crashed of. Raises what is meant for the whole, and our cancellation."""
    try:
        await work()
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        return error
    except Exception as error:
        if _is_meant(error):
            raise
        return error
    return None


def _is_meant(error: Exception) -> bool:
    """Whether it is an error of ours, which is raised for whoever waits for the whole."""
    return any(isinstance(each, PerdureError) for each in flatten(error))


def _tell(name: str, error: BaseException, *, crashes: int) -> None:
    log.error("helper_crashed", helper=name, crashes=crashes, error=repr_of(error), stack=stack_of(error))
