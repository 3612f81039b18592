"""Control-flow patterns of instances: the same work many times, however many, joined or not."""

from __future__ import annotations

import pytest
from company import Company
from patterns import company_for

from perdure.runtime import Execution
from perdure.runtime.testing import virtual_time


@virtual_time
async def test_pattern_12_children_that_nobody_waits_for_outlive_the_step_and_the_execution():
    """The step has completed when they are started; a crash afterwards loses none."""
    async with company_for(12) as company:
        execution = await company.begin()
        await company.assert_completed(execution)
        children = await company.children(execution)
        assert [child.finished_at for child in children] == [None] * 3
        await company.crash()
        for child in children:
            await company.assert_completed(await company.execution(child.id))


@virtual_time
async def test_pattern_13_a_fixed_number_of_instances_is_joined():
    """Five at once, and one step after them."""
    async with company_for(13) as company:
        await company.assert_completed(await company.begin())
        assert [company.when(f"each[{no}]") for no in range(5)] == [[(0, 1)]] * 5
        assert company.when("next") == [(1, 1)]


@pytest.mark.parametrize("many", [0, 1, 10_000])
@virtual_time
async def test_pattern_14_there_are_as_many_instances_as_an_earlier_step_says(many: int):
    """None, one, many; the results are in the order of the items."""
    async with company_for(14) as company:
        execution = await company.begin(many=many)
        await company.assert_completed(execution, {"each": list(range(many))})
        await company.assert_step_ran(execution, "next")


@virtual_time
async def test_pattern_15_instances_are_added_while_others_run_also_after_a_crash():
    """Each is started once, however often the step that starts them looks; all are waited for."""
    async with company_for(15) as company:
        execution = await company.begin(wanted={"ann": "2h", "bob": "1h"})
        await company.advance("90m")
        await execution.update_context({"wanted": {"ann": "2h", "bob": "1h", "eve": "2h"}})
        await company.crash()
        await company.assert_completed(execution)
        names = [child.id.rpartition(".")[2] for child in await company.children(execution)]
        assert sorted(names) == ["ann", "bob", "eve"]
        (joined, _) = company.when("next")[0]
        assert 3.5 <= joined <= 4.6  # eve was wanted after an hour and a half and took two


@virtual_time
async def test_pattern_34_it_goes_on_after_two_of_five_instances():
    """The three others come to their ends."""
    async with company_for(34) as company:
        execution = await company.begin()
        await company.assert_completed(execution, {"first": "each[1]", "second": "each[3]"})
        assert company.when("next") == [(2, 2)]
        assert company.when("each[2]") == [(0, 5)]


@virtual_time
async def test_pattern_35_after_two_of_five_instances_the_rest_is_cancelled():
    """No other comes to its end."""
    async with company_for(35) as company:
        execution = await company.begin()
        await company.assert_completed(execution, {"first": "each[1]", "second": "each[3]"})
        assert [deed.step for deed in company.deeds] == ["each[1]", "each[3]", "next"]
        assert company.when("next") == [(2, 2)]


async def _ended(company: Company, execution: Execution) -> dict[str, str]:
    """What has become of each whom the execution has started."""
    return {each.id.rpartition(".")[2]: each.status.value for each in await company.children(execution)}


@virtual_time
async def test_pattern_36_enough_is_a_condition_that_may_change_and_so_may_the_number_of_instances():
    """Two of three become two of four with a slow one added; what is left then is cancelled."""
    async with company_for(36) as company:
        execution = await company.begin(enough=3, wanted={"ann": "1h", "bob": "9h", "dan": "8h"})
        await company.advance("30m")
        wanted = {"ann": "1h", "bob": "9h", "dan": "8h", "eve": "1h"}
        await execution.update_context({"wanted": wanted})
        await company.advance("90m")
        assert (await execution.status()).finished_at is None  # two have ended, three are enough
        await execution.update_context({"enough": 2})
        await company.assert_completed(execution)
        assert await _ended(company, execution) == {
            "ann": "completed",
            "bob": "cancelled",
            "dan": "cancelled",
            "eve": "completed",
        }
        assert company.when("next")[0][0] < 3
