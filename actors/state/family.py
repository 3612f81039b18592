"""Whose child an execution is, and what is known of the children its steps wait for."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from perdure.actors.instructions.waits import ForChild
from perdure.store.records import Error
from perdure.store.states import State

if TYPE_CHECKING:
    from perdure.actors.messages import Command
    from perdure.actors.state.execution import ExecutionState


class Wish(StrEnum):
    """What a parent, by its own state, wants its children to do."""

    RUN = "run"
    DRAIN = "drain"  # come to rest as a drained pause does
    INTERRUPT = "interrupt"
    STOP = "stop"
    UNDO = "undo"  # stop, and undo what it has done


class Family:
    """Changed only by `children`; what of it is not in columns is found out anew after a fold.

    A step that waits for a child has a moment (`due_at`) as long as the child is not known to have been
    started: the moment at which it is to be. From then on it has none, and the child is *under way*.
    """

    __slots__ = (
        "asked",
        "at_rest",
        "not_undone",
        "parent_id",
        "parent_step",
        "paused_by",
        "starting",
        "under_way",
        "undoing",
    )

    def __init__(self) -> None:
        """Nobody's child, and without any."""
        self.parent_id: str | None = None
        self.parent_step: int | None = None  # of the parent: it waits there for this execution to end
        self.paused_by: str | None = None
        self.under_way: dict[int, Wish | None] = {}  # by step: what its child was last told to do
        self.asked: dict[int, str] = {}  # by step: the id of the pause its child has to answer
        self.at_rest: set[int] = set()  # steps whose children have answered it
        self.undoing: int | None = None  # the step whose child, completed, is being rolled back just now
        self.not_undone: dict[int, Error] = {}  # by step: why its child could not be, when last asked
        self.starting: set[int] = set()  # steps whose children are being started, or looked for, just now

    def reindex(self, state: ExecutionState) -> None:
        """Find the steps whose children are under way.

        While the parent comes to rest, whether they have answered is asked anew; once it rests, all have.
        """
        told = None if state.state is State.PAUSING else wish_of(state)
        found: dict[int, Wish | None] = {}
        for step_no in state.waiting:
            wait = state.plan.steps[step_no].wait
            if isinstance(wait, ForChild) and wait.follows and state.steps[step_no].due_at is None:
                found[step_no] = self.under_way.get(step_no, told)
        self.under_way = found
        if state.state is State.PAUSED:
            self.at_rest = set(found)

    def forget(self, step_no: int) -> None:
        """The step waits for that child no longer."""
        self.under_way.pop(step_no, None)
        self.asked.pop(step_no, None)
        self.at_rest.discard(step_no)
        self.starting.discard(step_no)

    def has_to_end(self, step_no: int) -> bool:
        """Whether the step of a parent that stops has a child which is to end first, or may have one."""
        return step_no in self.under_way or step_no in self.starting

    def is_by_parent(self, command: Command) -> bool:
        """Whether the parent, that waits for this execution, has sent the command."""
        return self.parent_step is not None and command.by == self.parent_id

    @property
    def is_paused_by_parent(self) -> bool:
        """Whether it was last paused together with its parent, and by nobody else."""
        return self.parent_step is not None and self.paused_by == self.parent_id


def wish_of(state: ExecutionState) -> Wish:
    """What children are to do while their parent is in that state."""
    if state.state is State.CANCELLING:
        return Wish.STOP
    if state.state is State.COMPENSATING:
        return Wish.UNDO
    if state.state in (State.PAUSING, State.PAUSED):
        return Wish.INTERRUPT if state.pause_mode == "interrupt" else Wish.DRAIN
    return Wish.RUN
