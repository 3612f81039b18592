"""One life of a `TestRuntime`: a process, and the place where it is to die, if any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio

from perdure.actors.kernel import faults
from perdure.actors.kernel.processes import CURRENT
from perdure.actors.log import bound
from perdure.runtime.keys import keys_of
from perdure.runtime.runtime import Runtime
from perdure.runtime.testing.crash import CrashPlace
from perdure.runtime.testing.process import RuntimeProcess
from perdure.store import SQLiteStore
from perdure.store.protocol import Answer
from perdure.store.writes import Change, Start, Write

T = TypeVar("T")

PATIENCE: Final = 240.0  # a sweep every hour: one process has the store to itself, nothing goes on unseen
AT_BODY: Final = {"body:before": "before", "body:after": "after"}
AT_COMMIT: Final = {  # which side of what: the step itself, or what undoes it
    "step_started": ("before", "{}"),
    "step_completed": ("after", "{}"),
    "step_failed": ("after", "{}"),
    "step_compensating": ("before", "{}.compensate"),
    "step_compensated": ("after", "{}.compensate"),
    "step_compensation_failed": ("after", "{}.compensate"),
    "hook_started": ("before", "{}"),
    "hook_completed": ("after", "{}"),
    "hook_failed": ("after", "{}"),
}


class Life:
    """A runtime from its opening to its end, whichever that is; the next one is another Life."""

    def __init__(
        self,
        location: str | Path,
        *,
        seed: str,
        crash: CrashPlace | None,
        on_crash: Callable[[str], None],
        options: Mapping[str, Any],
    ) -> None:
        """`on_crash` is told the place where it died."""
        self.passed: Counter[str] = Counter()
        self._crash = crash
        self._on_crash = on_crash
        self._hook = ExitStack()
        others = dict(options)
        keys = keys_of(others.pop("keys", None))
        store = _WatchedStore(str(location), inline=True, durability="process", keys=keys)
        store.around = self._around_commit if crash is not None and crash.is_in_a_commit else None
        self._process = RuntimeProcess(
            location, name=f"life {seed}", seed=seed, patience=PATIENCE, store=store, **others
        )
        self.runtime: Runtime = self._process.runtime

    @property
    def is_alive(self) -> bool:
        """Whether its process has not been killed."""
        return self._process.is_alive

    async def open(self) -> None:
        """Open the runtime. Raises what opening raises, and ProcessDied."""
        if self._crash is not None and not self._crash.is_in_a_commit:
            self._hook.enter_context(faults.installed(self._hit))
        await self._process.open()

    async def run(self, use: Callable[[Runtime], Awaitable[T]]) -> T:
        """Do something with the runtime, in its process. Raises what that raises, and ProcessDied."""
        return await self._process.run(use)

    async def close(self) -> None:
        """End it in peace."""
        with self._hook:
            await self._process.close()

    async def died(self) -> None:
        """Return when it was killed."""
        await self._process.process.died()

    def crash(self, where: str) -> None:
        """Kill it; from within it, this does not return."""
        self._hook.close()
        if self.is_alive:
            self._on_crash(where)
        self._process.kill()

    def _hit(self, point: str) -> None:
        """The machine has come to a fault point, in whatever process."""
        if CURRENT.get() is not self._process.process:
            return
        self._pass(point)
        if point in AT_BODY:
            self._pass(f"{AT_BODY[point]}:{bound().get('step')}")

    def _around_commit(self, steps: Sequence[tuple[str, str]], side: str) -> None:
        """A commit with the starts and outcomes of these steps in it is about to be made, or is made."""
        for which, step in steps:
            self._pass(f"{which}:{step}:{side}")

    def _pass(self, place: str) -> None:
        self.passed[place] += 1
        crash = self._crash
        if crash is not None and place == crash.place and self.passed[place] == crash.nth:
            self.crash(place if crash.nth == 1 else f"{place}#{crash.nth}")


class _WatchedStore(SQLiteStore):
    """Tells of the steps whose starts and outcomes are in a commit, before it and after it."""

    around: Callable[[Sequence[tuple[str, str]], str], None] | None = None

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """Apply a batch in one transaction, between the two sides of it."""
        if self.around is None:
            return await super().commit(writes)
        steps = [step for write in writes for step in await self._steps_in(write)]
        self.around(steps, "before-commit")
        answers = await super().commit(writes)
        self.around(steps, "after-commit")
        return answers

    async def _steps_in(self, write: Write) -> list[tuple[str, str]]:
        found = list(_numbers_in(write))
        if not found:
            return []
        assert isinstance(write, Start | Change)
        if isinstance(write, Start):
            workflow_no = write.workflow_no
        else:
            execution = await self.execution(write.execution_id)
            assert execution is not None
            workflow_no = execution.workflow_no
        keys = {step.no: step.key for step in await self.steps(workflow_no)}
        return [(which, name.format(keys[step_no])) for (which, name), step_no in found]


def _numbers_in(write: Write) -> Iterator[tuple[tuple[str, str], int]]:
    if isinstance(write, Start | Change):
        for event in write.delta.events:
            if event.type in AT_COMMIT and event.step_no is not None:
                yield AT_COMMIT[event.type], event.step_no


class RealLife:
    """A runtime on the clock of the machine and the loop of the test, which nobody kills."""

    is_alive = True

    def __init__(self, location: str | Path, options: Mapping[str, Any]) -> None:
        """Nothing is opened yet."""
        self.passed: Counter[str] = Counter()
        self.runtime = Runtime(location, **options)

    async def open(self) -> None:
        """Open the runtime."""
        await self.runtime.__aenter__()

    async def run(self, use: Callable[[Runtime], Awaitable[T]]) -> T:
        """Do something with the runtime."""
        return await use(self.runtime)

    async def close(self) -> None:
        """Close it."""
        await self.runtime.__aexit__(None, None, None)

    async def died(self) -> None:
        """Never happens."""
        await anyio.sleep_forever()

    def crash(self, where: str) -> None:
        """Cannot be asked for: `TestRuntime` refuses."""
        raise NotImplementedError(where)
