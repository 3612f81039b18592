"""The handle of an execution in a test: it survives the crashes of the runtime it speaks to."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, cast

from perdure.actors.kernel.processes import ProcessDied
from perdure.runtime.durations import Duration
from perdure.runtime.execution import Execution, Result
from perdure.runtime.testing.invariants import Acknowledged
from perdure.runtime.testing.verdicts import told
from perdure.store.records import Event

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime
    from perdure.runtime.testing.harness import TestRuntime

LOOKING: Final = ("status", "query", "attempts", "checkpoints", "can_resume", "set_priority")
PATIENCE_S: Final = 100 * 86_400.0  # virtual time; what takes longer in earnest says how long
COMMANDS: Final = (
    "pause",
    "resume",
    "cancel",
    "signal",
    "approve",
    "reject",
    "update_context",
    "checkpoint",
    "restore",
    "retry",
    "resume_later",
    "migrate",
    "rollback",
)


LOGGED: Final = frozenset(
    {"signal", "approve", "reject", "update_context", "checkpoint", "restore", "retry", "resume_later"}
)  # others may be no-ops


class NeverEnds(AssertionError):
    """The end of an execution was waited for, and it waits for something the test does not do."""


class TestExecution(Execution):
    """Every verb of `Execution`. What a crash cut is asked again of the next process, as one command.

    That is what a careful client does: it gives each command an id, and says it again under the same
    id until it has heard the answer. What was answered is held against the store in the end.
    """

    __test__ = False

    def __init__(self, test: TestRuntime, execution_id: str) -> None:
        """Made by `TestRuntime.start` and `TestRuntime.execution`."""
        super().__init__(test.runtime, execution_id)
        self._test = test
        self._in: tuple[Runtime, Execution] | None = None

    @property
    def _runtime(self) -> Runtime:
        """The one that is alive."""
        return self._test.runtime

    async def events(self, *, after: int = 0, follow: bool = False) -> AsyncIterator[Event]:
        """The log, oldest first; followed on from where it was when a process dies."""
        while True:
            try:
                more = functools.partial(self._some_events, after=after, follow=follow)
                page = await self._test.call(more)
            except ProcessDied:
                if not self._test.restarts:
                    raise
                continue
            if not page:
                return
            for event in page:
                yield event
            after = page[-1].id

    async def result(self, *, check: bool = True, timeout: Duration | None = None) -> Result:
        """As `Execution.result`. In virtual time, where nobody gets tired, a hundred days are for ever.

        Raises NeverEnds then, unless a `timeout` was given.
        """
        patience = PATIENCE_S if timeout is None and self._test.is_virtual else timeout
        try:
            return await self._test.call(
                lambda runtime: self.within(runtime).result(check=check, timeout=patience)
            )
        except TimeoutError:
            if timeout is not None:
                raise
        raise NeverEnds(await told(self, "it has not ended after a hundred days without a word"))

    async def _some_events(self, runtime: Runtime, *, after: int, follow: bool) -> list[Event]:
        """What there is after that event; where there is nothing and more may come, wait for one."""
        execution = self.within(runtime)
        found = [event async for event in execution.events(after=after)]
        if follow and not found:
            coming = cast("AsyncGenerator[Event]", execution.events(after=after, follow=True))
            async with aclosing(coming):
                async for event in coming:
                    return [event]
        return found

    def within(self, runtime: Runtime) -> Execution:
        """The handle of the same execution in the process that is alive."""
        if self._in is None or self._in[0] is not runtime:
            self._in = (runtime, Execution(runtime, self.id))
        return self._in[1]


def _looking(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def ask(self: TestExecution, *args: Any, **options: Any) -> Any:
        return await self._test.call(lambda runtime: method(self.within(runtime), *args, **options))

    return ask


def _commanding(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def ask(self: TestExecution, *args: Any, command_id: str | None = None, **options: Any) -> Any:
        options["command_id"] = command_id or self._test.new_id()
        told = await self._test.call(lambda runtime: method(self.within(runtime), *args, **options))
        logged = options["command_id"] if method.__name__ in LOGGED else None
        self._test.acknowledged.append(Acknowledged(execution_id=self.id, command_id=logged))
        return told

    return ask


for _name in LOOKING:
    setattr(TestExecution, _name, _looking(getattr(Execution, _name)))
for _name in COMMANDS:
    setattr(TestExecution, _name, _commanding(getattr(Execution, _name)))
