"""Control-flow patterns of cancelling and completing: one task, a region, everything, or the end itself."""

from __future__ import annotations

import pytest
from company import Company
from patterns import company_for

from perdure.runtime import Execution, StepState
from perdure.runtime.testing import virtual_time


async def _cancel_child(company: Company, execution: Execution) -> None:
    (child,) = await company.children(execution)
    await (await company.execution(child.id)).cancel()


async def _states(company: Company, id_: str) -> dict[str, StepState]:
    attempts = await (await company.execution(id_)).attempts()
    return {attempt.step: attempt.state for attempt in attempts}


@virtual_time
async def test_pattern_19_one_task_is_withdrawn_and_the_rest_goes_on():
    """What depends on it runs, too, with `null` for its output; a crash right afterwards changes nothing."""
    async with company_for(19) as company:
        execution = await company.begin()
        await company.advance("1h")
        await _cancel_child(company, execution)
        await company.crash()
        await company.assert_completed(execution, {"task": None})
        assert [deed.step for deed in company.deeds] == ["beside", "next"]


@virtual_time
async def test_pattern_20_the_whole_run_is_withdrawn_children_too():
    """What runs, what waits, and what has been started."""
    async with company_for(20) as company:
        execution = await company.begin()
        await company.advance("1h")
        (child,) = await company.children(execution)
        await execution.cancel()
        await company.assert_cancelled(execution)
        await company.assert_cancelled(await company.execution(child.id))
        assert set((await _states(company, execution.id)).values()) == {StepState.CANCELLED}
        assert company.deeds == []


@virtual_time
async def test_pattern_25_a_group_of_steps_is_withdrawn_and_what_is_beside_it_goes_on():
    """Those that run, that wait and that have not begun; what was done before stays done."""
    async with company_for(25) as company:
        execution = await company.begin()
        await company.advance("90m")
        await _cancel_child(company, execution)
        await company.assert_completed(execution)
        assert [deed.step for deed in company.deeds] == ["a", "beside", "next"]


@virtual_time
async def test_pattern_26_all_instances_of_a_fan_out_are_withdrawn():
    """Those in flight and those that have not begun."""
    async with company_for(26) as company:
        execution = await company.begin()
        await company.advance("1h")
        await _cancel_child(company, execution)
        await company.assert_completed(execution)
        assert [deed.step for deed in company.deeds] == ["next"]


@virtual_time
async def test_pattern_27_a_fan_out_is_closed_early_and_what_is_done_counts():
    """Two at a time, closed after three hours and a half: four are done, two are in flight and count."""
    async with company_for(27) as company:
        execution = await company.begin()
        await company.advance("150m")
        await execution.update_context({"closed": True})
        result = await company.assert_completed(execution)
        assert result.outputs["each"] == [f"each[{no}]" for no in range(6)] + [None] * 4
        assert company.when("next") == [(3, 3)]


@virtual_time
async def test_pattern_11_it_has_ended_when_nothing_is_left_to_do():
    """Two ends, one of them skipped; nobody has drawn a last step."""
    async with company_for(11) as company:
        execution = await company.begin(more=False)
        await company.assert_completed(execution)
        assert [deed.step for deed in company.deeds] == ["a", "b"]
        assert company.deeds[-1].ended == 2


@pytest.mark.parametrize("crash", [(), "before:end"])
@virtual_time
async def test_pattern_43_the_end_stops_all_the_rest(crash: str | tuple[()]):
    """What runs, what waits, what has not begun; also if the process dies there."""
    async with company_for(43, crash=crash) as company:
        execution = await company.begin()
        await company.assert_completed(execution)
        assert [deed.step for deed in company.deeds] == ["a", "next"]
        (child,) = await company.children(execution)
        await company.assert_cancelled(await company.execution(child.id))
        assert company.when("next") == [(1, 1)]
