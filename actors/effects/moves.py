"""Takes the items of a loop from one state to another, in memory and in the turn. Pure."""

from __future__ import annotations

from typing import Final

from perdure.actors.effects.turn import Turn, encode
from perdure.actors.state.loop import Loop
from perdure.store.fanout import ItemWrite
from perdure.store.records import Error
from perdure.store.states import SETTLED_STEP, StepState

ENDS: Final = frozenset({StepState.COMPLETED, StepState.FAILED})


def move(
    turn: Turn,
    loop: Loop,
    item: int,
    state: StepState,
    *,
    output: bytes | None = None,
    error: Error | None = None,
    due_at: int | None = None,
    is_open: bool = False,
) -> None:
    """Take an open item to a state. `is_open`: it stays so although it has come to its end."""
    each = loop.open[item]
    each.state = state
    turn.kept.loop(loop)
    turn.kept.item(
        ItemWrite(
            step_no=loop.step_no,
            lineage=loop.lineage,
            item=item,
            generation=each.generation,
            attempt=each.attempt,
            is_new=not each.is_stored,
            state=state,
            is_open=is_open or state not in ENDS,
            started_at=turn.now if state is StepState.RUNNING else None,
            finished_at=turn.now if state in SETTLED_STEP else None,
            due_at=due_at,
            output=output,
            error=None if error is None else encode(error),
        )
    )
    each.is_stored = True


def call_off(turn: Turn, loop: Loop) -> None:
    """Nothing more is done for the items that are open, until a retry."""
    loop.waiting.clear()
    for item, each in loop.open.items():
        if each.state in {StepState.WAITING, StepState.PENDING}:
            move(turn, loop, item, StepState.CANCELLED)
    loop.ready.clear()
    loop.ready.extend(sorted(loop.open))
