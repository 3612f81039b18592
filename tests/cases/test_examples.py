"""The examples of the conformance kit that our language can say, and what comes of them."""

from __future__ import annotations

import re
from pathlib import Path

import conformance
import pytest
from conformance import example

from perdure.runtime.testing import virtual_time


def test_every_example_that_is_said_has_a_test():
    """It asks for the example by its name."""
    asked = set(re.findall(r'example\("([\w-]+)"\)', Path(__file__).read_text()))
    assert asked == {each.name for each in conformance.table().example if each.workflows}


@pytest.mark.parametrize(("age", "is_taken"), [(18, True), (17, False)])
@virtual_time
async def test_a_bet_is_placed_by_those_who_are_of_age(age: int, is_taken: bool):  # noqa: FBT001 - a row
    """Others end with the error of the gate."""
    async with example("conditional-task") as company:
        execution = await company.begin(customer={"age": age}, bet="1:0")
        if is_taken:
            await company.assert_completed(execution, {"placeBet": "1:0"})
        else:
            await company.assert_failed(execution, "Access Forbidden")


@virtual_time
async def test_what_one_call_gives_is_the_body_of_the_next():
    """In order."""
    async with example("do-multiple") as company:
        await company.assert_completed(
            await company.begin(petId=3), {"buyPet": {"id": 3, "name": "doggie", "status": "sold"}}
        )


@virtual_time
async def test_a_single_call_is_a_workflow():
    """Of one step."""
    async with example("do-single") as company:
        result = await company.assert_completed(await company.begin(petId=3))
        assert result.outputs["getPet"]["id"] == 3


@virtual_time
async def test_of_two_who_are_alarmed_the_first_who_comes_is_enough():
    """The other one is cancelled; an alarm is over after five minutes."""
    async with example("fork") as company:
        execution = await company.begin()
        result = await company.assert_completed(execution)
        assert result.outputs == {"raiseAlarm": "nurse"}
        assert [deed.step for deed in company.deeds] == ["callNurse", "nurse"]
        (branches,) = await company.children(execution)
        await company.assert_cancelled(await company.execution(branches.id))


@virtual_time
async def test_any_event_wakes_whoever_listens():
    """Across a kill."""
    async with example("listen-to-any") as company:
        execution = await company.begin()
        await company.crash()
        await execution.signal("event", {"temperature": 39})
        await company.assert_completed(execution, {"callDoctor": {"temperature": 39}})


@virtual_time
async def test_it_listens_until_four_events_have_come():
    """Three are not enough."""
    async with example("listen-to-any-until-condition") as company:
        execution = await company.begin()
        for number in range(3):
            await execution.signal("event", number)
        await company.advance("1d")
        assert (await execution.query())["waiting"] == ["fourth"]
        await execution.signal("event", 3)
        await company.assert_completed(execution, {"callDoctor": 3})


@virtual_time
async def test_one_event_is_waited_for():
    """Others do not start the car."""
    async with example("listen-to-one") as company:
        execution = await company.begin(carId=7)
        await execution.signal("race-cancelled")
        await company.advance("1d")
        assert (await execution.query())["waiting"] == ["waitForStartup"]
        await execution.signal("race-started")
        await company.assert_completed(execution, {"startup": "start 7"})


@virtual_time
async def test_an_error_can_be_raised_by_its_words():
    """The step that raised it is told."""
    async with example("raise-reusable") as company:
        result = await company.assert_failed(await company.begin(), "Not Implemented")
        assert result.error.step == "notImplemented"


@virtual_time
async def test_a_workflow_runs_another_one_with_a_part_of_its_input():
    """The version that it names."""
    async with example("run-subflow") as company:
        execution = await company.begin(user={"firstName": "Ada"})
        await company.assert_completed(execution, {"registerCustomer": {"registered": "Ada"}})


@pytest.mark.parametrize(
    ("pet", "found"), [(1, {"id": 1, "name": "doggie", "status": "available"}), (404, None)]
)
@virtual_time
async def test_an_error_that_is_caught_does_not_fail_the_workflow(pet: int, found: object):
    """What was tried gives nothing then."""
    async with example("try-catch") as company:
        await company.assert_completed(await company.begin(petId=pet), {"tryGetPet": found})


@virtual_time
async def test_an_error_that_is_not_to_be_caught_fails_the_workflow():
    """Only 404 is."""
    async with example("try-catch") as company:
        await company.assert_failed(await company.begin(petId="no number"), "another error than 404")


@pytest.mark.parametrize(
    ("pet", "outputs"),
    [
        (1, {"buyPet": {"id": 1, "name": "doggie", "status": "sold"}}),
        (404, {"notifySupport": "no pet 404"}),
    ],
)
@virtual_time
async def test_after_an_error_that_is_caught_other_steps_run(pet: int, outputs: dict[str, object]):
    """Support is notified, or the pet is bought."""
    async with example("try-catch-then") as company:
        result = await company.assert_completed(await company.begin(petId=pet), outputs)
        assert len({"notifySupport", "buyPet"} & set(result.outputs)) == 1
