"""The handle of one execution: everything anyone wants of it, the same wherever it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from perdure.actors.bus import Outcome
from perdure.actors.cluster.doorbell import POLL_S, call
from perdure.actors.errors import (
    ExecutionCancelled,
    ExecutionError,
    ExecutionFailed,
    ExecutionRolledBack,
    ExecutionTimeout,
)
from perdure.actors.execution.reading import read_back, stored_outcome
from perdure.actors.messages import (
    Pause,
    PauseMode,
    Resume,
    Signal,
    UpdateContext,
)
from perdure.runtime import arguments
from perdure.runtime.deciding import Deciding
from perdure.runtime.durations import Duration
from perdure.runtime.items import loop_of, pages
from perdure.runtime.stopping import Stopping
from perdure.runtime.travelling import Travelling
from perdure.store.codec import decode, encode
from perdure.store.errors import IllegalTransition, NotFound, StoreClosed, StoreUnavailable
from perdure.store.records import Attempt, Error, Event, ExecutionSummary
from perdure.store.scripts.items import Item
from perdure.store.states import TERMINAL, State, Status
from perdure.store.writes import UpdateExecution

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime

EVENTS_PAGE = 1_000


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How an execution ended.

    `steps` holds what completed, by step key; null where an optional step failed. `outputs` is what
    the workflow declares to give back, once it has completed; where it declares nothing, a copy of `steps`.
    `rollback_reason` is why what it did was undone, if somebody wanted that. `hook_errors` are the hooks
    that failed (`onSuccess`, …), and why: nothing else comes of that.
    """

    id: str
    status: Status
    outputs: dict[str, Any]
    error: Error | None = None
    steps: dict[str, Any] = {}
    rollback_reason: str | None = None
    hook_errors: dict[str, Error] = {}


class Execution(Travelling, Deciding, Stopping):
    """One execution, by its id. Cheap: it holds nothing but the id and the way to the runtime.

    Commands return when they are durable and applied. Each takes `by` (who asks), `command_id` (the
    same id twice is one command) and `expected_version`, with which it fails with `Conflict` when
    somebody was faster. Once the runtime is closed all of it raises RuntimeClosed.
    """

    def __init__(self, runtime: Runtime, execution_id: str) -> None:
        """Made by `Runtime.start` and `Runtime.execution`."""
        super().__init__(runtime, execution_id)
        self._overtaken: State | None = None

    def __repr__(self) -> str:
        """The id."""
        return f"<Execution {self.id}>"

    async def status(self) -> ExecutionSummary:
        """Where the execution stands and how far its steps have come, as the store has it."""
        summary = await self._runtime.store.summary(self.id)
        if summary is None:
            raise NotFound("execution", self.id)
        return summary

    async def query(self) -> dict[str, Any]:
        """All there is to say about it now: steps, heartbeats, context. Asks its actor where it has one."""
        return await self._runtime.machine.routing.query(self.id)

    async def attempts(self) -> list[Attempt]:
        """Every attempt of every step."""
        return await self._runtime.store.attempts(self.id)

    async def events(self, *, after: int = 0, follow: bool = False) -> AsyncIterator[Event]:
        """The log, oldest first; with `follow` it goes on until the execution has ended.

        Never skips and never repeats an event; what it yields is durable.
        """
        store = self._runtime.store
        async with self._bell() as wait:
            while True:
                execution = await store.execution(self.id)
                if execution is None:
                    raise NotFound("execution", self.id)
                while page := await store.events(execution_id=self.id, after=after, limit=EVENTS_PAGE):
                    for event in page:
                        yield event
                    after = page[-1].id
                if not follow or execution.state in TERMINAL:
                    return
                await wait()

    async def items(self, step: str, *, failed: bool = False) -> AsyncIterator[Item]:
        """The items of a step with `forEach` that have begun, in order; or only those that `failed`.

        They are read in pages, so there may be a million of them. Raises NotFound.
        """
        store = self._runtime.store
        arguments.any_text(step, what="step")
        async for page in pages(store, self.id, await loop_of(store, self.id, step), failed=failed):
            for item in page:
                yield item

    async def can_resume(self) -> tuple[bool, str]:
        """Whether it is paused, or about to be, so that `resume` lets it go on; and why, or why not."""
        execution = await self._runtime.store.execution(self.id)
        if execution is None:
            return False, "there is no such execution"
        if execution.state in (State.PAUSED, State.PAUSING):
            return True, f"it is {execution.state.value}"
        if execution.state in TERMINAL:
            return False, f"it has ended {execution.state.value}"
        return False, f"it is {execution.state.value}: only a paused execution can be resumed"

    async def set_priority(self, priority: int) -> None:
        """Change its place among those that wait for room; higher comes first. Raises NotFound."""
        services = self._runtime.machine.services
        arguments.priority(priority)
        update = UpdateExecution(execution_id=self.id, priority=priority, at=services.now_ms())
        await services.writer.write(update)

    async def pause(
        self,
        *,
        mode: PauseMode | str = PauseMode.DRAIN,
        reason: str | None = None,
        by: str | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> State:
        """Bring it to rest and return where it rests: `paused`, or its end if that came first.

        `drain` lets the steps in flight finish, `interrupt` cancels them and uses up no attempt.
        Pausing a paused one changes nothing. Raises IllegalTransition when it had ended before,
        InvalidArgument for another mode.
        """
        command = Pause(
            id=self._id(command_id),
            by=by,
            expected_version=expected_version,
            mode=arguments.pause_mode(mode),
            reason=arguments.text(reason, what="the reason"),
        )
        self._overtaken = None
        had_ended = self._has_ended()
        try:
            answer = await self._ask(command)
        except IllegalTransition as error:
            if had_ended is not False or State(error.state) not in TERMINAL:
                raise
            self._overtaken = State(error.state)
            return self._overtaken
        if answer.state in TERMINAL:
            self._overtaken = answer.state
        return answer.state

    async def resume(
        self,
        *,
        data: Mapping[str, Any] | None = None,
        budget: Mapping[str, float] | None = None,
        by: str | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> State:
        """Go on from the log; `data` is merged into the context first. Recorded steps never run again.

        `budget` (`{"cost": 2.5, "tokens": 50_000}`, one or both) is its budget from now on.

        On an execution that is still coming to rest, the pause is called off. After a `pause` of
        this handle that the end overtook, it returns that end again.
        """
        overtaken, self._overtaken = self._overtaken, None
        patch = None if data is None else arguments.plain_values(data, "the resume data")
        command = Resume(
            id=self._id(command_id),
            by=by,
            expected_version=expected_version,
            data=patch,
            budget=arguments.limits(budget),
        )
        try:
            return (await self._ask(command)).state
        except IllegalTransition as error:
            if overtaken is None or error.state != overtaken:
                raise
            return overtaken

    async def signal(
        self,
        name: str,
        payload: Any = None,
        *,
        by: str | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> int:
        """Send a named message; kept in the log until a step waits for it. Returns the new version."""
        arguments.text(name or "", what="the name of a signal")
        value = decode(encode(payload, what=f"the payload of signal {name!r}"))
        command = Signal(
            id=self._id(command_id), by=by, expected_version=expected_version, name=name, payload=value
        )
        return (await self._ask(command)).version

    async def update_context(
        self,
        patch: Mapping[str, Any],
        *,
        by: str | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> int:
        """Merge `patch` into the context, key by key. Returns the new version."""
        command = UpdateContext(
            id=self._id(command_id),
            by=by,
            expected_version=expected_version,
            patch=arguments.plain_values(patch, "the context patch"),
        )
        return (await self._ask(command)).version

    async def result(self, *, check: bool = True, timeout: Duration | None = None) -> Result:
        """Wait, through pauses, for the end.

        Raises ExecutionFailed, ExecutionTimeout, ExecutionRolledBack or ExecutionCancelled unless `check`
        is False, TimeoutError when the `timeout` of waiting has passed (the execution goes on), and
        StoreUnavailable when the store has been down for STORE_OUTAGE_S (it goes on when it is back).
        """
        outage = self._runtime.machine.services.writer.outage
        what = f"execution {self.id} is not lost and goes on once the store is back: ask for its result again"
        seconds = arguments.seconds_of(timeout, what="timeout")
        with nullcontext() if seconds is None else anyio.fail_after(seconds):
            try:
                outcome = await outage.bounded(self._outcome(), StoreUnavailable, what)
            except StoreClosed:
                self._bound_to.check_open()  # says so in the words of what was closed
                raise
        if check:
            _raise_for(outcome)
        return Result(
            id=self.id,
            status=outcome.state.status,
            outputs=outcome.outputs,
            error=outcome.error,
            steps=outcome.steps,
            rollback_reason=outcome.rollback_reason,
            hook_errors=outcome.hook_errors,
        )

    async def _outcome(self) -> Outcome:
        """Wait here while it runs here; wherever else it goes, look into the store when a bell rings."""
        bus = self._runtime.bus
        services = self._runtime.machine.services
        while True:
            end = bus.end_of(self.id)
            try:
                if self._has_ended() is False:
                    outcome: Outcome | None = await end
                else:
                    outcome = await read_back(services, lambda _: self._stored_outcome())
            finally:
                bus.forget(self.id, end)
            if outcome is not None:
                return outcome

    async def _stored_outcome(self) -> Outcome | None:
        """Its end as the store has it; None as soon as it is known to run here again."""
        async with self._bell() as wait:
            while True:
                outcome = await stored_outcome(self._runtime.machine.services, self.id)
                if outcome is not None or self._has_ended() is False:
                    return outcome
                await wait()

    def _has_ended(self) -> bool | None:
        """Whether it has, as far as is known without asking the store."""
        state = self._runtime.machine.executions.live_state(self.id)
        return None if state is None else state.state in TERMINAL

    @asynccontextmanager
    async def _bell(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """A way to wait until something may have changed, wherever the execution runs."""
        runtime = self._runtime
        owner = await runtime.machine.routing.owner_elsewhere(self.id)
        with runtime.bus.subscribe(self.id) as local:
            async with call(None if owner is None else owner.doorbell) as line:
                line.say(f"watch {self.id}")

                async def wait() -> None:
                    if line.is_connected:
                        await line.wait()
                        return
                    with anyio.move_on_after(POLL_S * runtime.seams.patience):
                        await local.wait()
                    local.take()

                yield wait


def _raise_for(outcome: Outcome) -> None:
    if outcome.state is State.COMPLETED:
        return
    error, reason = outcome.error, outcome.rollback_reason
    is_undone = outcome.state is State.ROLLED_BACK and reason is not None
    why = f": {reason}" if is_undone else "" if error is None else f": {error.message}"
    message = f"execution {outcome.execution_id} ended {outcome.state.value}{why}"
    kind: type[ExecutionError] = ExecutionFailed
    if outcome.state is State.CANCELLED:
        kind = ExecutionCancelled
    elif outcome.state is State.ROLLED_BACK:
        kind = ExecutionRolledBack
    elif error is not None and error.type == ExecutionTimeout.__name__:
        kind = ExecutionTimeout
    raise kind(message, execution_id=outcome.execution_id, error=error)
