"""Hooks: what runs when the graph has come to its end, before that end is written. Pure.

Which end it comes to is decided by the rows of the steps, so it is decided again after a crash, and
the same. A hook that fails is recorded and told; it changes nothing of the end. An execution that is
opened again (retry, restore, rollback) will come to another end, and has its hooks run again then,
under new idempotency keys.
"""

from __future__ import annotations

from typing import Final

from perdure.actors.effects.turn import Turn
from perdure.actors.instructions.plan import Hook
from perdure.actors.state.execution import ExecutionState
from perdure.store.records import Error
from perdure.store.states import SETTLED_STEP, State, StepState

HOOK_OF: Final = {State.COMPLETED: Hook.SUCCESS, State.FAILED: Hook.FAILURE, State.CANCELLED: Hook.CANCEL}


def next_hook(state: ExecutionState, end: State) -> int | None:
    """The hook that is to run now before the execution ends so; None when it may end."""
    hooks = state.plan.hooks
    if not hooks:
        return None
    for moment in (_moment_of(state, end), Hook.FINALLY):
        step_no = hooks.get(moment)
        if step_no is not None and state.steps[step_no].state not in SETTLED_STEP:
            return step_no
    return None


def reopen(turn: Turn) -> None:
    """The execution goes on after an end: the hooks that have run then will run again at the next."""
    state = turn.state
    for step_no in state.plan.hooks.values():
        if state.steps[step_no].state in SETTLED_STEP:
            _reopen(turn, step_no)


def cut(turn: Turn, step_no: int) -> None:
    """A hook was cut short. If that was because another end is to come, `finally` is still to run."""
    state = turn.state
    if state.end is None and step_no == state.plan.hooks.get(Hook.FINALLY):
        _reopen(turn, step_no)


def errors_of(state: ExecutionState) -> dict[str, Error]:
    """The hooks that have failed, and why."""
    runs = {hook.value: state.steps[no] for hook, no in state.plan.hooks.items()}
    return {name: run.error for name, run in runs.items() if run.state is StepState.FAILED and run.error}


def _reopen(turn: Turn, step_no: int) -> None:
    turn.state.steps[step_no].reopen(new_lineage=True)
    turn.move_step(step_no, StepState.PENDING)


def _moment_of(state: ExecutionState, end: State) -> Hook:
    """Undone because it failed is a failure to whoever waits for one; undone by a person is none."""
    if end is State.ROLLED_BACK:
        return Hook.CANCEL if state.error is None else Hook.FAILURE
    return HOOK_OF[end]
