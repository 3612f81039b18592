"""One command for many executions: chosen by a filter, a result for each."""

from __future__ import annotations

from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest

from perdure.runtime import Execution, InvalidArgument, Runtime, State, Status, Workflow
from perdure.runtime.bulk import AT_ONCE, Where, read_where, rehearse
from perdure.runtime.testing import VirtualRuntime, run_virtual


def lottery() -> Workflow:
    """One step that fails for odd numbers the first time."""
    workflow = Workflow("lottery", version="7")
    seen: set[int] = set()

    @workflow.step
    async def draw(number: int) -> int:
        if number % 2 and number not in seen:
            seen.add(number)
            raise ValueError("odd")
        return number

    return workflow


def slow() -> Workflow:
    """One step of an hour."""
    workflow = Workflow("slow")

    @workflow.step
    async def hour() -> None:
        await anyio.sleep(3600)

    return workflow


def test_what_failed_is_tried_again_and_nothing_else_is_touched():
    """Answers in the order of the list; the others stay as they are."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            workflow = lottery()
            for number in range(6):
                execution = await runtime.start(workflow, {"number": number}, id=f"e{number}")
                await execution.result(check=False)
            done = await runtime.bulk("state=failed workflow=lottery", lambda one: one.retry())
            assert [(each.id, each.outcome) for each in done] == [
                ("e5", "done"),
                ("e3", "done"),
                ("e1", "done"),
            ]
            await anyio.sleep(1)
            assert await runtime.select("status=failed") == []
            assert len(await runtime.select("status=completed last=1d version=7")) == 6
            assert [one.id for one in await runtime.select("id=e workflow=lottery", limit=2)] == ["e5", "e4"]

    run_virtual(main)


def test_a_refusal_of_one_is_its_result_and_stops_nobody():
    """Nor does one that is still on its way when the time is over."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            await _check(runtime)

    async def _check(runtime: Runtime) -> None:
        await (await runtime.start(lottery(), {"number": 2}, id="done")).result()
        await runtime.start(slow(), {}, id="running")
        await anyio.sleep(1)
        everything = Where(last=timedelta(days=1))
        paused = await runtime.bulk(everything, lambda one: one.pause(), timeout=5)
        assert [(each.id, each.outcome) for each in paused] == [("running", "asked"), ("done", "refused")]
        assert "completed" in (paused[1].reason or "")
        cancelled = await runtime.bulk("state=pausing", lambda one: one.cancel())
        assert [(each.id, each.outcome, each.state) for each in cancelled] == [
            ("running", "done", State.CANCELLED)
        ]

    run_virtual(main)


def test_what_the_own_function_raises_is_raised_as_it_is():
    """A slip in it is the same for all: the first says enough, and not all are begun."""
    begun: list[str] = []

    async def slip(execution: Execution) -> None:
        begun.append(execution.id)
        await anyio.lowlevel.checkpoint()
        raise ZeroDivisionError(execution.id)

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            for number in range(3 * AT_ONCE):
                await runtime.start(slow(), {}, id=f"e{number}")
            with pytest.raises(ZeroDivisionError):
                await runtime.bulk("workflow=slow", slip)

    run_virtual(main)
    assert AT_ONCE <= len(begun) < 3 * AT_ONCE


def test_a_rehearsal_says_what_the_state_allows():
    """And does nothing."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            await (await runtime.start(lottery(), {"number": 1}, id="odd")).result(check=False)
            await (await runtime.start(lottery(), {"number": 2}, id="even")).result()
            chosen = await runtime.select("workflow=lottery")
            told = rehearse(chosen, allowed={State.FAILED})
            assert [(each.id, each.outcome, each.reason) for each in told] == [
                ("even", "would be refused", "it is completed"),
                ("odd", "would be done", None),
            ]

    run_virtual(main)


def test_a_filter_is_read_field_by_field():
    """Quotes hold a value with spaces together."""
    text = (
        "status=failed state=failed workflow='my flow' version=2 id=ab triggered-by=cron error=E last=1h30m"
    )
    assert read_where(text) == Where(
        status=Status.FAILED,
        state=State.FAILED,
        workflow="my flow",
        version="2",
        id="ab",
        triggered_by="cron",
        error="E",
        last=timedelta(minutes=90),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("failed", "FIELD=VALUE"),
        ("colour=red", "the fields are status, state"),
        ("status=", "FIELD=VALUE"),
        ("status=faild", "known: initiated"),
        ("state=on", "known: idle"),
        ("last=long", "length of time"),
        ("state=failed state=paused", "twice"),
        ("workflow='x", "closing quotation"),
    ],
)
def test_a_filter_nobody_can_mean_is_refused(text: str, said: str):
    """Above all the empty one: it would mean everything."""
    with pytest.raises(InvalidArgument, match=said):
        read_where(text)
