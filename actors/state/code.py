"""Whether the code that an execution still needs is in this process. Pure.

That is decided before anything begins. A function may have changed since the execution began: one that
cannot be called with what there is counts as missing, as long as its step may still run.
"""

from __future__ import annotations

from perdure.actors.state.execution import ExecutionState
from perdure.store.states import SETTLED_STEP, State


def is_here(state: ExecutionState) -> bool:
    """Whether the execution can go on in this process."""
    return not lacks(state)


def lacks(state: ExecutionState) -> tuple[str, ...]:
    """What of it is not in this process, in words."""
    plan, context = state.plan, state.context
    if plan.missing or plan.fits(context):
        return plan.missing
    told = [text for each in plan.demands if _may_run(state, each.step_no) for text in each.lacks(context)]
    return tuple(dict.fromkeys(told))


def _may_run(state: ExecutionState, step_no: int) -> bool:
    """Whether a step has not settled, and if it is of the graph, that goes on."""
    if state.steps[step_no].state in SETTLED_STEP:
        return False
    is_winding_up = state.state in (State.CANCELLING, State.COMPENSATING)
    return step_no >= state.size or not (is_winding_up or state.has_graph_ended)
