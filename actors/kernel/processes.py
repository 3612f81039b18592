"""Programs that share one virtual loop and can be killed the way `kill -9` does it.

What a process has created (tasks, timers, callbacks) carries the process in its context. A kill
freezes all of it in place: nothing of a dead process runs again, no `except`, no `finally`, no
clean-up; its sockets are closed, as the kernel would close them. What it held of the outside, a
database connection or a lock, is for whoever kills it to let go of.

Freezing is for good: to free a suspended coroutine is to run its `finally` blocks, and a killed
process runs none. So the dead are kept, some hundred kilobytes for one that was a whole runtime.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
from asyncio.tasks import _unregister_task
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final, TypeVar
from weakref import WeakSet

from perdure.actors.kernel.clock import HoldableLoop
from perdure.actors.kernel.errors import KernelError

T = TypeVar("T")

CURRENT: Final[ContextVar[VirtualProcess | None]] = ContextVar("perdure_virtual_process", default=None)
_graveyard: list[object] = []


class ProcessDied(KernelError):
    """The process was killed while somebody outside waited for it."""

    def __init__(self, name: str) -> None:
        """`name` is the process's."""
        super().__init__(f"process {name} was killed")
        self.name = name


class Killed(BaseException):
    """Takes the killed process's own code off the stack; nobody is told of it."""


class VirtualProcess:
    """A program inside a virtual loop: what `run` starts belongs to it, and whatever that starts."""

    def __init__(self, name: str, *, on_death: Callable[[], None] | None = None) -> None:
        """`on_death` is called within the kill, to let go of what the process held of the outside."""
        self.name = name
        self.is_alive = True
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.generators: WeakSet[AsyncGenerator[Any, Any]] = WeakSet()
        self._on_death = on_death
        loop = asyncio.get_running_loop()
        assert isinstance(loop, HostLoop), "only a virtual loop has virtual processes"
        self._loop = loop
        self._death: asyncio.Future[None] = self._loop.create_future()
        self._context = contextvars.copy_context()
        self._context.run(CURRENT.set, self)

    def spawn(self, function: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        """Start `function()` as a task of this process. Raises ProcessDied."""
        if not self.is_alive:
            raise ProcessDied(self.name)

        async def main() -> T:
            return await function()

        return self._loop.create_task(main(), context=self._context.copy())

    async def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run `function()` in this process and wait for it. Raises what it raises, and ProcessDied.

        A cancellation of the caller is passed on, and waits for what becomes of it.
        """
        task = self.spawn(function)
        try:
            await self._ended(task)
        except asyncio.CancelledError:
            task.cancel()
            await self._ended(task)
            if self.is_alive and task.done() and not task.cancelled() and task.exception() is None:
                return task.result()  # the end came first
            raise
        if not self.is_alive:
            raise ProcessDied(self.name)
        return task.result()

    async def died(self) -> None:
        """Return when it has been killed."""
        await asyncio.wait({self._death})

    async def _ended(self, task: asyncio.Future[Any]) -> None:
        """Wait until the task is done or can never be."""
        either: tuple[asyncio.Future[Any], ...] = (task, self._death)
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    def kill(self) -> None:
        """Freeze everything of this process, from outside or from within; the second time nothing happens.

        From within it raises Killed, so that the caller's own code does not go on.
        """
        if self.is_alive:
            self.is_alive = False
            _keep(self._loop.freeze(self))
            if self._on_death is not None:
                self._on_death()
            self._death.set_result(None)
        if CURRENT.get() is self:
            raise Killed


class HostLoop(asyncio.SelectorEventLoop, HoldableLoop):
    """The part of a virtual loop that knows which process each thing belongs to."""

    _outside: Counter[VirtualProcess | None]

    @property
    def outside_calls(self) -> int:
        """How many calls into the outside are under way, those of the dead left out."""
        return self._outside.total()

    @outside_calls.setter
    def outside_calls(self, calls: int) -> None:
        self._outside[CURRENT.get()] += calls - self._outside.total()

    def create_task(self, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """Create a task and note whose it is."""
        task: asyncio.Task[Any] = super().create_task(*args, **kwargs)
        context = kwargs.get("context")
        process = CURRENT.get() if context is None else context.get(CURRENT)
        if process is not None:
            process.tasks.add(task)
            if not process.is_alive:  # the code that killed it is still on its way out
                _unregister_task(task)
                _keep([task])
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report an error that came out of a callback, unless it is the end of a process."""
        if not isinstance(context.get("exception"), Killed):
            super().call_exception_handler(context)

    def freeze(self, process: VirtualProcess) -> list[object]:
        """Let nothing of the process run again; answers what must be kept so that nothing unwinds."""
        self._outside.pop(process, None)
        kept: list[object] = [*process.tasks, *process.generators, *self._close_sockets(process)]
        pending: list[asyncio.Handle] = [*self._ready, *self._scheduled]  # type: ignore[attr-defined]
        for handle in pending:
            _cancel_if_dead(handle)
        for task in process.tasks:
            _unregister_task(task)
        for generator in process.generators:
            self._asyncgens.discard(generator)  # type: ignore[attr-defined]
        # From now on every new handle is looked at; a loop on which nobody has died does not pay for it.
        self.call_soon = self._call_soon_if_alive  # type: ignore[assignment,method-assign]
        self.call_at = self._call_at_if_alive  # type: ignore[assignment,method-assign]
        return kept

    def _call_soon_if_alive(self, *args: Any, **kwargs: Any) -> asyncio.Handle:
        return _cancel_if_dead(super().call_soon(*args, **kwargs))

    def _call_at_if_alive(self, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        handle = super().call_at(*args, **kwargs)
        _cancel_if_dead(handle)
        return handle

    def _close_sockets(self, process: VirtualProcess) -> Iterator[object]:
        """Close every socket the process reads from, writes to or listens on; its peers see the end."""
        for key in list(self._selector.get_map().values()):  # type: ignore[attr-defined]
            handle = next(handle for handle in key.data if handle is not None)
            if _owner_of(handle) is process:
                transport = handle._callback.__self__  # noqa: SLF001 the loop's own records
                sock = handle._args[1] if transport is self else transport._sock  # noqa: SLF001
                self._remove_reader(key.fd)  # type: ignore[attr-defined]
                self._remove_writer(key.fd)  # type: ignore[attr-defined]
                self._transports.pop(key.fd, None)  # type: ignore[attr-defined]  # the next may have its number
                sock.close()
                yield transport

    def _asyncgen_firstiter_hook(self, generator: AsyncGenerator[Any, Any]) -> None:
        process = CURRENT.get()
        if process is not None:
            process.generators.add(generator)
        super()._asyncgen_firstiter_hook(generator)  # type: ignore[misc]


def _owner_of(handle: asyncio.Handle) -> VirtualProcess | None:
    owner: VirtualProcess | None = handle._context.get(CURRENT)  # type: ignore[attr-defined]  # noqa: SLF001
    return owner


def _cancel_if_dead(handle: asyncio.Handle) -> asyncio.Handle:
    owner = _owner_of(handle)
    if owner is not None and not owner.is_alive:
        handle.cancel()
    return handle


def _keep(remains: list[object]) -> None:
    """Hold these for as long as the interpreter lives, and past its end."""
    if not _graveyard:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(_graveyard))
    _graveyard.append(remains)
