"""Several operating-system processes on one virtual loop, each of which can be stopped or killed.

A process is whatever runs in its context: a context variable names it, and every task, callback and
timer inherits that. To stop one is to set all of its callbacks aside; to kill one is to never give
them back. Nothing of it is unwound, as nothing is when the kernel kills. Only when all has been
judged are the dead buried: their tasks are cancelled, in a world that they cannot touch any more.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from enum import Enum
from typing import Any, Final

from perdure.actors.kernel.testing import VirtualLoop
from simulation.network import Network

ROUNDS_MAX: Final = 200  # passes of the loop that a dead process gets to unwind in
PASSES_MAX: Final = 20_000  # of the loop at one moment: past it something spins

current: ContextVar[Process | None] = ContextVar("simulated_process", default=None)


class Condition(Enum):
    """How a process is."""

    RUNNING = "running"
    STOPPED = "stopped"
    DEAD = "dead"


class Killed(BaseException):
    """Ends the code that was running when its process was killed; nothing it does is seen any more."""


class Process:
    """One simulated process; what else belongs to it hangs on it as `on_death`."""

    def __init__(self, name: str) -> None:
        """Born running."""
        self.name = name
        self.condition = Condition.RUNNING
        self.context = Context()
        self.context.run(current.set, self)
        self.set_aside: list[asyncio.Handle] = []
        self.timers: list[asyncio.TimerHandle] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.on_death: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        """The name and how it is."""
        return f"<{self.name} {self.condition.value}>"

    @property
    def is_dead(self) -> bool:
        """Whether it was killed."""
        return self.condition is Condition.DEAD

    def check(self) -> None:
        """Raise Killed in what is left of a dead process: it must not reach the world."""
        if self.is_dead:
            raise Killed


class SimulatedLoop(VirtualLoop):
    """A virtual loop on which processes live; sockets are simulated, too."""

    def __init__(self, seed: int, *, epoch: float) -> None:
        """`seed` draws the order of what is ready."""
        super().__init__(seed, epoch=epoch, passes_max=PASSES_MAX)
        self.network = Network(self)
        self._gone: set[Process] = set()
        self._nothing = asyncio.Handle(_do_nothing, (), self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, context: Context | None = None, **more: Any
    ) -> asyncio.Task[Any]:
        """Create a task that belongs to the process of its context."""
        task = super().create_task(coro, context=context, **more)
        process = current.get() if context is None else context.get(current)
        if process is not None:
            process.tasks.add(task)
            task.add_done_callback(process.tasks.discard)
        return task

    def spawn(self, process: Process, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine in a process."""
        return self.create_task(coro, context=process.context.copy())

    def stop_process(self, process: Process) -> None:
        """Stop it where it stands, as SIGSTOP does."""
        process.condition = Condition.STOPPED
        self._remove(process)

    def continue_process(self, process: Process) -> None:
        """Let it go on, as SIGCONT does: what fell due meanwhile happens now."""
        process.condition = Condition.RUNNING
        self._give_back(process)

    def kill_process(self, process: Process) -> None:
        """End it where it stands, as SIGKILL does; to be followed by `check` in its own code."""
        if process.is_dead:
            return
        process.condition = Condition.DEAD
        self._remove(process)
        for act in process.on_death:
            act()

    def bury(self, process: Process) -> list[asyncio.Task[Any]]:
        """Unwind what a dead process was doing, unseen; answers the tasks that would not end."""
        self._give_back(process)
        for _ in range(ROUNDS_MAX):
            left = [task for task in process.tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            self.run_until_complete(asyncio.sleep(0))
        for task in process.tasks:
            if task.done() and not task.cancelled():
                task.exception()  # it is nobody's news any more
        self._remove(process)
        process.set_aside.clear()
        process.timers.clear()
        return left

    def _remove(self, process: Process) -> None:
        """Set aside whatever would run in that process."""
        self._gone.add(process)
        self._set_aside()
        kept: list[asyncio.TimerHandle] = []
        for timer in self._scheduled:
            if _owner(timer) is not process:
                kept.append(timer)
                continue
            timer._scheduled = False
            if timer.cancelled():
                self._timer_cancelled_count -= 1
            else:
                process.timers.append(timer)
        heapq.heapify(kept)
        self._scheduled[:] = kept

    def _give_back(self, process: Process) -> None:
        self._gone.discard(process)
        self._ready.extend(process.set_aside)
        process.set_aside.clear()
        for timer in process.timers:
            if not timer.cancelled():
                timer._scheduled = True
                heapq.heappush(self._scheduled, timer)
        process.timers.clear()

    def _set_aside(self) -> None:
        """Take what is ready in processes that do not run out of the queue, which keeps its length."""
        for place, handle in enumerate(self._ready):
            owner = _owner(handle)
            if owner in self._gone:
                owner.set_aside.append(handle)
                self._ready[place] = self._nothing

    def _run_once(self) -> None:
        if self._gone:
            self._set_aside()
        super()._run_once()

    async def create_unix_server(self, factory: Callable[[], Any], path: Any = None, **_: Any) -> Any:
        """A server on the simulated network."""
        return self.network.listen(str(path), factory)

    async def create_unix_connection(self, factory: Callable[[], Any], path: Any = None, **_: Any) -> Any:
        """A connection on the simulated network. Raises ConnectionRefusedError, FileNotFoundError."""
        return self.network.connect(str(path), factory)


def _owner(handle: asyncio.Handle) -> Process | None:
    return handle._context.get(current)


def _do_nothing() -> None:
    """What a callback that was set aside leaves in its place."""
