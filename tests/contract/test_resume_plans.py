"""A paused execution with a plan to go on falls due, and may be claimed then."""

from __future__ import annotations

import msgspec
import pytest

from perdure.store.claims import ClaimFree
from perdure.store.records import ResumePlan
from perdure.store.states import State
from perdure.store.writes import TimerWrite

pytestmark = pytest.mark.anyio

PLAN = ResumePlan(at_ms=50, when="true")


async def test_a_plan_is_kept_with_the_execution_and_falls_due(book):
    """The other timers of one that rests do not, nor does one without a plan."""
    timers = (TimerWrite("retry", 0, 10), TimerWrite("resume", -1, 50))
    fields = {"resume_plan": msgspec.json.encode(PLAN).decode()}
    planned = await book.move(await book.start(), State.PAUSED, timers=timers, fields=fields)
    assert planned.resume_plan == PLAN
    resting = await book.move(await book.start("rests"), State.PAUSED, timers=timers[:1])
    assert resting.resume_plan is None
    [due] = await book.store.due(before=60, limit=9)
    assert (due.execution_id, due.due_at, due.needs_code) == ("e1", 50, True)
    assert await book.store.next_due(after=0) == 50
    claimed = await book.write(
        ClaimFree(execution_nos=(planned.no, resting.no), runner_no=await book.register(), at=book.tick())
    )
    assert list(claimed.epochs) == ["e1"]
    assert await book.store.due(before=60, limit=9) == []


async def test_a_deadline_is_still_told_from_other_timers(book):
    """Of whoever has something to do."""
    timers = (TimerWrite("deadline", -1, 5), TimerWrite("retry", 0, 6))
    await book.move(await book.start(), State.AWAITING_COMPLETION, timers=timers)
    assert [due.needs_code for due in await book.store.due(before=60, limit=9)] == [False, True]
