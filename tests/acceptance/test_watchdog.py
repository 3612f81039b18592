"""A step that blocks the event loop is told within a second, with its stack."""

from __future__ import annotations

import asyncio
import time

import pytest

from perdure.actors.attempt.admission import StepSlots
from perdure.actors.watchdog import Watchdog


def block_the_loop(seconds: float) -> None:
    """What no step should do."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@pytest.mark.integration
def test_a_blocked_loop_is_reported_once_and_with_the_stack(caplog: pytest.LogCaptureFixture) -> None:
    """In real time: a thread listens for the loop's beat."""

    async def main() -> None:
        watchdog = Watchdog(lambda: slots.taken > 0)
        slots = StepSlots(1, on_busy=watchdog.wake)
        await slots.acquire()
        await asyncio.to_thread(lambda: None)
        block_the_loop(2.0)
        slots.release()
        await asyncio.to_thread(lambda: None)
        watchdog.close()

    with caplog.at_level("WARNING", logger="perdure.step"):
        asyncio.run(main())
    told = [record for record in caplog.records if getattr(record, "event", "") == "loop_blocked"]
    assert len(told) == 1
    assert "block_the_loop" in told[0].fields["stack"]  # type: ignore[attr-defined]


def test_a_loop_at_rest_is_not_watched(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing in flight, nothing to report, however long the loop is busy otherwise."""

    async def main() -> None:
        watchdog = Watchdog(lambda: False)
        block_the_loop(0.05)
        watchdog.close()

    with caplog.at_level("WARNING", logger="perdure.step"):
        asyncio.run(main())
    assert not caplog.records
