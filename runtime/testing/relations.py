"""What must hold between an execution and those it has to do with: its inbox, its kin, its outbox."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import msgspec

from perdure.actors.effects.inbox import answer_from
from perdure.actors.messages import (
    Answer,
    Approve,
    Cancel,
    ChildEnded,
    PlanResume,
    Reject,
    Restore,
    Resume,
    Retry,
    Signal,
    TakeCheckpoint,
    UpdateContext,
)
from perdure.runtime.testing.history import History
from perdure.store.protocol import Store
from perdure.store.records import PAGE_MAX, Event, Execution, Loaded, Message
from perdure.store.states import State, StepState

# Whoever else is told "applied" may have joined what was on its way: a second pause is not in the log.
LOGGED: Final = frozenset(
    kind.__name__
    for kind in (Approve, PlanResume, Reject, Restore, Resume, Retry, Signal, TakeCheckpoint, UpdateContext)
)
STOPPING: Final = frozenset({State.CANCELLING, State.COMPENSATING})
TOLD_BY: Final = {  # what a webhook tells of, and the lines of the log that may stand behind it
    "paused": {"workflow_paused", "checkpoint_restored"},
    "resumed": {"workflow_resumed"},
    "completed": {"workflow_completed"},
    "failed": {"workflow_failed"},
    "cancelled": {"workflow_cancelled"},
    "rolled_back": {"workflow_rolled_back"},
}


async def all_events(store: Store, execution_id: str) -> list[Event]:
    """The whole log of an execution."""
    events: list[Event] = []
    while page := await store.events(
        execution_id=execution_id, after=events[-1].id if events else 0, limit=PAGE_MAX
    ):
        events += page
    return events


async def check_inbox(store: Store, execution_id: str, history: History) -> list[str]:
    """An applied message that was not refused has its line in the log."""
    messages: list[Message] = []
    while page := await store.messages(
        execution_id, after=messages[-1].no if messages else 0, limit=PAGE_MAX
    ):
        messages += page
    return [
        f"message {message.no} ({message.kind}) was applied, and is not in the log"
        for message in messages
        if message.kind in LOGGED
        and message.answer is not None
        and isinstance(answer_from(message.answer), Answer)
        and message.command_id not in history.commands
    ]


async def check_outbox(store: Store, execution_id: str, events: Iterable[Event]) -> list[str]:
    """Nobody outside is told of what has not happened."""
    happened: defaultdict[int, set[str]] = defaultdict(set)
    for event in events:
        happened[event.version].add(event.type)
    return [
        f"delivery {delivery.id} tells that it is {delivery.event}, and its log does not"
        for delivery in await store.deliveries(execution_id=execution_id, limit=PAGE_MAX)
        if not TOLD_BY[delivery.event] & happened[int(delivery.id.split(":")[1])]
    ]


class Parent(msgspec.Struct, frozen=True):
    """An execution that has started others: how it stands, and which children its log names."""

    loaded: Loaded
    named: frozenset[str]
    awaited: frozenset[str]


class Families:
    """Checks children against their parents; each parent is read once."""

    def __init__(self, store: Store) -> None:
        """Nobody has been looked at."""
        self._store = store
        self._parents: dict[str, Parent | None] = {}
        self._at_work: dict[tuple[str, int], str] = {}  # the child of a step that runs, or rests

    async def check(self, child: Execution) -> list[str]:
        """Its parent knows it, has no other for the same step, and has been told if it has ended.

        A parent that was deleted has nothing to say any more.
        """
        if child.parent_id is None or child.parent_step is None:
            return []
        parent = await self._parent(child.parent_id)
        if parent is None:
            return []
        found = [] if child.id in parent.named else [f"its parent {child.parent_id} does not know it"]
        if child.is_terminal:
            return found + _unheard(child, parent)
        if await self._is_at_work(child):
            other = self._at_work.setdefault((child.parent_id, child.parent_step), child.id)
            if other != child.id:
                found.append(f"{other} is at work for the same step of its parent {child.parent_id}")
        return found

    async def _parent(self, id_: str) -> Parent | None:
        if id_ not in self._parents:
            loaded = await self._store.load(id_)
            self._parents[id_] = None if loaded is None else _seen(loaded, await all_events(self._store, id_))
        return self._parents[id_]

    async def _is_at_work(self, child: Execution) -> bool:
        """Whether it has neither ended nor been told to."""
        if child.state in STOPPING:
            return False
        loaded = await self._store.load(child.id)
        return loaded is not None and all(message.kind != Cancel.__name__ for message in loaded.inbox)


def _seen(loaded: Loaded, events: Iterable[Event]) -> Parent:
    named: set[str] = set()
    last: dict[str, str] = {}
    for event in events:
        child = event.data.get("child") if event.step is not None and isinstance(event.data, dict) else None
        if child is not None and event.type in {"step_waiting", "child_started"}:
            named.add(child)
            last[event.step or ""] = child
    newest = {attempt.step: attempt.state for attempt in loaded.attempts}
    waiting = {child for step, child in last.items() if newest.get(step) is StepState.WAITING}
    return Parent(loaded, frozenset(named), frozenset(waiting))


def _unheard(child: Execution, parent: Parent) -> list[str]:
    """Whoever waits for it has heard of its end, or will."""
    is_told = any(
        message.kind == ChildEnded.__name__ and message.sender == child.id for message in parent.loaded.inbox
    )
    if child.id not in parent.awaited or parent.loaded.execution.is_terminal or is_told:
        return []
    return [f"it has ended, and its parent {child.parent_id} waits for it and was not told"]
