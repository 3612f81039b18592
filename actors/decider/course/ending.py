"""Hooks: what runs when the graph has come to its end, before that end is written. Pure.

Which end it comes to is decided by the rows of the steps, so it is decided again after a crash, and
the same. A hook that fails is recorded and told; it changes nothing of the end. An execution that
will come to another end (it is opened again, or stopped on its way) has its hooks run anew then, under
new idempotency keys; also the one that is in flight, whatever comes of that.
"""

from __future__ import annotations

from typing import Final

from perdure.actors.effects.turn import Turn
from perdure.actors.instructions.plan import Hook
from perdure.actors.state.execution import ExecutionState
from perdure.store.records import Error
from perdure.store.states import SETTLED_STEP, Role, State, StepState

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
    """Another end is to come: the hooks that have run for the last one, or were cut, will run again."""
    state = turn.state
    state.end = None
    for step_no in state.plan.hooks.values():
        run = state.steps[step_no]
        if run.state in SETTLED_STEP or run.is_cut:
            _reopen(turn, step_no)


def settle(turn: Turn, step_no: int) -> None:
    """An attempt has been reported; a hook that settles for an end that is not to be is to run again."""
    state = turn.state
    is_hook = state.plan.steps[step_no].role is Role.HOOK
    if is_hook and state.end is None and state.steps[step_no].state in SETTLED_STEP:
        _reopen(turn, step_no)


def errors_of(state: ExecutionState) -> dict[str, Error]:
    """The hooks that have failed, and why."""
    runs = {hook.value: state.steps[no] for hook, no in state.plan.hooks.items()}
    return {name: run.error for name, run in runs.items() if run.state is StepState.FAILED and run.error}


def _reopen(turn: Turn, step_no: int) -> None:
    run = turn.state.steps[step_no]
    turn.state.payload_bytes -= len(run.output or b"")
    run.reopen(new_lineage=True)
    turn.move_step(step_no, StepState.PENDING)


def _moment_of(state: ExecutionState, end: State) -> Hook:
    """Undone because it failed is a failure to whoever waits for one; undone by a person is none."""
    if end is State.ROLLED_BACK:
        return Hook.CANCEL if state.error is None else Hook.FAILURE
    return HOOK_OF[end]
