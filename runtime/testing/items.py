"""What must hold of steps that go over items: the counts say what the rows say, each item is done once.

The log tells of such a step, not of its items, so of an item it is known how often it may have acted:
once for each attempt, and again for each time the step was interrupted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from perdure.runtime.testing.history import History
from perdure.store.fanout import Loop
from perdure.store.protocol import Store
from perdure.store.records import PAGE_MAX
from perdure.store.scripts.items import Item
from perdure.store.states import StepState

if TYPE_CHECKING:
    from perdure.runtime.testing.invariants import Effect

NAME: Final = re.compile(r"(?P<step>.+)\[(?P<item>\d+)\]")  # of an item, as its body knows it
IN_FLIGHT: Final = frozenset({StepState.RUNNING, StepState.WAITING, StepState.PENDING})


def is_of_an_item(effect: Effect, history: History) -> bool:
    """Whether an item of a step has acted, and not a step that happens to be called so."""
    found = NAME.fullmatch(effect.step)
    return effect.step not in history.steps and found is not None and found["step"] in history.steps


async def check_items(
    store: Store, execution_id: str, history: History, effects: Sequence[Effect]
) -> list[str]:
    """A sentence for each thing that must not be."""
    problems: list[str] = []
    for loop in await store.loops(execution_id):
        items = await _all_items(store, execution_id, loop)
        problems += [f"step {loop.step!r}: {sentence}" for sentence in _counts(loop, items)]
        step = history.steps.get(loop.step)
        if step is not None and step.state is StepState.COMPLETED and step.lineage == loop.lineage:
            in_flight = [item.item for item in items if item.state in IN_FLIGHT]
            problems += [f"step {loop.step!r} completed, and item {no} had not ended" for no in in_flight[:1]]
        problems += _unseen(loop, items, effects)
    return problems + _repeated(history, effects)


async def _all_items(store: Store, execution_id: str, loop: Loop) -> list[Item]:
    items: list[Item] = []
    while page := await store.items(
        execution_id,
        loop.step,
        lineage=loop.lineage,
        after=items[-1].item if items else -1,
        limit=PAGE_MAX,
    ):
        items += page
    return items


def _counts(loop: Loop, items: list[Item]) -> list[str]:
    """Whether the loop says of itself what its rows say."""
    found: list[str] = []
    if [item.item for item in items] != list(range(loop.begun)):
        found.append(f"{loop.begun} items have begun, and there are rows of {len(items)}")
    completed = sum(item.state is StepState.COMPLETED for item in items)
    if completed != loop.completed:
        found.append(f"{loop.completed} items are said to have completed, and {completed} have")
    if not completed + loop.failed <= loop.begun <= loop.total:
        found.append(f"{loop.failed} items are said to have failed, of {loop.begun} that have begun")
    return found


def _unseen(loop: Loop, items: list[Item], effects: Sequence[Effect]) -> list[str]:
    """Items that completed and never acted, where the others of their step did."""
    acted = {effect.step for effect in effects if effect.step.startswith(f"{loop.step}[")}
    if not acted:
        return []
    names = [f"{loop.step}[{item.item}]" for item in items if item.state is StepState.COMPLETED]
    return [f"{name!r} completed and never acted" for name in names if name not in acted]


def _repeated(history: History, effects: Sequence[Effect]) -> list[str]:
    """Items that acted more often than the log explains, or under a key that is not theirs alone."""
    found: list[str] = []
    for (name, generation, attempt), times in Counter(
        (effect.step, effect.generation, effect.attempt) for effect in effects
    ).items():
        match = NAME.fullmatch(name)
        assert match is not None
        most = 1 + history.steps[match["step"]].interruptions
        if times > most:
            found.append(f"attempt {attempt} of {name!r} (generation {generation}) acted {times} times")
    keys = {(effect.idempotency_key, effect.step) for effect in effects}
    shared = Counter(key for key, _ in keys)
    return found + [
        f"{key} is the idempotency key of {count} items" for key, count in shared.items() if count > 1
    ]
