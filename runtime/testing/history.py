"""A second opinion on an execution: its log read again by rules of its own, event by event.

This is a model of what a log may say, written without a look at the machine that writes it. A step
starts once its needs have settled and only if it is not running already; an attempt is followed by
itself only after an interruption, by the next one only after a failure; nothing starts once a stop
was asked for; an end stays the end until a retry or a restore. What is said against these rules is
kept in `problems`; where everything should stand in the end is there to be compared with the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from itertools import groupby
from typing import Any, Final

import msgspec

from perdure.runtime.testing.beside import Beside, asked_by
from perdure.store.records import Event, Step
from perdure.store.states import SETTLED_STEP, Role, State, StepState

ENDS: Final = {
    "workflow_completed": State.COMPLETED,
    "workflow_failed": State.FAILED,
    "workflow_cancelled": State.CANCELLED,
    "workflow_rolled_back": State.ROLLED_BACK,
}
REOPENING: Final = frozenset({"workflow_retried", "checkpoint_restored", "rollback_requested"})
BEFORE_REOPENING: Final = REOPENING | {"context_updated"}  # a restore tells of its context first
AFTER_AN_END: Final = REOPENING | {"workflow_migrated"}
ELSEWHERE: Final = frozenset({"forked_to"})  # somebody else goes on from here: nothing happens to this one
STOPPING: Final = frozenset(
    {
        "pause_requested",
        "cancel_requested",
        "rollback_requested",
        "deadline_exceeded",
        "checkpoint_restored",
    }
)
GOING_ON: Final = frozenset({"workflow_resumed", "workflow_retried"})
UNSETTLED: Final = frozenset({StepState.RUNNING, StepState.WAITING})


class Outcome(msgspec.Struct, frozen=True):
    """How one generation of a step ended, and as of which version."""

    version: int
    generation: int
    attempt: int
    state: StepState


class StepHistory:
    """What the log says of one step."""

    def __init__(self, step: Step, *, is_optional: bool, policy: str | int) -> None:
        """Nothing has been said yet."""
        self.key = step.key
        self.role = step.role
        self.needs = step.needs
        self.is_optional = is_optional
        self.policy = policy
        self.state = StepState.PENDING
        self.generation = 0
        self.attempt = 0
        self.lineage = 0
        self.has_row = False
        self.is_shared = False  # whether another execution, which this one goes on from, has done it
        self.opened: list[tuple[int, int]] = []  # (version, generation)
        self.outcomes: list[Outcome] = []
        self.starts: Counter[tuple[int, int]] = Counter()  # by (generation, attempt)
        self._waits: tuple[int, int] | None = None  # (generation, attempt)
        self.interruptions = 0
        self.iteration = 1
        self.lineage_of: dict[int, tuple[int, int]] = {0: (0, 1)}  # with the iteration, by generation

    @property
    def is_met(self) -> bool:
        """Whether what needs this step may run."""
        return self.state is StepState.COMPLETED or (self.is_optional and self.state is StepState.FAILED)

    def settle(self, state: StepState, version: int) -> None:
        """The current generation has come to its outcome."""
        self._touch(version)
        self.state = state
        self.outcomes.append(Outcome(version, self.generation, self.attempt, state))

    def undo(self) -> None:
        """What it did was undone; its outcome stays the one it was."""
        self.state = StepState.COMPENSATED
        self.outcomes[-1] = msgspec.structs.replace(self.outcomes[-1], state=StepState.COMPENSATED)

    def wait(self, attempt: int, version: int) -> None:
        """A wait has begun: the step is neither pending nor between two attempts."""
        self._touch(version)
        self.state = StepState.WAITING
        self.attempt = attempt
        self._waits = (self.generation, attempt)

    @property
    def is_cut(self) -> bool:
        """Whether it has begun and was interrupted."""
        return self.state is StepState.PENDING and self.starts[self.generation, self.attempt] > 0

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for something of its own, not for its next attempt."""
        return self.state is StepState.WAITING and self._waits == (self.generation, self.attempt)

    def repeat(self, version: int) -> None:
        """An iteration has come to its outcome, and the next one waits for its turn."""
        self.settle(StepState.COMPLETED, version)
        self.iteration += 1
        self.reopen(version, new_lineage=False)
        self.state = StepState.WAITING

    def start(self, attempt: int, version: int) -> None:
        """An attempt has begun."""
        self._touch(version)
        self.state = StepState.RUNNING
        self.attempt = attempt
        self.starts[self.generation, attempt] += 1

    def reopen(self, version: int, *, new_lineage: bool, outcome: Outcome | None = None) -> None:
        """A new generation, pending or with an outcome it had before."""
        self.generation += 1
        self.is_shared = self.is_shared and outcome is not None
        self.attempt = 1 if outcome is None else outcome.attempt
        self.lineage += new_lineage
        self.iteration = 1 if new_lineage else self.iteration
        self.lineage_of[self.generation] = (self.lineage, self.iteration)
        self.state = StepState.PENDING
        self.opened.append((version, self.generation))
        if outcome is not None:
            self.settle(outcome.state, version)

    def drop_items(self, version: int) -> None:
        """What it was to go over, and had not begun with, is forgotten."""
        self.reopen(version, new_lineage=True)
        self.has_row = True

    def as_of(self, version: int) -> Outcome | None:
        """The outcome the step had at that version, if any."""
        opened = max((generation for at, generation in self.opened if at <= version), default=None)
        for outcome in self.outcomes:
            if outcome.generation == opened and outcome.version <= version:
                return outcome
        return None

    def _touch(self, version: int) -> None:
        if not self.has_row:
            self.has_row = True
            self.opened.append((version, self.generation))


class History:
    """What the log says of one execution; `problems` holds a sentence for each breach of the rules."""

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        optional: frozenset[str] = frozenset(),
        policies: Mapping[str, str | int] | None = None,
    ) -> None:
        """`optional`: the keys of those that may fail without harm; `policies`: which ends let them in."""
        self.steps = {
            step.key: StepHistory(
                step,
                is_optional=step.key in optional,
                policy=(policies or {}).get(step.key, "all_success"),
            )
            for step in steps
        }
        self.gone: Counter[tuple[str, int, int]] = Counter()  # starts of steps that went with a version
        self.versions: dict[str, History] = {}  # by revision: histories in which nothing has happened
        self.beside = Beside(self.steps, self._complain)
        self.end: State | None = None
        self.is_stopping = False
        self.commands: Counter[str] = Counter()
        self.problems: list[str] = []

    def read(self, events: Iterable[Event]) -> None:
        """Take the whole log, oldest first."""
        for version, group in groupby(events, key=lambda event: event.version):
            together = list(group)
            if self.end is not None and not any(event.type in AFTER_AN_END for event in together):
                self.problems.append(f"version {version} comes after the end ({self.end.value})")
            for event in together:
                if event.command_id is not None:
                    self.commands[event.command_id] += 1
                if event.type == "workflow_migrated":
                    self._move(self.versions[event.data["to"]["revision"]])
                elif event.type not in ELSEWHERE:
                    self._take(event)
            self.beside.finish(version)

    def _take(self, event: Event) -> None:
        if self.end is not None and event.type not in BEFORE_REOPENING:
            self._complain(event, f"it has ended {self.end.value}")
        if asked_by(event) in STOPPING:
            self.is_stopping = True
        elif event.type in GOING_ON:
            self.is_stopping = False
        was_undoing = self.beside.is_undoing
        self.beside.take(event)
        if event.type in ENDS:
            self._end(event)
        elif event.type == "rollback_requested":
            self._roll_back(event.version, again=was_undoing)
        elif event.type == "workflow_retried":
            self._retry(event.version, event.data or {})
        elif event.type == "checkpoint_restored":
            self._restore(event.version, point=event.data["version"])
        elif event.step is not None and event.step in self.steps:
            self._take_step(self.steps[event.step], event)

    def _take_step(self, step: StepHistory, event: Event) -> None:
        attempt = event.attempt or 0
        match event.type:
            case "step_started":
                self._check_start(step, event)
                step.start(attempt, event.version)
            case "step_waiting" | "gate_judged":
                self._wait(step, event)
            case "step_shared":
                step.attempt = attempt
                step.is_shared = True
                step.settle(StepState(event.data["state"]), event.version)
            case "step_completed" | "step_repeated" | "step_interrupted" | "step_held":
                self._end_attempt(step, event)
            case "step_failed":
                self._fail(step, event)
            case "step_cancelled":
                if step.state not in UNSETTLED and not (self.beside.is_undoing and step.is_cut):
                    self._complain(event, f"it is {step.state.value}")
                step.settle(StepState.CANCELLED, event.version)
            case "step_skipped":
                self._skip(step, event)
            case "items_dropped":
                step.drop_items(event.version)
            case _:
                pass  # a line about the step that does not move it

    def _wait(self, step: StepHistory, event: Event) -> None:
        """It has begun to wait, or its items wait for their next attempts and none is in flight."""
        if event.data.get("for") == "retry":
            self._expect_running(step, event)
            step.state = StepState.WAITING
            return
        is_next = event.data.get("for") == "child" and step.state is StepState.WAITING
        self._check_start(step, event, is_at_once=not is_next)  # the next child is started in its time
        if event.type == "step_waiting" or event.data["passed"]:
            step.wait(event.attempt or 0, event.version)

    def _end_attempt(self, step: StepHistory, event: Event) -> None:
        """An attempt has ended without a failure: for good, for the next iteration, or to begin again."""
        self._expect_running(step, event)
        if event.type == "step_completed":
            step.settle(StepState.COMPLETED, event.version)
        elif event.type == "step_repeated":
            step.repeat(event.version)
        else:
            step.state = StepState.WAITING if event.type == "step_held" else StepState.PENDING
            step.interruptions += event.type == "step_interrupted"

    def _skip(self, step: StepHistory, event: Event) -> None:
        """It is not to run: its needs have ended otherwise, its condition, or its patience."""
        if event.data["reason"] == "rollback":
            if step.state is not StepState.PENDING or not self.beside.is_undoing:
                self._complain(event, f"it is {step.state.value}")
            step.settle(StepState.SKIPPED, event.version)
            return
        is_choice = event.data["reason"] != "dependencies"
        is_over = step.is_waiting and event.data["reason"] in {"timeout", "rejected"}
        may_choose = step.state is StepState.PENDING and self._may_run(step) is is_choice
        if not (is_over or may_choose):
            self._complain(event, f"it is {step.state.value} and its needs say otherwise")
        step.settle(StepState.SKIPPED, event.version)

    def _fail(self, step: StepHistory, event: Event) -> None:
        """An attempt has failed, or what was to be evaluated before the first one."""
        if event.data.get("has_begun") is False:
            may_end = step.state in {StepState.PENDING, StepState.WAITING}  # a retry that is refused
            if not may_end or not self._may_run(step):
                self._complain(event, f"it is {step.state.value} and could not be asked")
            step.attempt = event.attempt or 0
        else:
            self._expect_running(step, event)
        if event.data["will_retry"]:
            step.state = StepState.WAITING
            step.attempt += 1
            return
        step.settle(StepState.FAILED, event.version)

    def _check_start(self, step: StepHistory, event: Event, *, is_at_once: bool = True) -> None:
        """A step starts when it is its turn, after its needs, and never twice at once."""
        attempt = event.attempt or 0
        if step.state not in {StepState.PENDING, StepState.WAITING}:
            self._complain(event, f"it is {step.state.value}")
        if attempt != max(step.attempt, 1):
            self._complain(event, f"its next attempt is {max(step.attempt, 1)}")
        if self.is_stopping and is_at_once:
            self._complain(event, "a stop was asked for")
        if not self._may_run(step):
            unmet = next(need for need in step.needs if not self.steps[need].is_met)
            self._complain(event, f"it needs {unmet!r}, which is {self.steps[unmet].state.value}")

    def _may_run(self, step: StepHistory) -> bool:
        """Whether what a step needs has settled, and in a way that lets it run."""
        needs = [self.steps[need] for need in step.needs]
        if isinstance(step.policy, int):
            return sum(need.is_met for need in needs) >= step.policy
        if any(need.state not in SETTLED_STEP for need in needs):
            return False
        met = [need.is_met for need in needs]
        return {"all_success": all(met), "all_done": True, "any": any(met) or not met}[step.policy]

    def _expect_running(self, step: StepHistory, event: Event) -> None:
        is_on = step.state is StepState.RUNNING or step.is_waiting
        if not is_on or step.attempt != event.attempt:
            self._complain(event, f"attempt {step.attempt} is {step.state.value}")

    def _end(self, event: Event) -> None:
        self.end = ENDS[event.type]
        running = [step.key for step in self.steps.values() if step.state is StepState.RUNNING]
        if running:
            self._complain(event, f"step {running[0]!r} is running")
        if self.end is State.ROLLED_BACK:
            self.beside.check_undone(event)

    def _roll_back(self, version: int, *, again: bool) -> None:
        """What was done is to be undone, or what is left of that."""
        self.end = None
        if again:
            self.beside.go_on(version)

    def _retry(self, version: int, asked: Mapping[str, Any]) -> None:
        """What did not succeed runs again under its keys, what is to be done anew under new ones."""
        self.end = None
        self.beside.open(version)
        if self.beside.is_undoing:
            self.beside.go_on(version)
            return
        graph = [step for step in self.steps.values() if step.role is Role.GRAPH]
        settled = [step for step in graph if step.state in SETTLED_STEP]
        undone = {step.key for step in settled if not (step.state is StepState.COMPLETED or step.is_met)}
        first = asked.get("from")
        anew: set[str] = set()
        if first is not None:
            anew = {first} if asked["only"] else self._downstream({first})
        elif asked.get("with_downstream"):
            anew = self._downstream({step.key for step in graph if undone.intersection(step.needs)})
        for step in graph:
            is_anew = step.key in anew and step.has_row
            if is_anew or (step.key in undone and not asked.get("only")):
                step.reopen(version, new_lineage=is_anew)

    def _downstream(self, keys: set[str]) -> set[str]:
        """Those steps and whatever needs one of them, directly or not."""
        more = {step.key for step in self.steps.values() if keys.intersection(step.needs)}
        return keys if more <= keys else self._downstream(keys | more)

    def _restore(self, version: int, *, point: int) -> None:
        self.end = None
        for step in self.steps.values():
            then = step.as_of(point)
            if then is None:
                if step.has_row and step.opened[-1][0] != version:  # else its items were dropped
                    step.reopen(version, new_lineage=True)
            elif (step.generation, step.state) != (then.generation, then.state):
                step.reopen(version, new_lineage=True, outcome=then)

    def _move(self, version: History) -> None:
        """From now on it is one of another version: what a step has come to stays with its key.

        One that comes back, having been gone, has not begun.
        """
        before = self.steps
        for key in before.keys() - version.steps.keys():
            for (generation, attempt), times in before[key].starts.items():
                self.gone[key, generation, attempt] += times
        self.steps = self.beside.steps = deepcopy(version.steps)
        for key, step in self.steps.items():
            if key in before:
                before[key].needs, before[key].policy = step.needs, step.policy
                before[key].is_optional = step.is_optional
                self.steps[key] = before[key]

    def _complain(self, event: Event, why: str) -> None:
        what = event.type if event.step is None else f"{event.type} of {event.step!r} attempt {event.attempt}"
        self.problems.append(f"version {event.version}, event {event.id}: {what}, although {why}")
