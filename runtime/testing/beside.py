"""What a log may say of hooks and compensations: the part of the second opinion that is beside the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from perdure.store.records import Event
from perdure.store.states import SETTLED_STEP, Role, StepState

if TYPE_CHECKING:
    from perdure.runtime.testing.history import StepHistory

UNDO: Final = ".compensate"  # after the key of the step that is undone
MEANS: Final = {  # what happens to the hook or the compensation
    "step_compensating": "started",
    "step_compensated": "completed",
    "step_compensation_failed": "failed",
    "step_compensation_interrupted": "interrupted",
    "step_compensation_cancelled": "cancelled",
    "step_compensation_held": "held",
}
STOPS: Final = frozenset({"cancel_requested", "rollback_requested", "deadline_exceeded"})
GOES_ON: Final = frozenset({"workflow_resumed", "workflow_retried", "checkpoint_restored"})
TRIPS: Final = {"fail": "cancel_requested", "pause": "pause_requested"}  # a rollback has a line of its own


def asked_by(event: Event) -> str:
    """What the line asks for; of a breaker that has tripped: as which demand that counts."""
    if event.type == "circuit_breaker_tripped":
        return TRIPS.get(event.data["on_trip"], event.type)
    return event.type


class Beside:
    """One at a time, when nothing of the graph runs; compensations in the reverse order of completion."""

    def __init__(self, steps: dict[str, StepHistory], complain: Callable[[Event, str], None]) -> None:
        """`steps` are all there are, of whatever role."""
        self.steps = steps
        self.is_undoing = False
        self._is_stopped = False
        self._is_pausing = False
        self._is_other_end_to_come = False  # hooks open once the change has told what it cuts short
        self._overtaken: set[str] = set()  # hooks in flight for an end that is not to be
        self._complain = complain

    def take(self, event: Event) -> None:
        """Take a line of the log, whatever it tells."""
        asked = asked_by(event)
        if asked == "rollback_requested" or (asked in STOPS and not self._is_stopped):
            self._is_other_end_to_come = True
            self._overtaken |= {step.key for step in self._hooks() if step.state is StepState.RUNNING}
        if asked in STOPS:
            self._is_stopped, self._is_pausing = True, False
            self.is_undoing = self.is_undoing or asked == "rollback_requested"
        elif asked in GOES_ON:
            is_undone_further = self.is_undoing and asked == "workflow_retried"
            self._is_stopped, self._is_pausing = is_undone_further, asked == "checkpoint_restored"
        elif asked == "pause_requested":
            self._is_pausing = True
        elif event.step is not None:
            self._take_step(event, event.step)

    def _take_step(self, event: Event, key: str) -> None:
        is_hook = event.type.startswith("hook_")
        kind = event.type.removeprefix("hook_") if is_hook else MEANS.get(event.type)
        step = self.steps.get(key if is_hook else f"{key}{UNDO}")
        if kind is not None and step is None and not is_hook:
            self._take_child(event, self.steps[key], kind)
        if kind is None or step is None:
            return
        if kind == "started":
            self.finish(event.version)
            self._check_start(step, event)
            self._overtaken.discard(step.key)
            step.start(event.attempt or 0, event.version)
            return
        if kind != "cancelled" and step.state is not StepState.RUNNING:
            self._complain(event, f"it is {step.state.value}")
        self._end_attempt(step, event, kind)
        if kind == "completed" and not is_hook:
            self.steps[key].undo()

    def _take_child(self, event: Event, step: StepHistory, kind: str) -> None:
        """A step is undone by its child, of which this log says no more."""
        if not self.is_undoing or step.state is not StepState.COMPLETED:
            self._complain(event, f"it is {step.state.value} and is not to be undone")
        if kind == "completed":
            step.undo()

    def _end_attempt(self, step: StepHistory, event: Event, kind: str) -> None:
        match kind:
            case "completed":
                step.settle(StepState.COMPLETED, event.version)
            case "failed" if event.data["will_retry"]:
                step.state = StepState.WAITING
                step.attempt += 1
            case "failed":
                step.settle(StepState.FAILED, event.version)
            case "held":
                step.state = StepState.WAITING
            case "interrupted":
                step.state = StepState.PENDING
            case "cancelled":
                step.settle(StepState.CANCELLED, event.version)
            case _:
                self._complain(event, "nothing of that name happens")
        if step.key in self._overtaken and step.state in SETTLED_STEP:
            step.reopen(event.version, new_lineage=True)

    def go_on(self, version: int) -> None:
        """A rollback goes on: what could not be undone is tried again."""
        for step in self.steps.values():
            if step.role is Role.UNDO and step.state in {StepState.FAILED, StepState.CANCELLED}:
                step.reopen(version, new_lineage=False)

    def open(self, version: int) -> None:
        """Another end is to come: hooks that have run, or were cut, will run again."""
        for step in self._hooks():
            if step.state in SETTLED_STEP or step.is_cut:
                step.reopen(version, new_lineage=True)

    def finish(self, version: int) -> None:
        """A change has told what it stops; what comes after a rollback was asked for may begin."""
        if self._is_other_end_to_come:
            self.open(version)
        self._is_other_end_to_come = False

    def check_undone(self, event: Event) -> None:
        """It was rolled back: all that could be undone is, each once."""
        for step in self.steps.values():
            if self._is_left(step):
                self._complain(event, f"{step.key!r} was not undone")
            times = sum(outcome.state is StepState.COMPLETED for outcome in step.outcomes)
            if step.role is Role.UNDO and times > 1:
                self._complain(event, f"{step.key.removesuffix(UNDO)!r} was undone {times} times")

    def _check_start(self, step: StepHistory, event: Event) -> None:
        if step.state not in {StepState.PENDING, StepState.WAITING}:
            self._complain(event, f"it is {step.state.value}")
        if event.attempt != max(step.attempt, 1):
            self._complain(event, f"its next attempt is {max(step.attempt, 1)}")
        running = [other.key for other in self.steps.values() if other.state is StepState.RUNNING]
        if running:
            self._complain(event, f"{running[0]!r} is running")
        if self._is_pausing:
            self._complain(event, "a pause was asked for")
        if step.role is Role.UNDO:
            self._check_turn(step, event)

    def _check_turn(self, step: StepHistory, event: Event) -> None:
        """Last things first; nothing on which something stands that could not be undone."""
        undone = self.steps[step.key.removesuffix(UNDO)]
        if not self.is_undoing or undone.state is not StepState.COMPLETED:
            self._complain(event, f"{undone.key!r} is {undone.state.value} and is not to be undone")
            return
        left = [each for each in self.steps.values() if self._is_left(each) and each is not undone]
        stays = [each for each in left if self.steps[each.key + UNDO].state in SETTLED_STEP]
        beneath = self._needed_by(stays)
        if undone.key in beneath:
            self._complain(event, "what was built upon it could not be undone")
        later = [
            each.key
            for each in left
            if each not in stays
            and each.key not in beneath
            and each.outcomes[-1].version > undone.outcomes[-1].version
        ]
        if later:
            self._complain(event, f"{later[0]!r} completed after it and is not undone")

    def _hooks(self) -> list[StepHistory]:
        return [step for step in self.steps.values() if step.role is Role.HOOK]

    def _is_left(self, step: StepHistory) -> bool:
        """Whether it is to be undone still; what a fork has taken over is its source's to undo."""
        return step.state is StepState.COMPLETED and step.key + UNDO in self.steps and not step.is_shared

    def _needed_by(self, steps: list[StepHistory]) -> set[str]:
        found: set[str] = set()
        work = list(steps)
        for step in work:  # grows while it is walked
            fresh = [need for need in step.needs if need not in found]
            found.update(fresh)
            work += [self.steps[need] for need in fresh]
        return found
