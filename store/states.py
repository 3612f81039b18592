"""The states of an execution and of a step, and which may follow which.

`TRANSITIONS` and `STEP_TRANSITIONS` are the law: the store refuses everything else, the diagrams of
the docs show just them and the property tests walk them. *Status* is a projection of *state*; there
is never a flag beside it.

Some states pass within one tick. A crash could never expose them, so they are not written; the
move that is written goes straight past them. `can_become` therefore allows a move when the table
leads there through passing states only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from perdure.store.errors import NotFound


class State(StrEnum):
    """What an execution is doing."""

    IDLE = "idle"
    PARSING = "parsing"
    VALIDATING = "validating"
    BUILDING_GRAPH = "building_graph"
    SCHEDULING = "scheduling"
    EXECUTING = "executing"
    AWAITING_COMPLETION = "awaiting_completion"
    CREATING_CHECKPOINT = "creating_checkpoint"
    RESTORING_CHECKPOINT = "restoring_checkpoint"
    AGGREGATING_RESULTS = "aggregating_results"
    PAUSING = "pausing"
    CANCELLING = "cancelling"
    COMPENSATING = "compensating"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ROLLED_BACK = "rolled_back"

    @property
    def status(self) -> Status:
        """The state as people speak of it."""
        return STATUS[self]


class Status(StrEnum):
    """The one vocabulary in which executions are spoken of."""

    INITIATED = "initiated"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ROLLED_BACK = "rolled_back"


class Role(StrEnum):
    """What a step is there for."""

    GRAPH = "graph"  # a node of the workflow's graph
    UNDO = "undo"  # undoes a step of the graph
    HOOK = "hook"  # runs when the graph has come to its end


class StepState(StrEnum):
    """What one step of an execution is doing."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    COMPENSATED = "compensated"


IN_FLIGHT: Final = frozenset({State.EXECUTING, State.AWAITING_COMPLETION})  # its steps have begun
PARKED: Final = frozenset({State.PAUSED, State.AWAITING_COMPLETION})  # with nobody it is a row, and no more
TERMINAL: Final = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.ROLLED_BACK})

SETTLED_STEP: Final = frozenset(
    {StepState.COMPLETED, StepState.FAILED, StepState.CANCELLED, StepState.SKIPPED, StepState.COMPENSATED}
)

_S = State

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    _S.IDLE: frozenset({_S.PARSING, _S.PAUSED, _S.CANCELLED, _S.FAILED}),
    _S.PARSING: frozenset({_S.VALIDATING, _S.FAILED, _S.CANCELLED}),
    _S.VALIDATING: frozenset({_S.BUILDING_GRAPH, _S.FAILED, _S.CANCELLED}),
    _S.BUILDING_GRAPH: frozenset({_S.SCHEDULING, _S.FAILED, _S.CANCELLED}),
    _S.SCHEDULING: frozenset(
        {
            _S.EXECUTING,
            _S.AWAITING_COMPLETION,
            _S.CREATING_CHECKPOINT,
            _S.AGGREGATING_RESULTS,
            _S.PAUSING,
            _S.PAUSED,
            _S.CANCELLING,
            _S.CANCELLED,
            _S.COMPENSATING,
            _S.ROLLED_BACK,
            _S.FAILED,
        }
    ),
    _S.EXECUTING: frozenset(
        {
            _S.SCHEDULING,
            _S.AWAITING_COMPLETION,
            _S.CREATING_CHECKPOINT,
            _S.AGGREGATING_RESULTS,
            _S.PAUSING,
            _S.PAUSED,
            _S.CANCELLING,
            _S.CANCELLED,
            _S.COMPENSATING,
            _S.ROLLED_BACK,
            _S.FAILED,
        }
    ),
    _S.AWAITING_COMPLETION: frozenset(
        {
            _S.SCHEDULING,
            _S.EXECUTING,
            _S.CREATING_CHECKPOINT,
            _S.AGGREGATING_RESULTS,
            _S.PAUSING,
            _S.PAUSED,
            _S.CANCELLING,
            _S.CANCELLED,
            _S.COMPENSATING,
            _S.ROLLED_BACK,
            _S.FAILED,
        }
    ),
    _S.CREATING_CHECKPOINT: frozenset(
        {_S.SCHEDULING, _S.EXECUTING, _S.AWAITING_COMPLETION, _S.AGGREGATING_RESULTS, _S.PAUSED}
    ),
    _S.RESTORING_CHECKPOINT: frozenset({_S.SCHEDULING, _S.PAUSED, _S.FAILED}),
    _S.AGGREGATING_RESULTS: frozenset({_S.COMPLETED, _S.FAILED}),
    _S.PAUSING: frozenset(
        {
            _S.PAUSED,
            _S.SCHEDULING,
            _S.AGGREGATING_RESULTS,
            _S.CANCELLING,
            _S.CANCELLED,
            _S.COMPENSATING,
            _S.ROLLED_BACK,
            _S.FAILED,
        }
    ),
    # What leads to compensating may go straight past it, where there is nothing to undo.
    _S.CANCELLING: frozenset({_S.CANCELLED, _S.COMPENSATING, _S.ROLLED_BACK, _S.FAILED}),
    _S.COMPENSATING: frozenset({_S.ROLLED_BACK, _S.CANCELLING, _S.FAILED}),
    _S.PAUSED: frozenset(
        {
            _S.SCHEDULING,
            _S.RESTORING_CHECKPOINT,
            _S.CANCELLING,
            _S.CANCELLED,
            _S.COMPENSATING,
            _S.ROLLED_BACK,
            _S.FAILED,
        }
    ),
    # Terminal is terminal: only the explicit commands retry, restore and rollback leave it.
    _S.COMPLETED: frozenset({_S.COMPENSATING}),
    _S.FAILED: frozenset({_S.SCHEDULING, _S.RESTORING_CHECKPOINT, _S.COMPENSATING}),
    _S.CANCELLED: frozenset({_S.SCHEDULING, _S.RESTORING_CHECKPOINT, _S.COMPENSATING}),
    _S.ROLLED_BACK: frozenset(),
}

PASSING: Final = frozenset(
    {
        _S.PARSING,
        _S.VALIDATING,
        _S.BUILDING_GRAPH,
        _S.SCHEDULING,
        _S.CREATING_CHECKPOINT,
        _S.RESTORING_CHECKPOINT,
        _S.AGGREGATING_RESULTS,
    }
)

STATUS: Final[dict[State, Status]] = {
    _S.IDLE: Status.INITIATED,
    _S.PARSING: Status.INITIATED,
    _S.VALIDATING: Status.INITIATED,
    _S.BUILDING_GRAPH: Status.INITIATED,
    _S.SCHEDULING: Status.RUNNING,
    _S.EXECUTING: Status.RUNNING,
    _S.AWAITING_COMPLETION: Status.RUNNING,
    _S.CREATING_CHECKPOINT: Status.RUNNING,
    _S.RESTORING_CHECKPOINT: Status.RUNNING,
    _S.AGGREGATING_RESULTS: Status.RUNNING,
    _S.PAUSING: Status.RUNNING,
    _S.CANCELLING: Status.RUNNING,
    _S.COMPENSATING: Status.RUNNING,
    _S.PAUSED: Status.PAUSED,
    _S.COMPLETED: Status.COMPLETED,
    _S.FAILED: Status.FAILED,
    _S.CANCELLED: Status.CANCELLED,
    _S.ROLLED_BACK: Status.ROLLED_BACK,
}

_P = StepState

STEP_TRANSITIONS: Final[dict[StepState, frozenset[StepState]]] = {
    _P.PENDING: frozenset({_P.RUNNING, _P.WAITING, _P.FAILED, _P.SKIPPED, _P.CANCELLED}),
    _P.RUNNING: frozenset({_P.COMPLETED, _P.FAILED, _P.CANCELLED, _P.WAITING, _P.PENDING}),
    _P.WAITING: frozenset(  # to itself: for something else, as first for a child's start, then for its end
        {_P.WAITING, _P.RUNNING, _P.COMPLETED, _P.FAILED, _P.SKIPPED, _P.CANCELLED, _P.PENDING}
    ),
    _P.COMPLETED: frozenset({_P.COMPENSATED}),
    _P.FAILED: frozenset(),
    _P.CANCELLED: frozenset(),
    _P.SKIPPED: frozenset(),
    _P.COMPENSATED: frozenset(),
}


def can_become(before: State, after: State) -> bool:
    """Tell whether one change may take an execution from `before` to `after`.

    A change that keeps the state (a step settled, a signal arrived) is legal unless the state is
    terminal; but what can be reopened may come to the same end again within the change that reopens it.
    """
    return after in _REACHABLE[before]


def step_can_become(before: StepState, after: StepState) -> bool:
    """Tell whether one change may take an attempt of a step from `before` to `after`."""
    return after in STEP_TRANSITIONS[before]


def status_named(text: object) -> Status:
    """The status of that name, exactly. Raises NotFound for anything else, naming what there is.

    Nothing is guessed: `None`, another case or an old spelling is refused, not mapped.
    """
    try:
        return Status(str(text) if isinstance(text, str) else repr(text))
    except ValueError:
        raise NotFound("status", text, hint=f"there are: {', '.join(Status)}") from None


def _reachable(start: State) -> frozenset[State]:
    """Follow the table from `start`, going on only through states that pass within a tick."""
    found: set[State] = set() if start in TERMINAL else {start}
    open_ends = [start]
    while open_ends:
        for after in TRANSITIONS[open_ends.pop()]:
            if after not in found:
                found.add(after)
                if after in PASSING:
                    open_ends.append(after)
    return frozenset(found)


_REACHABLE: Final = {state: _reachable(state) for state in State}
STATES_OF: Final[dict[Status, frozenset[State]]] = {
    status: frozenset(state for state in State if STATUS[state] is status) for status in Status
}
