"""An event loop with virtual time, for tests that neither sleep nor depend on luck.

Time stands still while anything can run. When nothing can, and no thread or other outside call is
under way, the clock jumps to the next timer; when there is no timer either, nothing will ever
happen again, and that is a `Deadlock`. So a year passes in a second and a hang fails at once.

With a seed the tasks that are ready in the same pass of the loop are run in an order drawn from it:
a new seed is a new interleaving, the same seed the same one again. Only tasks change places;
callbacks of the loop keep theirs, as transports rely on it.

Threads: `loop.run_in_executor` and `asyncio.to_thread` hold the clock by themselves, any other wait
for a thread belongs inside `outside()`. Sockets work, but time does not wait for them either.
"""

from __future__ import annotations

import asyncio
import math
import random
import selectors
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack
from weakref import WeakKeyDictionary

from perdure.actors.kernel.clock import LoopClock
from perdure.actors.kernel.errors import KernelError
from perdure.actors.kernel.processes import HostLoop
from perdure.actors.kernel.stacks import format_whereabouts

VIRTUAL_EPOCH: Final = 1_767_225_600.0  # 2026-01-01T00:00:00Z, so that traces are the same on every day
_SHOWN_MAX: Final = 10  # tasks named in a deadlock; more would hide the one that matters

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Deadlock(KernelError):
    """Nothing is ready, no timer is set and nobody outside is at work: nothing will happen again."""

    def __init__(self, *, waiting: list[str], seed: int | None, at_s: float) -> None:
        """`waiting` tells each unfinished task and where it stands, `at_s` the virtual time."""
        shown = "".join(f"\n  {line}" for line in waiting[:_SHOWN_MAX])
        more = f"\n  and {len(waiting) - _SHOWN_MAX} more" if len(waiting) > _SHOWN_MAX else ""
        super().__init__(
            f"deadlock at virtual second {at_s:g} (seed {seed}): "
            f"{len(waiting)} tasks wait for something that will never happen{shown}{more}"
        )
        self.waiting = waiting
        self.seed = seed
        self.at_s = at_s


class Livelock(KernelError):
    """The loop goes round and round without time getting on."""

    def __init__(self, *, passes: int, seed: int | None, at_s: float) -> None:
        """`passes` is how often it went round at virtual time `at_s`."""
        super().__init__(
            f"livelock at virtual second {at_s:g} (seed {seed}): {passes:,} passes of the loop and "
            "something is always ready; look for a retry without a delay or a swallowed cancellation"
        )
        self.passes = passes
        self.seed = seed
        self.at_s = at_s


class VirtualLoop(HostLoop):
    """An asyncio loop whose time is virtual; a drop-in `loop_factory`."""

    def __init__(
        self, seed: int | None = None, *, epoch: float = VIRTUAL_EPOCH, passes_max: int | None = None
    ) -> None:
        """`epoch` is the time of day at loop time zero; `passes_max` passes at one instant are a Livelock."""
        self._virtual_s = 0.0
        self._outside = Counter()
        super().__init__(_VirtualSelector(self))
        self._set_time(0.0)
        self.seed = seed
        self.clock = LoopClock(epoch)
        self._passes = 0
        self._passes_max = passes_max
        self._random = None if seed is None else random.Random(seed)  # noqa: S311 interleavings, no secrets
        self._born: WeakKeyDictionary[asyncio.Task[Any], int] = WeakKeyDictionary()
        self._births = 0

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_s

    def pass_time(self) -> None:
        """For the selector: nothing is ready; go to the next timer. Raises Deadlock if there is none."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if not timers or timers[0].when() == math.inf:  # anyio.sleep_forever sets a timer that never rings
            raise Deadlock(waiting=self._whereabouts(), seed=self.seed, at_s=self._virtual_s)
        self._set_time(max(self._virtual_s, timers[0].when()))
        self._passes = 0

    def create_task(self, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """Create a task and remember its place in the order of births."""
        task: asyncio.Task[Any] = super().create_task(*args, **kwargs)
        self._births += 1
        self._born[task] = self._births
        return task

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run in a thread, and hold the clock until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self.outside_calls += 1
        future.add_done_callback(self._came_back)
        return future

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the threads, with the clock held."""
        self.outside_calls += 1
        try:
            await super().shutdown_default_executor(*args, **kwargs)
        finally:
            self.outside_calls -= 1

    def _set_time(self, now_s: float) -> None:
        """Make it `now_s`.

        The loop rings what is due before now plus its resolution. That must reach past now and not
        to the next number: a nanosecond vanishes in a sum past half a year, and a timer that rings
        early only to set itself again would do so for ever.
        """
        self._virtual_s = now_s
        self._clock_resolution = math.ulp(now_s)

    def _run_once(self) -> None:
        """One pass; with a seed, in an order drawn from it."""
        self._passes += 1
        if self._passes_max is not None and self._passes > self._passes_max:
            self._passes = 0  # closing the loop has a budget of its own
            raise Livelock(passes=self._passes_max, seed=self.seed, at_s=self._virtual_s)
        if self._random is not None:
            self._shuffle(self._random)
        super()._run_once()  # type: ignore[misc]

    def _shuffle(self, rng: random.Random) -> None:
        """Let the ready tasks change places, from the order of their births, which no hash disturbs."""
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        places: list[int] = []
        steps: list[tuple[int, asyncio.Handle]] = []
        for place, handle in enumerate(ready):
            task = getattr(getattr(handle, "_callback", None), "__self__", None)
            if isinstance(task, asyncio.Task):
                places.append(place)
                steps.append((self._born.get(task, 0), handle))
        steps.sort(key=lambda step: step[0])
        rng.shuffle(steps)
        for place, (_, handle) in zip(places, steps, strict=True):
            ready[place] = handle

    def _came_back(self, _: asyncio.Future[Any]) -> None:
        """A thread is done."""
        self.outside_calls -= 1

    def _whereabouts(self) -> list[str]:
        """Where each unfinished task stands, the oldest first."""
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: self._born.get(task, 0))
        return [format_whereabouts(task) for task in tasks]


def run_virtual(
    main: Callable[[], Coroutine[Any, Any, T]],
    *,
    seed: int | None = None,
    epoch: float = VIRTUAL_EPOCH,
    passes_max: int | None = None,
) -> T:
    """Run `main()` to its end under virtual time, and return what it returns.

    Raises what it raises; Deadlock or Livelock when it has no end.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed, epoch=epoch, passes_max=passes_max)) as runner:
        return runner.run(main())


def virtual_clock() -> LoopClock:
    """The clock of the running virtual loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "only a VirtualLoop has a virtual clock"
    return loop.clock


class _VirtualSelector(selectors.DefaultSelector):
    """Looks whether a socket is ready; where the real one would sleep, lets virtual time pass."""

    def __init__(self, loop: VirtualLoop) -> None:
        """`loop` is asked to let time pass."""
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; never sleeps, except while an outside call is under way."""
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self._loop.outside_calls:
            return super().select(None)
        self._loop.pass_time()
        return events
