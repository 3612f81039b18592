"""The supervisor: owns children, restarts them, and outlives none of them.

Lifetime and decisions are two things. Lifetime is structured: one task group, entered and left with
the supervisor, and nothing outlives it. Decisions are `restart.decide`: what a child raises never
reaches the group. To escalate, the supervisor raises, in the ordinary way, from its own block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio

from perdure.actors.kernel.child import Child
from perdure.actors.kernel.errors import ActorStopped, Escalated, NameTaken, SupervisorClosed
from perdure.actors.kernel.mailbox import Mailbox
from perdure.actors.kernel.ref import Ref
from perdure.actors.kernel.reports import ChildExit, DeadLetter, Down, Reason, Stuck
from perdure.actors.kernel.spec import ChildSpec, Listeners

M = TypeVar("M")


class Teardown(StrEnum):
    """In what order children are stopped when their supervisor ends."""

    ONE_BY_ONE = "one_by_one"  # last started first, each after the other: services that build on each other
    TOGETHER = "together"  # all at once: many children that do not know each other


class Supervisor:
    """Runs children and keeps them running; an async context manager.

    When its block is left, by whatever way, every child is stopped: asked, after its `shutdown_s`
    cancelled. Every message left behind is answered. Raises Escalated out of the block when a
    child that must run cannot be kept running.
    """

    def __init__(
        self,
        *,
        name: str,
        random: Callable[[], float],
        on_exit: Callable[[ChildExit], object] | None = None,
        on_dead_letter: Callable[[DeadLetter], object] | None = None,
        on_stuck: Callable[[Stuck], object] | None = None,
        teardown: Teardown = Teardown.ONE_BY_ONE,
    ) -> None:
        """`random` gives numbers from [0, 1), for the jitter of restarts.

        The listeners are called in the loop and must not wait; what they raise goes to the loop's
        exception handler.
        """
        self.name = name
        self._random = random
        self._listeners = Listeners(on_exit=on_exit, on_dead_letter=on_dead_letter, on_stuck=on_stuck)
        self._teardown = teardown
        self._children: dict[str, Child[Any]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._block: anyio.CancelScope | None = None
        self._is_running = False
        self._escalated: Escalated | None = None

    async def __aenter__(self) -> Self:
        """Begin; children may be started from here on."""
        self._group = asyncio.TaskGroup()  # anyio gives each task a scope, of which a child has its own
        await self._group.__aenter__()
        self._block = anyio.CancelScope()
        self._block.__enter__()
        self._is_running = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Stop every child; then let the block's error, or the escalation, go on."""
        assert self._group is not None, "the supervisor was not entered"
        assert self._block is not None, "the supervisor was not entered"
        self._is_running = False
        is_ours = bool(self._block.__exit__(kind, error, trace))
        try:
            with anyio.CancelScope(shield=True):
                await self._stop_children()
        finally:
            for child in self._children.values():
                child.cancel()
            await self._group.__aexit__(None, None, None)
            for child in list(self._children.values()):
                child.end(Reason.CANCELLED)  # cancelled by hand before its task had begun
        if self._escalated is not None:
            if error is None or is_ours:
                raise self._escalated
            error.add_note(str(self._escalated))
        return is_ours

    def __len__(self) -> int:
        """The number of children."""
        return len(self._children)

    def __iter__(self) -> Iterator[Ref[Any]]:
        """The children as they are now, first started first."""
        return iter([child.cell.ref for child in self._children.values()])

    def start(self, spec: ChildSpec[M], *, mailbox: Mailbox[M] | None = None) -> Ref[M]:
        """Start a child; it begins at the next turn of the loop, its mailbox takes mail at once.

        A given `mailbox` may hold mail already. Raises NameTaken, SupervisorClosed,
        ActorStopped when the mailbox is closed.
        """
        if not self._is_running or self._group is None:
            raise SupervisorClosed(self.name)
        if spec.name in self._children:
            raise NameTaken(spec.name, supervisor=self.name)
        if mailbox is not None and mailbox.statistics().is_closed:
            raise ActorStopped(spec.name, why="its mailbox is closed")
        child = Child(
            spec,
            mailbox=mailbox,
            random=self._random,
            listeners=self._listeners,
            on_end=self._forget,
        )
        self._children[spec.name] = child
        self._group.create_task(child.live(), name=spec.name)
        return child.cell.ref

    def find(self, name: str) -> Ref[Any] | None:
        """The child of that name; None when there is none, or none any more."""
        child = self._children.get(name)
        return None if child is None else child.cell.ref

    async def _stop_children(self) -> None:
        """Stop every child, the last started first."""
        children = list(reversed(self._children.values()))
        if self._teardown is Teardown.ONE_BY_ONE:
            for child in children:
                await child.halt()
            return
        async with anyio.create_task_group() as halting:
            for child in children:
                halting.start_soon(child.halt)

    def _forget(self, child: Child[Any], down: Down) -> None:
        """A child is none any more; give up with it, if it must run."""
        del self._children[child.spec.name]
        if down.reason is Reason.ESCALATED and self._escalated is None:
            self._escalated = Escalated(supervisor=self.name, child=down.name, error=down.error)
            if self._block is not None:
                self._block.cancel()
