"""Control-flow patterns of branching and merging: what runs beside what, and what waits for whom."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from patterns import company_for

from perdure.runtime.testing import virtual_time

SUBSETS = ["".join(each) for each in chain.from_iterable(combinations("abc", count) for count in range(4))]


@virtual_time
async def test_pattern_1_a_step_starts_only_after_the_one_before_is_stored_as_done():
    """A crash between the end of the body and the commit runs the body again, and nothing after it."""
    async with company_for(1, crash="after:a:before-commit") as company:
        execution = await company.begin()
        await company.assert_completed(execution)
        history = await company.history(execution)
        assert [history.count(f"step_started {step}") for step in "ab"] == [2, 1]
        assert history.index("step_completed a") < history.index("step_started b")
        assert len(company.when("a")) == 2
        assert len(company.when("b")) == 1


@virtual_time
async def test_pattern_2_both_branches_are_in_flight_at_once():
    """They begin at the same moment, and each ends in its own time."""
    async with company_for(2) as company:
        await company.assert_completed(await company.begin())
        assert company.when("b") == [(1, 2)]
        assert company.when("c") == [(1, 3)]


@virtual_time
async def test_pattern_3_the_join_runs_once_also_if_both_end_in_the_same_tick():
    """Both take an hour."""
    async with company_for(3) as company:
        execution = await company.begin()
        await company.assert_completed(execution)
        assert company.when("b") == company.when("c") == [(0, 1)]
        assert company.when("d") == [(1, 2)]
        await company.assert_step_ran(execution, "d")


@virtual_time
async def test_pattern_4_one_branch_runs_and_neither_other_inputs_nor_a_crash_choose_anew():
    """The choice is in the log."""
    async with company_for(4) as company:
        execution = await company.begin(way="left")
        await company.advance("30m")
        await execution.update_context({"way": "right"})
        await company.crash()
        result = await company.assert_completed(execution)
        assert "left" in result.outputs
        assert "right" not in result.outputs
        assert (await company.history(execution)).count("step_skipped right") == 1


@pytest.mark.parametrize("way", ["left", "right"])
@virtual_time
async def test_pattern_5_the_step_after_the_merge_runs_once_for_the_branch_that_arrives(way: str):
    """Whichever it is."""
    async with company_for(5) as company:
        execution = await company.begin(way=way)
        await company.assert_completed(execution)
        await company.assert_step_ran(execution, "merge")
        assert [deed.step for deed in company.deeds] == [way, "merge"]


@pytest.mark.parametrize("chosen", SUBSETS)
@virtual_time
async def test_pattern_6_any_of_the_branches_run_also_none(chosen: str):
    """All eight ways to choose of three."""
    async with company_for(6) as company:
        await company.assert_completed(await company.begin(chosen=list(chosen)))
        assert {deed.step for deed in company.deeds} == set(chosen)


@pytest.mark.parametrize("chosen", SUBSETS)
@virtual_time
async def test_pattern_7_the_merge_waits_for_just_the_branches_that_were_chosen(chosen: str):
    """It runs when the slowest of them has ended; where none was chosen it is skipped, too."""
    async with company_for(7) as company:
        await company.assert_completed(await company.begin(chosen=list(chosen)))
        slowest = max(({"a": 1, "b": 2, "c": 3}[each] for each in chosen), default=None)
        assert company.when("merge") == ([] if slowest is None else [(slowest, slowest)])


@virtual_time
async def test_pattern_8_what_follows_runs_once_for_each_arrival():
    """It does so when its branch arrives, not when all have."""
    async with company_for(8) as company:
        execution = await company.begin()
        await company.advance("2h")
        (early,) = await company.children(execution)
        assert early.finished_at is not None
        await company.assert_completed(execution)
        children = [await company.execution(each.id) for each in await company.children(execution)]
        outputs = [(await child.result()).outputs["next"] for child in children]
        assert outputs == ["after a", "after b"]


@virtual_time
async def test_pattern_9_the_first_arrival_lets_it_go_on_and_the_others_are_ignored():
    """The next step is done before the slow branch arrives; another execution begins from the start."""
    async with company_for(9) as company:
        for opened in (0, 3):
            execution = await company.begin()
            await company.assert_completed(execution)
            await company.assert_step_ran(execution, "next")
            assert company.when("next")[-1] == (opened + 1, opened + 2)
            assert company.when("b")[-1] == (opened, opened + 3)


@virtual_time
async def test_pattern_28_the_next_round_waits_until_all_branches_of_this_one_have_ended():
    """Though this one went on at the first of them. Another key is another discriminator."""
    async with company_for(28, unit="1s") as company:
        rounds = [await company.begin(place="here"), await company.begin(place="here")]
        elsewhere = await company.begin(place="there")
        for execution in (*rounds, elsewhere):
            await company.assert_completed(execution)
        nexts = {deed.execution: deed.began for deed in company.deeds if deed.step == "next"}
        begins = {deed.execution: deed.began for deed in company.deeds if deed.step == "a"}
        assert [nexts[each.id] for each in (*rounds, elsewhere)] == [1, 4, 1]
        assert [begins[each.id] for each in (*rounds, elsewhere)] == [0, 3, 0]


@virtual_time
async def test_pattern_29_the_first_arrival_cancels_the_others():
    """Also if the process dies between the arrival and the cancel."""
    async with company_for(29, crash="before:enough") as company:
        execution = await company.begin()
        await company.assert_completed(execution, {"first": "a-in", "race": None})
        assert company.when("b") == []
        (child,) = await company.children(execution)
        assert child.status.value == "cancelled"
        assert company.when("next") == [(1, 1)]


@virtual_time
async def test_pattern_30_it_goes_on_after_two_of_three():
    """The third one ends in its own time."""
    async with company_for(30) as company:
        await company.assert_completed(await company.begin())
        assert company.when("next") == [(2, 2)]
        assert company.when("c") == [(0, 3)]


@virtual_time
async def test_pattern_31_later_rounds_wait_until_all_three_have_ended():
    """As with one of two."""
    async with company_for(31, unit="1s") as company:
        rounds = [await company.begin(), await company.begin()]
        for execution in rounds:
            await company.assert_completed(execution)
        assert company.when("next") == [(2, 2), (5, 5)]
        assert company.when("a") == [(0, 1), (3, 4)]


@virtual_time
async def test_pattern_32_after_two_of_three_the_rest_is_cancelled():
    """The third branch never comes to its end."""
    async with company_for(32) as company:
        execution = await company.begin()
        await company.assert_completed(execution)
        assert company.when("next") == [(2, 2)]
        assert company.when("b") == [(0, 2)]
        assert company.when("c") == []


@virtual_time
async def test_pattern_33_arrivals_are_joined_pairwise_over_the_rounds():
    """Two of one side before any of the other: none is lost, none is used twice."""
    async with company_for(33) as company:
        execution = await company.begin()
        for name, payload in (("left", "l1"), ("left", "l2"), ("right", "r1")):
            await execution.signal(name, payload)
        await company.advance("1h")
        assert (await execution.query())["steps"]["right-2"]["state"] == "waiting"
        await company.crash()
        await execution.signal("right", "r2")
        await company.assert_completed(execution, {"pair-1": "l1+r1", "pair-2": "l2+r2"})


@pytest.mark.parametrize(
    ("chosen", "merged"),
    [("a", 2), ("ab", 3), (("b",), 3), (("b", "b2"), 4), (("a", "b", "b2"), 4), ("", None)],
)
@virtual_time
async def test_pattern_37_how_many_arrivals_to_wait_for_is_decided_by_the_branches_alone(
    chosen: str | tuple[str, ...], merged: float | None
):
    """A branch that is left in the middle is waited for until it is left."""
    async with company_for(37) as company:
        await company.assert_completed(await company.begin(chosen=list(chosen)))
        arrives = set(chosen) & {"a", "b2"}
        assert company.when("merge") == ([(merged, merged)] if arrives and merged else [])


@pytest.mark.parametrize(
    ("chosen", "merged"), [("a", 3), ("b", 4), ("ab", 4), ("bc", 4), ("abc", 4), ("c", None), ("", None)]
)
@virtual_time
async def test_pattern_38_the_merge_waits_as_long_as_an_arrival_is_possible(
    chosen: str, merged: float | None
):
    """Branches cross, one of them loops for two hours; nobody waits for what cannot come."""
    async with company_for(38) as company:
        await company.assert_completed(await company.begin(chosen=list(chosen)))
        assert company.when("merge") == ([] if merged is None else [(merged, merged)])


@virtual_time
async def test_pattern_41_the_threads_of_one_path_become_one():
    """Seven threads, one step after them."""
    async with company_for(41) as company:
        execution = await company.begin(many=7)
        await company.assert_completed(execution)
        assert [company.when(f"threads[{no}]") for no in range(7)] == [[(0, 1)]] * 7
        assert company.when("merged") == [(1, 1)]


@virtual_time
async def test_pattern_42_one_path_becomes_as_many_threads_as_it_says():
    """All of them at once."""
    async with company_for(42) as company:
        await company.assert_completed(await company.begin(many=5))
        assert {deed.step for deed in company.deeds} == {f"threads[{no}]" for no in range(5)}
        assert len(company.deeds) == 5
        assert {(deed.began, deed.ended) for deed in company.deeds} == {(0, 1)}
