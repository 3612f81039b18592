"""The past of one execution, as the store has it: read once, when it is over."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from perdure.store import SQLiteStore
from perdure.store.records import PAGE_MAX, Attempt, Error, Event, Execution
from perdure.store.scripts.items import Item

ENDS: Final = frozenset(
    {"workflow_completed", "workflow_failed", "workflow_cancelled", "workflow_rolled_back"}
)


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """An execution that has ended, and how it came to that."""

    execution: Execution
    events: list[Event]
    lore: list[Event]  # these, after those of the executions it is a fork of
    newest: dict[str, Attempt]  # the last attempt of the last generation, by step
    items: dict[str, Item]  # by the name their bodies know: `s1[2]`

    def of(self, step: str) -> list[Event]:
        """What its log says of a step, and those of its sources."""
        return [event for event in self.lore if event.step == step]

    @property
    def moves(self) -> list[Event]:
        """Its moves to other versions since it has come to its end."""
        end = max((event.id for event in self.events if event.type in ENDS), default=0)
        return [event for event in self.events if event.type == "workflow_migrated" and event.id > end]

    @property
    def errors(self) -> dict[str, Error]:
        """Why steps and items failed, by name."""
        rows: dict[str, Attempt | Item] = {**self.newest, **self.items}
        return {name: row.error for name, row in rows.items() if row.error is not None} | self._errors_gone()

    def _errors_gone(self) -> dict[str, Error]:
        """Those of steps whose rows went with their version after the end: only the log has them."""
        last = {event.step: event for event in self.lore if event.step is not None} if self.moves else {}
        return {
            step: msgspec.convert(event.data["error"], Error)
            for step, event in last.items()
            if event.type == "step_failed" and step not in self.newest
        }

    @property
    def sources(self) -> list[str]:
        """The executions it is a fork of."""
        return [event.data["execution"] for event in self.lore if event.type == "forked_from"]

    @property
    def name(self) -> str:
        """What people are told of it."""
        return f"{self.execution.id} ({self.execution.workflow})"

    @property
    def status(self) -> str:
        """How it ended."""
        return self.execution.status.value

    @property
    def word(self) -> str:
        """What it was started with."""
        return str(self.execution.context["word"])


async def past_of(store: SQLiteStore, execution: Execution) -> Past:
    """Read the past of an execution."""
    events: list[Event] = []
    while page := await store.events(
        execution_id=execution.id, after=events[-1].id if events else 0, limit=PAGE_MAX
    ):
        events += page
    attempts = await store.attempts(execution.id)
    items: dict[str, Item] = {}
    for loop in await store.loops(execution.id):
        for item in await store.items(execution.id, loop.step, lineage=loop.lineage):
            items[f"{loop.step}[{item.item}]"] = item
    newest = {each.step: each for each in sorted(attempts, key=lambda each: (each.generation, each.attempt))}
    lore = events
    for event in events:
        if event.type == "forked_from":
            source = await store.execution(event.data["execution"])
            assert source is not None
            before = await past_of(store, source)
            shared = [told for told in before.lore if not _is_after(told, event)]
            lore, items = shared + events, before.items | items
    return Past(execution=execution, events=events, lore=lore, newest=newest, items=items)


def _is_after(told: Event, fork: Event) -> bool:
    """Whether the source has come to that only after it was forked: the fork has no part in it."""
    return told.execution_id == fork.data["execution"] and told.version > fork.data["version"]


def output_of(attempt: Attempt) -> Any:
    """What an attempt has given; None where it has nothing."""
    return None if attempt.output is None else msgspec.json.decode(attempt.output)
