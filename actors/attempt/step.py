"""One attempt of one step: a small record pushed through the stages bind, perform, encode, report.

This is the boundary that catches everything. Whatever the body does (raise, exit, cancel itself,
swallow a cancellation, return what cannot be kept) becomes one report to the execution, which alone
writes. Cancelling a body is always a reason plus its own cancel scope; a value that is returned all
the same wins.

A body in a worker thread cannot be cancelled: a pause or cancel waits for it, and what it returns or
raises then counts. A timeout reports the attempt as failed at once and the end of the thread later,
so that no two run beside each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, assert_never, cast

import anyio
import anyio.to_thread

from perdure.actors.attempt.admission import StepSlots
from perdure.actors.attempt.guards import Entrance
from perdure.actors.attempt.held import Refused
from perdure.actors.effects.workload import Ticket
from perdure.actors.errors import StepCancelledItself, StepTimeout, WorkerProcessDied
from perdure.actors.instructions.context import StepContext
from perdure.actors.instructions.metering import metering
from perdure.actors.instructions.plan import Mode, PlannedStep, Values
from perdure.actors.kernel import Alarm, Alarms, cancel_scope, faults, outside
from perdure.actors.kernel.stacks import format_stack
from perdure.actors.log import bind, get_logger
from perdure.actors.messages import (
    Completed,
    Failed,
    Held,
    Interrupt,
    Interrupted,
    StepEnded,
    StepReport,
)
from perdure.actors.wording import name_of, stack_of, text_of, type_of
from perdure.store.codec import encode
from perdure.store.errors import NotSerializable, PayloadTooLarge
from perdure.store.records import Error

GRACE_S: Final = 5.0  # how long an interrupted body may take before it is reported as stuck

log = get_logger("perdure.step")

Outcome = Completed | Failed | Interrupted | Held
Report = Callable[[StepReport | StepEnded], None]


class Attempt:
    """One attempt while its body runs."""

    __slots__ = (
        "_alarm",
        "_alarms",
        "_entrance",
        "_grace",
        "_is_reported",
        "_loop",
        "_report",
        "_runs",
        "_scope",
        "_slots",
        "_task",
        "_ticket",
        "attempt",
        "context",
        "generation",
        "is_unwinding",
        "item",
        "reason",
        "step",
        "values",
    )

    def __init__(
        self,
        step: PlannedStep,
        *,
        generation: int,
        attempt: int,
        item: int | None = None,
        context: StepContext,
        values: Values,
        report: Report,
        alarms: Alarms,
        slots: StepSlots,
        entrance: Entrance | None = None,
        ticket: Ticket | None = None,
    ) -> None:
        """`report` is called once with the outcome and, after a lingering thread, once with its end.

        `entrance` is what the body has to pass where its agent is guarded.
        """
        self.step = step
        self.generation = generation
        self.attempt = attempt
        self.item = item
        self.context = context
        self.values = values
        self.reason: Interrupt | None = None
        self.is_unwinding = False  # its level is given up: whoever cancels the task now is ours
        self._report = report
        self._alarms = alarms
        self._slots = slots
        self._entrance = entrance
        self._ticket = ticket
        self._scope = cancel_scope()
        self._alarm: Alarm | None = None
        self._grace: Alarm | None = None
        self._is_reported = False
        self._runs = False
        self._task: asyncio.Task[Any] | None = None
        self._loop = asyncio.get_running_loop()

    def interrupt(self, reason: Interrupt) -> None:
        """Cancel the body for that reason; the first reason stays. A thread's time runs out all the same."""
        if self._is_reported:
            return
        if reason is Interrupt.TIMEOUT and self._is_in_thread:
            self._tell(self._timed_out(), lingers=True)
        if self.reason is not None:
            return
        self.reason = reason
        self.context.interrupted(reason.value)
        self._grace = self._alarms.add(self._loop.time() + GRACE_S, self._complain)
        if not self._is_in_thread:
            self._scope.cancel()

    @property
    def _is_in_thread(self) -> bool:
        """Whether the body has begun where nothing can cancel it."""
        return self.step.mode is Mode.THREAD and self._runs

    async def run(self) -> None:
        """Push the attempt through its stages and report how it ended. Never raises but to unwind."""
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        bind(step=self.context.step)
        outcome: Outcome | None = None  # of one that unwinds
        try:
            outcome = await self._outcome(task)
        except GeneratorExit as error:  # of a future: thrown into a coroutine it passes all that is awaited
            if self._loop.is_closed():
                raise
            outcome = self._raised(error)
        finally:
            for alarm in (self._alarm, self._grace):
                if alarm is not None:
                    alarm.cancel()
            if self._ticket is not None:
                self._ticket.give_back()
            if self._entrance is not None:
                self._entrance.leave(outcome, has_begun=self._runs, has_timed_out=self._is_reported)
        if self._is_reported:
            self._report(StepEnded(self.step.no, self.item))
        else:
            self._tell(outcome)

    async def _outcome(self, task: asyncio.Task[Any]) -> Outcome:
        try:
            result = await self._perform()
        except Refused as refused:
            return Held(refused.why, refused.agent, refused.until)
        except asyncio.CancelledError:
            if task.cancelling() and self.is_unwinding:
                raise
            return self._ended(StepCancelledItself(self.step.key))
        except BaseException as error:  # noqa: BLE001 the step boundary: what a body raises is a result
            return self._raised(error)
        if self._scope.cancelled_caught:
            return self._ended(None)
        return self._completed(result)

    async def _perform(self) -> Any:
        """Wait for a slot, then bind the inputs and run the body, all under its scope."""
        with self._scope:
            if self._entrance is not None:
                await self._entrance.enter()
            await self._slots.acquire()
            try:
                if metering.meter is not None:
                    metering.meter.check()
                if faults.hit is not None:
                    faults.hit("body:before")
                result = await self._body()
                if faults.hit is not None:
                    faults.hit("body:after")
                return result
            finally:
                self._slots.release()

    async def _body(self) -> Any:
        step = self.step
        bound = step.inputs(self.values)
        if step.mode is Mode.THREAD:
            await self._slots.threads.acquire()  # while it waits for a thread it can still be cancelled
        self._runs = True
        if self._entrance is not None:
            self._entrance.begin()
        if step.timeout_ms is not None:
            at = self._loop.time() + step.timeout_ms / 1000
            self._alarm = self._alarms.add(at, lambda: self.interrupt(Interrupt.TIMEOUT))
        match step.mode:
            case Mode.ASYNC:
                return await step.perform(self.context, bound)
            case Mode.THREAD:
                try:
                    with outside():
                        return await anyio.to_thread.run_sync(
                            step.perform, self.context, bound, limiter=self._slots.limiter
                        )
                finally:
                    self._slots.threads.release()
            case Mode.PROCESS:
                return await self._in_a_process(bound)
        assert_never(step.mode)

    async def _in_a_process(self, bound: Any) -> Any:
        """Perform in a worker process, which a cancellation kills."""
        from anyio import to_process  # noqa: PLC0415  what few need, few pay for

        no_context = cast("StepContext", None)
        try:
            with outside():
                return await to_process.run_sync(self.step.perform, no_context, bound, cancellable=True)
        except anyio.BrokenWorkerProcess as error:
            raise WorkerProcessDied(self.step.key, why=str(error.__cause__ or error)) from error

    def _completed(self, result: Any) -> Completed | Failed:
        """Encode the output and check it against what was promised."""
        what = f"the output of step {self.context.step!r}"
        try:
            output = encode(result, what=what)
            if self.step.check_output is not None:
                self.step.check_output(result)
        except (NotSerializable, PayloadTooLarge) as error:
            return _failed(error, may_retry=False)
        except BaseException as error:  # noqa: BLE001 - the same boundary: encoding asks the value for its parts
            return _failed(error)
        return Completed(output, self.context.seal())

    def _raised(self, error: BaseException) -> Failed | Interrupted:
        """How one has ended whose body raised: what a thread raises counts, whyever it was interrupted."""
        return _failed(error) if self._is_in_thread else self._ended(error)

    def _ended(self, error: BaseException | None) -> Failed | Interrupted:
        """How a body that did not return has ended, given why it was cancelled."""
        if self.reason is Interrupt.TIMEOUT:
            return self._timed_out()
        if self.reason is not None:
            return Interrupted(self.reason)
        if error is None:
            error = StepCancelledItself(self.step.key)
        return _failed(error)

    def _timed_out(self) -> Failed:
        return _failed(StepTimeout(self.step.key, timeout_ms=self.step.timeout_ms or 0))

    def _tell(self, outcome: Outcome, *, lingers: bool = False) -> None:
        self._is_reported = True
        self._report(self.reported(outcome, lingers=lingers))

    def reported(self, outcome: Outcome, *, lingers: bool = False) -> StepReport:
        """That it has ended, for its execution."""
        used = self.context.used
        return StepReport(self.step.no, self.generation, self.attempt, outcome, lingers, used, self.item)

    def _complain(self) -> None:
        """Say, with the stack, that a body goes on long after it was interrupted; and again."""
        stack = "" if self._task is None else format_stack(self._task)
        log.warning(
            "step_stuck",
            execution_id=self.context.execution_id,
            step=self.step.key,
            attempt=self.attempt,
            reason=self.reason,
            mode=self.step.mode.value,
            stack=stack,
        )
        self._grace = self._alarms.add(self._loop.time() + 2 * GRACE_S, self._complain)


def _failed(error: BaseException, *, may_retry: bool = True) -> Failed:
    """An exception as it is kept, with the names `retryableErrors` may mention."""
    names = tuple(name_of(kind) for kind in type(error).__mro__ if kind is not object)
    kept = Error(type=type_of(error), message=text_of(error), stack=stack_of(error))
    return Failed(kept, names, may_retry)
