"""`TestRuntime`: what a user's test can do to a runtime, and how it is told what went wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.runtime import (
    ExecutionFailed,
    IllegalTransition,
    InvalidArgument,
    NotFound,
    Retry,
    State,
    StepContext,
    Workflow,
)
from perdure.runtime.testing import (
    FAULT_POINTS,
    InvalidCrash,
    InvariantBroken,
    NeverEnds,
    ProcessDied,
    TestRuntime,
    stub,
    virtual_backend,
    virtual_time,
)

ORDER = """
name: order
steps:
  - key: reserve
    agent: stock
    prompt: "{{item}}"
  - key: charge
    agent: bank
    dependencies: [reserve]
    retryPolicy: {maxRetries: 2, retryDelayMs: 60000, jitter: false}
  - key: ship
    agent: post
    dependencies: [charge]
"""


def order() -> Workflow:
    """Three steps, one after the other, each an agent's."""
    return Workflow.parse(ORDER)


def all_well():
    """Stubs for all three."""
    return [stub("stock", returns="lamp", takes="1h"), stub("bank", returns=42), stub("post", takes="2d")]


@virtual_time
async def test_a_workflow_runs_on_stubs_in_virtual_time() -> None:
    """Days pass in no time, and each stub knows what it was asked."""
    stock, bank, post = stubs = all_well()
    async with TestRuntime(order(), stubs=stubs) as test:
        execution = await test.start("order", {"item": "lamp"})
        await test.advance("90m")
        await test.assert_step_ran(execution, "charge")
        assert (await execution.status()).state is State.EXECUTING
        result = await test.assert_completed(execution, {"reserve": "lamp", "charge": 42})
        assert result.outputs["ship"] is None
        assert anyio.current_time() == pytest.approx(2 * 86_400 + 3_600, abs=1)
    assert [call.prompt for call in stock.calls] == ["lamp"]
    assert [(call.needs, call.context) for call in bank.calls] == [({"reserve": "lamp"}, {"item": "lamp"})]
    assert [call.attempt for call in post.calls] == [1]


@pytest.mark.parametrize(
    ("crash", "charges"),
    [
        ("before:charge", 1),
        ("after:charge", 2),
        ("before:charge:before-commit", 1),
        ("before:charge:after-commit", 1),
        ("after:charge:before-commit", 2),
        ("after:charge:after-commit", 1),
        ("after:reserve:after-commit", 1),
        ("commit:before#2", 1),
    ],
)
@virtual_time
async def test_the_runtime_crashes_where_it_is_told_to_and_goes_on(crash: str, charges: int) -> None:
    """The bank is asked again only where the outcome was not durable, and then under the same key."""
    _, bank, _ = stubs = all_well()
    async with TestRuntime(order(), stubs=stubs, crash=crash) as test:
        execution = await test.start("order", {"item": "lamp"})
        await test.assert_completed(execution, {"charge": 42})
        assert test.crashes == [crash]
    assert len(bank.calls) == charges
    assert len({call.idempotency_key for call in bank.calls}) == 1
    assert {call.attempt for call in bank.calls} == {1}


@pytest.mark.parametrize("point", [point for point in FAULT_POINTS if not point.startswith("doorbell")])
@virtual_time
async def test_every_fault_point_is_a_place_for_a_crash(point: str) -> None:
    """The start itself may be cut, and is said again."""
    async with TestRuntime(order(), stubs=all_well(), crash=point) as test:
        execution = await test.start("order", {"item": "lamp"})
        await test.assert_completed(execution)
        assert test.crashes == [point]


@virtual_time
async def test_the_second_crash_falls_into_the_second_life() -> None:
    """One place for each life, in order."""
    _, bank, _ = stubs = all_well()
    crash = ["after:charge:before-commit", "before:charge:after-commit", "after:ship"]
    async with TestRuntime(order(), stubs=stubs, crash=crash) as test:
        execution = await test.start("order", {"item": "lamp"})
        await test.assert_completed(execution)
        assert test.crashes == crash
    assert len(bank.calls) == 2


@virtual_time
async def test_a_command_that_a_crash_cuts_is_said_again_as_one_command() -> None:
    """The caller does not notice, and the log has it once."""
    async with TestRuntime(order(), stubs=all_well(), crash="publish:before#2") as test:
        execution = await test.start("order", {"item": "lamp"})
        await test.advance("1m")
        await execution.signal("hello", {"from": "a test"})
        assert test.crashes == ["publish:before#2"]
        assert (await test.history(execution)).count("signal_received") == 1
        assert await execution.pause(mode="interrupt") is State.PAUSED
        await execution.resume()
        await test.assert_completed(execution)


@virtual_time
async def test_the_log_is_followed_across_a_crash() -> None:
    """No event is missed, none comes twice."""
    async with TestRuntime(order(), stubs=all_well(), crash="after:charge:after-commit") as test:
        execution = await test.start("order", {"item": "lamp"})
        seen = [event.id async for event in execution.events(follow=True)]
        assert seen == [event.id async for event in execution.events()]
        assert len(seen) == len(set(seen))


@virtual_time
async def test_a_test_may_crash_and_restart_by_itself() -> None:
    """At any moment; a restart is a deploy and uses up nothing."""
    _, _, post = stubs = all_well()
    async with TestRuntime(order(), stubs=stubs) as test:
        execution = await test.start("order", {"item": "lamp"})
        await test.advance("23h")
        await test.crash()
        await test.advance("1h")
        await test.restart()
        await test.assert_completed(execution)
        await test.assert_step_ran(execution, "ship", times=3)
    assert {call.attempt for call in post.calls} == {1}


@virtual_time
async def test_a_test_may_go_on_with_the_store_of_another(tmp_path: Path) -> None:
    """Its executions and commands are new ones; those before it are there."""
    for _ in range(2):
        async with TestRuntime(order(), stubs=all_well(), location=tmp_path / "t.db") as test:
            execution = await test.start("order", {"item": "lamp"})
            await execution.signal("hello")
            assert (await test.history(execution)).count("signal_received") == 1
            await test.assert_completed(execution)
    async with TestRuntime(order(), stubs=all_well(), location=tmp_path / "t.db") as test:
        assert len(await test.runtime.list()) == 2


@virtual_time
async def test_a_crash_can_be_left_to_the_test() -> None:
    """Then it is raised, and nothing happens until the restart."""
    async with TestRuntime(order(), stubs=all_well(), crash="after:charge", restarts=False) as test:
        execution = await test.start("order", {"item": "lamp"})
        with pytest.raises(ProcessDied):
            await execution.result()
        await test.advance("1w")
        await test.restart()
        await test.assert_completed(execution)


@virtual_time
async def test_a_python_step_can_be_stubbed_by_its_function() -> None:
    """The workflow stays as it is; its other steps are the real ones."""
    workflow = Workflow("sum")

    @workflow.step
    async def fetch(url: str) -> int:
        raise OSError("the test must not reach out")

    @workflow.step
    async def double(fetch: int) -> int:
        return 2 * fetch

    fetched = stub(fetch, returns=21)
    async with TestRuntime(workflow, stubs=[fetched]) as test:
        await test.assert_completed(await test.start(workflow, {"url": "x"}), {"double": 42})
    assert [call.context for call in fetched.calls] == [{"url": "x"}]


@virtual_time
async def test_a_stub_raises_or_goes_through_a_sequence() -> None:
    """One outcome a call."""
    stubs = [
        stub("stock"),
        stub("bank", sequence=[OSError("busy"), TimeoutError, 3]),
        stub("post", raises=OSError),
    ]
    async with TestRuntime(order(), stubs=stubs) as test:
        execution = await test.start("order", {"item": "lamp"})
        result = await test.assert_failed(execution, "OSError")
        assert result.outputs["charge"] == 3
        await test.assert_step_ran(execution, "charge", times=3)


@virtual_time
async def test_a_stub_called_too_often_says_so() -> None:
    """Its sequence is what the test expects."""
    stubs = [stub("stock"), stub("bank", sequence=[OSError("busy")]), stub("post")]
    async with TestRuntime(order(), stubs=stubs) as test:
        execution = await test.start("order", {"item": "lamp"})
        await test.assert_failed(execution, "StubExhausted: stub 'bank' was called 3 times")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: TestRuntime("order"), "what workflows has is 'order': give a Workflow"),  # type: ignore[arg-type]
        (lambda: TestRuntime(order(), stubs=["bank"]), "what stubs has is 'bank': give a Stub"),  # type: ignore[list-item]
        (lambda: TestRuntime(order(), crash=5), "crash is 5: give a list"),  # type: ignore[arg-type]
        (lambda: TestRuntime(order(), downtime=None), "None is no duration"),  # type: ignore[arg-type]
        (lambda: stub("bank", takes=float("nan")), "nan is no duration"),
        (lambda: stub("bank", sequence=5), "sequence is 5: give a list"),  # type: ignore[arg-type]
        (lambda: stub(5), "agent is 5: give a function"),  # type: ignore[arg-type]
    ],
)
def test_what_nobody_can_test_with_is_refused_with_what_can(make: Callable[[], object], why: str) -> None:
    """Where it is given, and not in the middle of the test."""
    with pytest.raises(InvalidArgument, match=why):
        make()


def test_a_stub_has_one_outcome() -> None:
    """Two would leave open which counts."""
    with pytest.raises(InvalidArgument, match="returns and raises"):
        stub("bank", returns=1, raises=OSError)


def test_a_stub_that_is_to_raise_what_is_no_exception_is_refused() -> None:
    """It would return it, and the test would be about something else."""
    wrong: Any = "down"
    with pytest.raises(InvalidArgument, match="raises is 'down': give an exception"):
        stub("bank", raises=wrong)


@virtual_time
async def test_an_assertion_that_fails_tells_the_history() -> None:
    """What it wanted, what it found, and all that happened."""
    async with TestRuntime(order(), stubs=all_well()) as test:
        execution = await test.start("order", {"item": "lamp"})
        with pytest.raises(AssertionError, match=r"it ended completed, not failed(.|\n)*step_completed ship"):
            await test.assert_failed(execution)
        with pytest.raises(AssertionError, match="step 'charge' gave 42, not 41"):
            await test.assert_completed(execution, {"charge": 41})
        with pytest.raises(
            AssertionError, match=r"'chrge' was started 0 times, not 1 \(did you mean 'charge'"
        ):
            await test.assert_step_ran(execution, "chrge")
        with pytest.raises(AssertionError, match="not cancelled"):
            await test.assert_cancelled(execution)


@virtual_time
async def test_the_history_tells_which_attempt_failed_and_by_what() -> None:
    """An assertion that fails should not send anybody to look for the error."""
    stubs = [stub("stock", returns="lamp"), stub("bank", raises=OSError("line is down")), stub("post")]
    async with TestRuntime(order(), stubs=stubs) as test:
        execution = await test.start("order", {"item": "lamp"})
        with pytest.raises(
            AssertionError, match=r"step_failed charge \(attempt \d\): OSError: line is down\n"
        ):
            await test.assert_completed(execution)


@virtual_time
async def test_a_crash_that_never_comes_fails_the_test() -> None:
    """A test of a crash that did not crash would prove nothing."""
    with pytest.raises(AssertionError, match=r"'after:ship#2' never came(.|\n)*after:ship#1"):
        async with TestRuntime(order(), stubs=all_well(), crash="after:ship#2") as test:
            await test.assert_completed(await test.start("order", {"item": "lamp"}))


@pytest.mark.parametrize(
    ("crash", "why"),
    [
        ("after:charg", "did you mean 'charge'"),
        ("after:charge:before-comit", "did you mean 'before-commit'"),
        ("comit:before", "did you mean 'commit:before'"),
        ("commit:before#0", "a number from 1"),
        ("sometime", "name a step"),
    ],
)
def test_a_place_that_is_none_is_refused_with_the_nearest(crash: str, why: str) -> None:
    """Before anything runs."""
    with pytest.raises(InvalidCrash, match=why):
        TestRuntime(order(), crash=crash)


@virtual_time
async def test_the_error_of_the_test_itself_goes_first() -> None:
    """And says how to see it again."""
    with pytest.raises(ZeroDivisionError) as caught:
        async with TestRuntime(order(), seed=7, crash="after:ship"):
            _ = 1 / 0
    assert caught.value.__notes__ == ["TestRuntime(seed=7), crashed at no place"]


@virtual_time
async def test_a_store_that_lies_fails_the_test(tmp_path: Path) -> None:
    """The checker runs at the end of every test."""

    async def delete_it(test: TestRuntime) -> None:
        async with test:
            execution = await test.start("order", {"item": "lamp"})
            await test.assert_completed(execution)
            await test.call(lambda runtime: runtime.delete(execution.id))

    with pytest.raises(InvariantBroken, match="acknowledged and is not in the store"):
        await delete_it(TestRuntime(order(), stubs=all_well(), location=tmp_path / "test.db"))


@virtual_time
async def test_what_the_runtime_refuses_is_refused_in_a_test() -> None:
    """Errors come through as they are."""
    async with TestRuntime(
        order(), stubs=[stub("stock"), stub("bank", raises=OSError), stub("post")]
    ) as test:
        with pytest.raises(NotFound):
            await test.execution("nobody")
        execution = await test.start("order", {"item": "lamp"}, id="mine")
        with pytest.raises(ExecutionFailed):
            await execution.result()
        with pytest.raises(IllegalTransition):
            await (await test.execution("mine")).pause()


@virtual_time(seed=3)
async def test_the_same_seed_is_the_same_run() -> None:
    """Ids, chance and interleaving."""

    async def once() -> list[str]:
        workflow = Workflow("wide")
        order: list[str] = []
        for no in range(5):

            @workflow.step(key=f"s{no}", retry=Retry(max_retries=1, delay=10))
            async def step(context: StepContext) -> None:
                order.append(f"{context.step} {context.attempt} {anyio.current_time() - begun}")
                if context.attempt == 1:
                    raise OSError

        begun = anyio.current_time()
        async with TestRuntime(workflow, seed=5) as test:
            await test.assert_completed(await test.start(workflow, {}))
        return sorted(order)

    assert await once() == await once()


async def test_a_loop_without_virtual_time_is_refused_with_advice() -> None:
    """The way out is in the message."""
    with pytest.raises(InvalidArgument, match="@virtual_time"):
        async with TestRuntime(order()):
            pass


async def test_on_a_real_clock_everything_works_but_crashes() -> None:
    """In the loop of an ordinary async test."""
    stubs = [stub("stock"), stub("bank", returns=42), stub("post")]
    async with TestRuntime(order(), stubs=stubs, clock="real") as test:
        await test.assert_completed(await test.start("order", {"item": "lamp"}), {"charge": 42})
        with pytest.raises(InvalidArgument, match="push a real clock"):
            await test.advance("1s")
        with pytest.raises(InvalidArgument, match="kill a real process"):
            await test.crash()
    with pytest.raises(InvalidArgument, match="kill a real process"):
        TestRuntime(order(), crash="after:ship", clock="real")


class TestUnderVirtualBackend:
    """Async tests of anyio's plugin, in virtual time by their backend."""

    @pytest.fixture
    def anyio_backend(self):
        """A virtual loop for this class."""
        return virtual_backend(seed=1)

    async def test_an_async_test_needs_no_decorator(self) -> None:
        """The loop it runs on has virtual time."""
        async with TestRuntime(order(), stubs=all_well(), crash="after:charge") as test:
            await test.assert_completed(await test.start("order", {"item": "lamp"}))


def test_a_crashed_test_leaves_no_files_and_no_open_database(tmp_path: Path) -> None:
    """Its folder is gone, its locks are let go of."""

    @virtual_time
    async def scenario() -> None:
        async with TestRuntime(
            order(), stubs=all_well(), crash="after:charge", location=tmp_path / "t.db"
        ) as test:
            await test.assert_completed(await test.start("order", {"item": "lamp"}))

    scenario()
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("t.db")] == []
    connection = sqlite3.connect(tmp_path / "t.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


@virtual_time
async def test_what_waits_for_ever_fails_with_its_history() -> None:
    """A hundred days of virtual time in which nobody said anything."""
    workflow = Workflow("patient").signal_step("never", signal="never")
    async with TestRuntime(workflow) as test:
        execution = await test.start(workflow, {})
        with pytest.raises(NeverEnds, match="step_waiting never"):
            await test.assert_completed(execution)
        with pytest.raises(TimeoutError):
            await execution.result(timeout=5)


@virtual_time
async def test_a_stub_for_a_name_nobody_asks_for_is_a_mistake_in_the_test() -> None:
    """The real one would have been called."""
    with pytest.raises(AssertionError, match=r"stub stok.* stands in for nothing.* bank, post, stock"):
        async with TestRuntime(order(), stubs=[*all_well(), stub("stok")]) as test:
            await test.assert_completed(await test.start("order", {"item": "lamp"}))


@pytest.mark.parametrize("which", ["before", "after"])
@pytest.mark.parametrize("side", ["", ":before-commit", ":after-commit"])
@pytest.mark.parametrize("step", ["flight.compensate", "hooks.finally"])
@virtual_time
async def test_what_runs_beside_the_graph_can_be_crashed_and_what_was_undone_asserted(
    which: str, side: str, step: str
) -> None:
    """Compensations and hooks are steps as any other."""
    workflow = Workflow("trip", on_failure="compensate")
    workflow.hook("finally", "tell")
    workflow.agent_step("flight", agent="book", compensate="unbook")
    workflow.agent_step("hotel", agent="hotel", after="flight")
    stubs = [stub("book"), stub("unbook"), stub("hotel", raises=OSError("full")), stub("tell")]
    async with TestRuntime(workflow, stubs=stubs, crash=f"{which}:{step}{side}") as test:
        await test.assert_rolled_back(await test.start(workflow, {}))
        assert len({call.idempotency_key for call in stubs[1].calls}) == 1


@virtual_time
async def test_a_rollback_that_a_crash_cuts_is_said_again_and_the_handle_reaches_who_is_alive() -> None:
    """Whatever is asked of it, also what is no command."""
    workflow = Workflow("trip").agent_step("flight", agent="book", compensate="unbook")
    stubs = [stub("book"), stub("unbook")]
    async with TestRuntime(workflow, stubs=stubs, crash="before:flight.compensate") as test:
        execution = await test.start(workflow, {})
        await test.assert_completed(execution)
        assert await execution.rollback("rain") is State.ROLLED_BACK
        assert test.crashes == ["before:flight.compensate"]
        assert (await execution.checkpoint_statistics()).count == 1
