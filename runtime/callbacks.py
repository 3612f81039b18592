"""Functions of the embedding program that are called when steps start and complete."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from perdure.actors.bus import Bus
from perdure.actors.kernel import is_cancelled
from perdure.actors.log import get_logger
from perdure.store.records import Event

StepCallback = Callable[[Event], Awaitable[None] | None]

log = get_logger("perdure.callbacks")


async def call_back(bus: Bus, on_start: StepCallback | None, on_complete: StepCallback | None) -> None:
    """Call them for every step of every execution in this process, once the event is durable.

    What a callback raises, be it an exit, is logged and changes nothing. One that is slower than the
    machine misses events; whoever must see each of them reads the log.
    """
    wanted = {"step_started": on_start, "step_completed": on_complete, "step_failed": on_complete}
    with bus.subscribe(None) as subscription:
        while True:
            await subscription.wait()
            if subscription.is_behind:
                log.warning("callbacks_fell_behind")
            for event in subscription.take():
                callback = wanted.get(event.type)
                if callback is not None:
                    await _call(callback, event)


async def _call(callback: StepCallback, event: Event) -> None:
    try:
        result = callback(event)
        if inspect.isawaitable(result):
            await result
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and is_cancelled():
            raise
        log.exception("callback_failed", step=event.step, execution_id=event.execution_id)
