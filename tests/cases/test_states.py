"""Control-flow patterns of state: what the world decides, and what must not happen at the same time."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from patterns import company_for

from perdure.runtime.testing import virtual_time


@pytest.mark.parametrize(
    ("at", "answers", "way"),
    [("1h", "yes no", "accepted"), ("1h", "no yes", "declined"), ("3h", "yes", "expired")],
)
@virtual_time
async def test_pattern_16_the_first_message_or_the_timer_wins_and_the_others_are_withdrawn(
    at: str, answers: str, way: str
):
    """Also across a kill, and though the timer falls due and other messages come while the winner works."""
    async with company_for(16) as company:
        execution = await company.begin()
        await company.advance(at)
        for answer in answers.split():
            await execution.signal("answer", answer)
        await company.crash()
        await company.assert_completed(execution)
        history = await company.history(execution)
        assert [each for each in ("accepted", "declined", "expired") if company.when(each)] == [way]
        assert history.count("step_completed answer") == 1
        assert sum(event.startswith("step_skipped") for event in history) == 2


def _one_at_a_time(spans: Iterable[tuple[Any, Any]]) -> bool:
    """Whether each ends before the next begins."""
    return all(before[1] <= after[0] for before, after in pairwise(sorted(spans)))


@virtual_time
async def test_pattern_17_each_runs_once_no_two_at_the_same_time_in_an_order_that_keeps_the_edges():
    """Four steps of an hour take four hours."""
    async with company_for(17) as company:
        await company.assert_completed(await company.begin())
        order = [deed.step for deed in company.deeds]
        assert sorted(order) == ["a", "b", "c", "d"]
        assert order.index("a") < order.index("b")
        assert _one_at_a_time((deed.began, deed.ended) for deed in company.deeds)
        assert company.deeds[-1].ended == 4


@pytest.mark.parametrize(("after", "bought"), [("1h", ["buy"]), ("3h", [])])
@virtual_time
async def test_pattern_18_a_step_runs_only_while_the_milestone_is_reached(after: str, bought: list[str]):
    """The sale lasts for two hours; who comes later is left out, also if the process was dead meanwhile."""
    async with company_for(18) as company:
        execution = await company.begin(
            after=after, opened={"sale": "open"}, closed={"sale": "over"}, sale="not yet"
        )
        await company.advance("30m")
        await company.crash()
        await company.assert_completed(execution)
        assert [deed.step for deed in company.deeds if deed.step == "buy"] == bought


@virtual_time
async def test_pattern_39_two_sections_are_never_active_at_once_also_across_runs_and_a_kill():
    """Two executions with two sections each, killed within the first and the second one."""
    async with company_for(39, unit="1s") as company:
        executions = [await company.begin(), await company.begin()]
        await company.advance("2s")
        await company.crash()
        await company.advance("2s")
        await company.crash()
        for execution in executions:
            await company.assert_completed(execution)
        sections = [each for execution in executions for each in await company.children(execution)]
        assert len(sections) == 4
        assert _one_at_a_time((each.started_at, each.finished_at) for each in sections)
        assert len(company.when("still-inside")) == 4


@virtual_time
async def test_pattern_40_each_runs_once_and_no_two_at_the_same_time():
    """In any order."""
    async with company_for(40) as company:
        await company.assert_completed(await company.begin())
        assert sorted(deed.step for deed in company.deeds) == ["a", "b", "c"]
        assert _one_at_a_time((deed.began, deed.ended) for deed in company.deeds)
        assert company.deeds[-1].ended == 3
