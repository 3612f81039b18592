"""What attempts used: kept with their moves, added up per step over the newest executions."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.states import StepState
from perdure.store.usage import StepHistory, Usage
from perdure.store.writes import AttemptWrite

pytestmark = pytest.mark.anyio

RUNNING, FAILED, DONE = StepState.RUNNING, StepState.FAILED, StepState.COMPLETED


async def attempt(book: Any, number: int, end: StepState, used: Usage | None, *, took_ms: int = 100) -> None:
    """One attempt of step a that begins, ends and says what it used."""
    begins = AttemptWrite(0, 0, number, 0, None, RUNNING, started_at=1_000)
    await book.move(await book.execution(), attempts=(begins,))
    ends = AttemptWrite(
        0,
        0,
        number,
        0,
        RUNNING,
        end,
        is_outcome=end is DONE,
        finished_at=1_000 + took_ms,
        cost_nanos=None if used is None else used.cost_nanos,
        tokens=None if used is None else used.tokens,
    )
    await book.move(await book.execution(), attempts=(ends,))


async def test_an_attempt_keeps_what_it_used(book):
    """Nothing for one that said nothing."""
    await book.start()
    await attempt(book, 1, FAILED, Usage(cost=0.1))
    await attempt(book, 2, DONE, None)
    assert [row.usage for row in await book.store.attempts("e1")] == [Usage(cost=0.1), None]


async def test_an_attempt_that_goes_on_keeps_what_it_used_before(book):
    """A move that says nothing of it takes nothing away."""
    await book.start()
    begins = AttemptWrite(0, 0, 1, 0, None, RUNNING)
    cut = AttemptWrite(0, 0, 1, 0, RUNNING, StepState.PENDING, cost_nanos=5, tokens=6)
    again = AttemptWrite(0, 0, 1, 0, StepState.PENDING, RUNNING)
    for move in (begins, cut, again):
        await book.move(await book.execution(), attempts=(move,))
    [row] = await book.store.attempts("e1")
    assert row.usage == Usage.of(nanos=5, tokens=6)


async def test_the_history_of_a_step_counts_its_failed_attempts_too(book):
    """What an outcome costs on average is what all attempts together did."""
    await book.start()
    await attempt(book, 1, FAILED, Usage(cost=0.1, tokens=10), took_ms=900)
    await attempt(book, 2, DONE, Usage(cost=0.2, tokens=20), took_ms=300)
    history = await book.store.step_history("order")
    assert history == {
        "a": StepHistory(outcomes=1, duration_ms_mean=300.0, cost_mean=pytest.approx(0.3), tokens_mean=30.0)
    }
    assert await book.store.step_history("unheard-of") == {}
