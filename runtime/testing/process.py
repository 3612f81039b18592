"""A runtime in a virtual process of its own, which can be killed at any instant as `kill -9` does it.

Any number of them may share one virtual loop and one database file. What the kernel would do for a
dead process is done here: its lock is let go, its connections are closed and whatever they had not
committed is gone. Its entry among the runners stays, for the living to find.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from perdure.actors.cluster import membership
from perdure.actors.kernel.processes import VirtualProcess
from perdure.runtime.runtime import Runtime
from perdure.runtime.testing.virtual import VirtualRuntime, virtual_seams

T = TypeVar("T")


class RuntimeProcess:
    """One life of a runtime inside `run_virtual`; for the next one on the same store make another."""

    def __init__(
        self,
        location: str | Path,
        *,
        name: str = "runtime",
        seed: object = 0,
        patience: float = 1.0,
        **options: Any,
    ) -> None:
        """`location` is a file (a store in memory dies with its process); `options` are `Runtime`'s.

        Two processes on one store need two seeds, as their ids are drawn from it. `patience` makes the
        safety nets wait longer, see `Seams`.
        """
        seams = virtual_seams(seed)
        self._new_id = seams.new_id
        self._made_ids: set[str] = set()
        seams = msgspec.structs.replace(seams, new_id=self._note_id, patience=patience)
        self.runtime = VirtualRuntime(location, seams=seams, **options)
        self.process = VirtualProcess(name, on_death=self._let_go)
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._leave = asyncio.Event()
        self._main: asyncio.Task[None] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it has not been killed."""
        return self.process.is_alive

    def has_made(self, id_: str) -> bool:
        """Whether that id, of a runner or an execution, was drawn here."""
        return id_ in self._made_ids

    async def open(self) -> None:
        """Open the runtime. Raises what opening raises, and ProcessDied."""
        self._main = self.process.spawn(self._live)
        await self.process.run(lambda: self._opened)

    async def run(self, use: Callable[[Runtime], Awaitable[T]]) -> T:
        """Do something with the runtime, in its process. Raises what that raises, and ProcessDied."""
        return await self.process.run(lambda: use(self.runtime))

    async def close(self) -> None:
        """Close the runtime as leaving its `async with` does. Raises ProcessDied."""
        main = self._main
        assert main is not None, "it was never opened"
        self._leave.set()
        await self.process.run(lambda: main)

    def kill(self) -> None:
        """Kill the process; from within it, this does not return."""
        self.process.kill()

    async def _live(self) -> None:
        try:
            async with self.runtime:
                self._opened.set_result(None)
                await self._leave.wait()
        except Exception as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)

    def _let_go(self) -> None:
        """What the kernel does."""
        closing = self.runtime.store.close()
        with suppress(StopIteration):
            closing.__await__().send(None)  # an inline store closes without giving way
        mine = [lock for lock in membership._held if self.has_made(Path(lock.name).stem)]  # noqa: SLF001
        for lock in mine:
            membership._held.discard(lock)  # noqa: SLF001
            lock.close()

    def _note_id(self) -> str:
        new = self._new_id()
        self._made_ids.add(new)
        return new
