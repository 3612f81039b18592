"""The step boundary: whatever a body does becomes exactly one report."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from perdure.actors.attempt.admission import THREADS_MAX, StepSlots
from perdure.actors.attempt.step import GRACE_S, Attempt
from perdure.actors.instructions.context import StepContext
from perdure.actors.instructions.plan import Mode, PlannedStep
from perdure.actors.kernel import Alarms
from perdure.actors.kernel.testing import run_virtual
from perdure.actors.log import get_logger
from perdure.actors.messages import Completed, Failed, Interrupt, Interrupted, StepEnded, StepReport

Body = Callable[[StepContext, Any], Any]


class Bench:
    """One attempt of one step on a bench, and what it reported."""

    def __init__(self, body: Body, *, slots: int = 1, **options: Any) -> None:
        """`options` are those of a planned step."""
        self.reports: list[StepReport | StepEnded] = []
        step = PlannedStep(
            no=0,
            key="work",
            level=0,
            needs=(),
            dependents=(),
            inputs=options.pop("inputs", lambda _values: {"n": 1}),
            perform=body,
            **options,
        )
        self.slots = StepSlots(slots)
        context = StepContext(
            execution_id="x",
            workflow="w",
            step="work",
            attempt=1,
            generation=0,
            idempotency_key="x:work:0",
            trace_id="t",
            log=get_logger("perdure.step"),
            inside=None,  # type: ignore[arg-type] - the bench's bodies do not look
        )
        self.attempt = Attempt(
            step,
            generation=0,
            attempt=1,
            context=context,
            values=None,  # type: ignore[arg-type] - the bench's inputs do not look
            report=self.reports.append,
            alarms=Alarms(),
            slots=self.slots,
        )

    @property
    def outcome(self) -> Completed | Failed | Interrupted:
        """The outcome of the one report."""
        (report,) = [report for report in self.reports if isinstance(report, StepReport)]
        return report.outcome


def run(body: Body, **options: Any) -> Bench:
    """Let a body run to its end under virtual time."""

    async def main() -> Bench:
        bench = Bench(body, **options)
        await bench.attempt.run()
        return bench

    return run_virtual(main)


def interrupted(body: Body, reason: Interrupt, *, after_s: float = 1.0, **options: Any) -> Bench:
    """Interrupt a body after some virtual time."""

    async def main() -> Bench:
        bench = Bench(body, **options)
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.attempt.run())
            await anyio.sleep(after_s)
            bench.attempt.interrupt(reason)
        return bench

    return run_virtual(main)


async def sleep_long(_context: StepContext, _inputs: Any) -> str:
    """A body that takes an hour."""
    await anyio.sleep(3600)
    return "rested"


def raising(error: BaseException) -> Callable[[StepContext, Any], Awaitable[Any]]:
    """A body that raises."""

    async def body(_context: StepContext, _inputs: Any) -> None:
        raise error

    return body


def test_what_a_body_returns_is_reported_as_json() -> None:
    """The output is encoded at the boundary."""

    async def body(_context: StepContext, inputs: Any) -> dict[str, Any]:
        return {"got": inputs}

    assert run(body).outcome == Completed(b'{"got":{"n":1}}')


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("odd")]
)
def test_whatever_a_body_raises_is_a_failure_and_not_the_end_of_the_loop(error: BaseException) -> None:
    """SystemExit and KeyboardInterrupt raised by a body fail its step, nothing else."""
    outcome = run(raising(error)).outcome
    assert isinstance(outcome, Failed)
    assert outcome.error.type == type(error).__name__
    assert type(error).__name__ in outcome.names


def test_a_body_that_cancels_itself_has_failed_and_not_succeeded() -> None:
    """A CancelledError that nobody asked for is an error of the step."""
    outcome = run(raising(asyncio.CancelledError())).outcome
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "StepCancelledItself"


def test_the_names_of_a_failure_include_the_base_classes() -> None:
    """`retryableErrors: [OSError]` means ConnectionResetError, too."""
    outcome = run(raising(ConnectionResetError("gone"))).outcome
    assert isinstance(outcome, Failed)
    assert {"ConnectionResetError", "ConnectionError", "OSError", "Exception"} <= set(outcome.names)


def test_a_body_that_takes_too_long_is_cancelled_and_times_out() -> None:
    """The timeout is a cancel scope around one attempt."""
    outcome = run(sleep_long, timeout_ms=500).outcome
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "StepTimeout"
    assert "0.5 s" in outcome.error.message


def test_an_interrupted_body_reports_the_reason() -> None:
    """A pause is no failure."""
    assert interrupted(sleep_long, Interrupt.PAUSE).outcome == Interrupted(Interrupt.PAUSE)


def test_a_body_that_fails_while_it_unwinds_was_interrupted_all_the_same() -> None:
    """Bodies that turn their cancellation into another error do not use up an attempt."""

    async def body(_context: StepContext, _inputs: Any) -> None:
        try:
            await anyio.sleep(3600)
        finally:
            raise RuntimeError("rude")

    assert interrupted(body, Interrupt.CANCEL).outcome == Interrupted(Interrupt.CANCEL)


def test_a_value_returned_in_spite_of_an_interruption_wins() -> None:
    """Completion wins: what was done is recorded."""

    async def body(_context: StepContext, _inputs: Any) -> str:
        try:
            await anyio.sleep(3600)
        except asyncio.CancelledError:
            return "done anyway"
        return "slept"

    assert interrupted(body, Interrupt.PAUSE).outcome == Completed(b'"done anyway"')


def test_a_body_can_read_why_it_is_being_cancelled() -> None:
    """`interrupt_reason` is there in the body's own clean-up."""
    seen: list[str | None] = []

    async def body(context: StepContext, _inputs: Any) -> None:
        try:
            await anyio.sleep(3600)
        finally:
            seen.append(context.interrupt_reason)

    interrupted(body, Interrupt.SHUTDOWN)
    assert seen == ["shutdown"]


def test_an_output_json_cannot_hold_fails_the_step_for_good() -> None:
    """Trying again would give the same."""

    async def body(_context: StepContext, _inputs: Any) -> object:
        return {"a": object()}

    outcome = run(body).outcome
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "NotSerializable"
    assert "$.a" in outcome.error.message
    assert not outcome.may_retry


def test_inputs_that_cannot_be_bound_fail_the_step() -> None:
    """What the compiled closure raises is the step's failure."""

    def inputs(_values: Any) -> Any:
        raise LookupError("no such path")

    outcome = run(sleep_long, inputs=inputs).outcome
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "LookupError"


def test_an_output_that_breaks_its_promise_fails_the_step() -> None:
    """`check_output` is the schema's word."""

    async def body(_context: StepContext, _inputs: Any) -> int:
        return 7

    def check(_output: Any) -> None:
        raise ValueError("7 is not a string")

    outcome = run(body, check_output=check).outcome
    assert isinstance(outcome, Failed)
    assert "not a string" in outcome.error.message


def test_a_plain_function_runs_in_a_thread() -> None:
    """Blocking code does not block the loop."""
    outcome = run(lambda _context, _inputs: threading.current_thread().name, mode=Mode.THREAD).outcome
    assert isinstance(outcome, Completed)
    assert b"MainThread" not in outcome.output


def test_a_thread_that_is_interrupted_is_waited_for_and_its_value_wins() -> None:
    """A thread cannot be cancelled; a pause waits for it."""
    gate = threading.Event()

    async def main() -> Bench:
        bench = Bench(lambda _context, _inputs: gate.wait(5) and "done", mode=Mode.THREAD)
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.attempt.run())
            await asyncio.to_thread(lambda: None)
            bench.attempt.interrupt(Interrupt.PAUSE)
            gate.set()
        return bench

    assert asyncio.run(main()).outcome == Completed(b'"done"')


def test_a_thread_that_times_out_is_reported_at_once_and_its_end_later() -> None:
    """The attempt has failed; the next one waits until the thread is gone."""
    gate = threading.Event()

    async def main() -> list[StepReport | StepEnded]:
        bench = Bench(lambda _context, _inputs: gate.wait(5), mode=Mode.THREAD, timeout_ms=10)
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.attempt.run())
            while not bench.reports:
                await anyio.lowlevel.checkpoint()
            assert isinstance(bench.outcome, Failed)
            gate.set()
        return bench.reports

    first, last = asyncio.run(main())
    assert isinstance(first, StepReport)
    assert first.lingers
    assert last == StepEnded(0)


def interrupted_in_a_thread(error: BaseException) -> Bench:
    """A body in a thread that goes on after a pause and then raises."""
    has_begun, gate = threading.Event(), threading.Event()

    def body(_context: StepContext, _inputs: Any) -> None:
        has_begun.set()
        gate.wait(5)
        raise error

    async def main() -> Bench:
        bench = Bench(body, mode=Mode.THREAD)
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.attempt.run())
            await asyncio.to_thread(has_begun.wait, 5)
            bench.attempt.interrupt(Interrupt.PAUSE)
            gate.set()
        return bench

    return asyncio.run(main())


def test_a_thread_that_raises_after_an_interruption_has_failed() -> None:
    """Nothing cut it off: it ran to its end, and what it raised is the step's."""
    outcome = interrupted_in_a_thread(ValueError("card declined")).outcome
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "card declined"


def test_a_thread_that_gives_up_when_asked_was_interrupted() -> None:
    """A plain function that looks at `interrupt_reason` has a way to say so."""
    outcome = interrupted_in_a_thread(asyncio.CancelledError()).outcome
    assert outcome == Interrupted(Interrupt.PAUSE)


def test_the_time_of_a_thread_runs_out_after_an_interruption_too() -> None:
    """A pause that waits for the thread does not take its timeout away."""
    has_begun, gate = threading.Event(), threading.Event()

    def body(_context: StepContext, _inputs: Any) -> None:
        has_begun.set()
        gate.wait(5)

    async def main() -> list[StepReport | StepEnded]:
        bench = Bench(body, mode=Mode.THREAD)
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.attempt.run())
            await asyncio.to_thread(has_begun.wait, 5)
            bench.attempt.interrupt(Interrupt.PAUSE)
            assert bench.reports == []
            bench.attempt.interrupt(Interrupt.TIMEOUT)
            assert isinstance(bench.outcome, Failed)
            gate.set()
        return bench.reports

    first, last = asyncio.run(main())
    assert isinstance(first, StepReport)
    assert first.lingers
    assert isinstance(first.outcome, Failed)
    assert first.outcome.error.type == "StepTimeout"
    assert last == StepEnded(0)


def test_a_body_waiting_for_a_slot_can_be_interrupted() -> None:
    """What has not begun ends at once, and takes no slot."""

    async def main() -> Bench:
        bench = Bench(sleep_long, slots=1)
        await bench.slots.acquire()
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.attempt.run())
            await anyio.sleep(1)
            bench.attempt.interrupt(Interrupt.PAUSE)
        assert bench.slots.taken == 1
        return bench

    assert run_virtual(main).outcome == Interrupted(Interrupt.PAUSE)


def test_a_body_that_swallows_its_cancellation_is_reported_with_its_stack(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It cannot hang a pause silently."""

    async def body(_context: StepContext, _inputs: Any) -> str:
        end = asyncio.get_running_loop().time() + 3 * GRACE_S
        while (left := end - asyncio.get_running_loop().time()) > 0:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(left)
        return "late"

    with caplog.at_level("WARNING", logger="perdure.step"):
        outcome = interrupted(body, Interrupt.PAUSE).outcome
    assert outcome == Completed(b'"late"')
    (record,) = [r for r in caplog.records if getattr(r, "event", "") == "step_stuck"][:1]
    assert "swallows" not in record.getMessage()
    assert "sleep" in record.getMessage()


def test_an_error_text_that_utf8_cannot_hold_is_kept_escaped() -> None:
    """A lone surrogate in a message must not stop the report."""
    outcome = run(raising(ValueError("bad \ud83d text"))).outcome
    assert isinstance(outcome, Failed)
    assert outcome.error.message == "bad \\ud83d text"


def test_an_error_that_cannot_say_what_it_is_is_reported_all_the_same() -> None:
    """Its `__str__` raises."""

    class Mute(Exception):
        def __str__(self) -> str:
            return str(self.args[3])

    outcome = run(raising(Mute())).outcome
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "Mute"
    assert "IndexError" in outcome.error.message


def test_a_body_waiting_for_a_thread_uses_up_no_time_and_can_be_interrupted() -> None:
    """The timeout is of the body, not of the queue before it."""
    ran: list[int] = []

    async def main() -> Bench:
        bench = Bench(lambda _context, _inputs: ran.append(1), mode=Mode.THREAD, timeout_ms=10)
        for _ in range(THREADS_MAX):
            await bench.slots.threads.acquire()
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.attempt.run())
            await anyio.sleep(1)
            assert bench.reports == []
            bench.attempt.interrupt(Interrupt.PAUSE)
        return bench

    assert run_virtual(main).outcome == Interrupted(Interrupt.PAUSE)
    assert ran == []
