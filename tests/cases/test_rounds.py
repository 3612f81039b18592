"""Control-flow patterns of going round, and of being set off from outside."""

from __future__ import annotations

import pytest
from company import tell_who_waits
from patterns import company_for, patterns

from perdure.runtime import CycleError, Workflow
from perdure.runtime.testing import virtual_time


def test_pattern_10_a_circle_is_refused_and_named_when_it_is_read():
    """With every step on it, and where it stands."""
    (text,) = patterns()[10].workflows
    with pytest.raises(CycleError) as refused:
        Workflow.parse(text)
    assert set(refused.value.path) == {"a", "b", "c"}


@virtual_time
async def test_pattern_21_until_something_holds_while_it_does_and_never_more_than_the_bound():
    """The third one fails after its fifth round, which is optional here."""
    async with company_for(21) as company:
        execution = await company.begin()
        outputs = {"once-and-again": 3, "as-long-as": 4, "bounded": None}
        await company.assert_completed(execution, outputs)
        for step, times in (("once-and-again", 3), ("as-long-as", 4), ("bounded", 5)):
            await company.assert_step_ran(execution, step, times=times)


@virtual_time
async def test_pattern_22_an_execution_starts_its_own_kind_and_gets_back_what_it_gives():
    """Three levels; also if the process dies on the way down."""
    async with company_for(22) as company:
        execution = await company.begin(left=[1, 2, 3])
        await company.crash()
        result = await company.assert_completed(execution)
        assert result.outputs == {"sum": 6}


@virtual_time
async def test_pattern_22_the_depth_is_bounded():
    """What would start itself thirty times fails at the bound, and everyone above says why."""
    async with company_for(22) as company:
        execution = await company.begin(left=list(range(30)))
        result = await company.assert_failed(execution, "ChildFailed")
        assert "ChildNotStarted" in result.error.message
        assert len(await company.runtime.list(workflow="recursion", limit=100)) == 17


@pytest.mark.parametrize(("at", "told"), [("30m", []), ("90m", ["next"])])
@virtual_time
async def test_pattern_23_a_message_that_nobody_waits_for_is_lost(at: str, told: list[str]):
    """It is not kept for the step that waits later, which gives up."""
    async with company_for(23) as company:
        execution = await company.begin()
        await company.advance(at)
        assert await tell_who_waits(execution, "wait", "now") is bool(told)
        await company.assert_completed(execution)
        assert [deed.step for deed in company.deeds] == ["before", *told]


@virtual_time
async def test_pattern_23_a_wait_that_ends_between_the_look_and_the_message_loses_it():
    """The version has moved on: the signal is refused, and looked for anew."""
    async with company_for(23) as company:
        execution = await company.begin()
        await company.advance("90m")
        seen = execution.query

        async def look() -> object:
            found = await seen()
            await execution.signal("now", "somebody was faster")
            execution.query = seen
            return found

        execution.query = look
        assert await tell_who_waits(execution, "wait", "now") is False
        await company.assert_completed(execution, {"wait": "somebody was faster"})
        assert (await company.history(execution)).count("signal_received") == 1


@virtual_time
async def test_pattern_24_a_message_that_comes_early_is_kept_across_a_kill_and_given_once():
    """The second wait for it gets nothing."""
    async with company_for(24) as company:
        execution = await company.begin()
        await execution.signal("now", 7)
        await company.crash()
        result = await company.assert_completed(execution, {"one": 7})
        assert "another" not in result.outputs
