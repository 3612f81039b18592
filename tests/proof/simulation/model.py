"""What an execution must come to if nothing goes wrong: the workflow, interpreted in plain Python.

The model knows nothing of the runtime's planner, of time, of order or of crashes; so what it says has
to hold in spite of all of them. It reads a workflow as data and tells each step's end, or that the
step has none. What is not decided by the workflow alone (a cancel, a repair, an item that was given
up) the model is `Told`, as the log and the rows have it.

Some things the order of time decides: when a step fails for good, its siblings may or may not have
begun. There the model tells what is possible at most, and what is certain at least.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec
from msgspec.structs import replace

from simulation.workflows import REASON, Guarded, StepSpec, WorkflowSpec, digest


class End(Enum):
    """How a step ends."""

    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    NEVER = "never"  # it does not end, or waits for what does not


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """The execution that a step has started, and that counts for it."""

    id: str
    status: str
    outputs: dict[str, Any]
    is_last: bool  # of those that the step may start


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a step that waits has come to; whether it may have is a question of its own."""

    end: End
    output: Any


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of an execution and done to it, as far as that decides its end."""

    is_cancelled: bool = False  # before it was stopped, and neither retried nor restored since
    is_stopped: bool = False  # by its deadline or its breaker, and neither retried nor restored since
    is_undone: bool = False  # or to be
    left: frozenset[str] = frozenset()  # steps that could not be undone; whether so is another question
    mended: frozenset[str] = frozenset()  # broken steps that came after the repair of the world
    given_up: frozenset[str] = frozenset()  # steps and items (`s1[2]`) that got fewer tries than they may
    failed_then: Mapping[str, frozenset[str]] = {}  # by step: needs, since redone alone
    heard: Mapping[str, Heard] = {}  # by step
    children: Mapping[str, Child] = {}  # by step; what they come to is a question of its own


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """The end there has to be."""

    status: str
    at_most: dict[str, Any]  # outputs by key
    at_least: frozenset[str]  # keys of outputs that cannot be missing


def expect(spec: WorkflowSpec, word: str, told: Told) -> Expected:
    """The end of one execution of that workflow, started with that word."""
    expected = _without_undoing(spec, word, told)
    if told.is_undone:
        status = "failed" if told.left else "rolled_back"
        return replace(expected, status=status, at_least=frozenset())
    if spec.undoes_failure and expected.status == "failed":
        return replace(expected, status="rolled_back")
    return expected


def _without_undoing(spec: WorkflowSpec, word: str, told: Told) -> Expected:
    walk = _Walk(spec, word, told)
    for step in spec.steps:
        walk.go(step)
    outputs = walk.given()
    if told.is_cancelled:
        return Expected(status="cancelled", at_most=outputs, at_least=frozenset())
    if told.is_stopped or End.NEVER in walk.ends.values():  # what never ends has a deadline
        return Expected(status="failed", at_most=outputs, at_least=frozenset())
    failing = [step for step in spec.steps if walk.ends[step.key] is End.FAILED and not step.is_optional]
    if not failing:
        return Expected(status="completed", at_most=outputs, at_least=frozenset(outputs))
    certain = outputs.keys() if spec.continue_on_error else _certain(spec, failing, outputs)
    return Expected(status="failed", at_most=outputs, at_least=frozenset(certain))


class _Walk:
    """The steps of a workflow, one after the other; each finds the ends of those it needs."""

    def __init__(self, spec: WorkflowSpec, word: str, told: Told) -> None:
        self.ends: dict[str, End] = {}
        self.outputs: dict[str, Any] = {}  # as dependents see them: null where there is none
        self._spec = spec
        self._word = word
        self._told = told

    def go(self, step: StepSpec) -> None:
        """Find the end of a step and its output, given those of what it needs."""
        now = self.ends, self.outputs
        then = self._told.failed_then.get(step.key, frozenset())
        self.ends, self.outputs = now[0] | dict.fromkeys(then, End.FAILED), now[1] | dict.fromkeys(then)
        end, output = self._entry(step), None
        if end is None:
            end, output = self._perform(step)
        self.ends, self.outputs = now[0] | {step.key: end}, now[1] | {step.key: output}

    def given(self) -> dict[str, Any]:
        """What the execution gives: of steps that completed, and null of those that need not have."""
        return {key: output for key, output in self.outputs.items() if self._is_met(key)}

    def _entry(self, step: StepSpec) -> End | None:
        """The end of a step that is not let in, or None."""
        if any(self.ends[need] is End.NEVER for need in step.needs):
            return End.NEVER
        met = [self._is_met(need) for need in step.needs]
        may_run = {"all_success": all(met), "all_done": True, "any": any(met) or not met}[step.policy]
        if not may_run:
            return End.SKIPPED
        if step.when is not None and not self._is_fine(step.when):
            return End.SKIPPED
        return End.NEVER if step.is_endless else None

    def _is_fine(self, key: str) -> bool:
        return self._is_done(key) and self.outputs[key] % 3 != 0

    def _is_done(self, key: str) -> bool:
        return self.ends[key] is End.COMPLETED

    def _is_met(self, key: str) -> bool:
        return self._is_done(key) or (self.ends[key] is End.FAILED and self._spec.step(key).is_optional)

    def _perform(self, step: StepSpec) -> tuple[End, Any]:
        if step.key in self._told.given_up:
            return End.FAILED, None
        if step.awaited is not None:
            heard = self._told.heard.get(step.key)
            return (End.NEVER, None) if heard is None else (heard.end, heard.output)
        if step.gate is not None:
            return self._judge(step.gate)
        if step.child is not None:
            return self._call(step)
        if step.repeated is not None:
            return self._repeat(step)
        if step.items is not None:
            return self._each(step)
        return (End.COMPLETED, self._digest(step)) if succeeds(step, self._told) else (End.FAILED, None)

    def _judge(self, gate: Guarded) -> tuple[End, Any]:
        """One that is not decided by a need is opened by somebody, sooner or later."""
        if gate.need is not None and not self._is_fine(gate.need):
            return End.FAILED, None
        verdict = {"when": gate.criterion, "reason": REASON, "holds": True}
        return End.COMPLETED, {"passed": True, "criteria": [verdict]}

    def _call(self, step: StepSpec) -> tuple[End, Any]:
        assert step.child is not None
        child = self._told.children.get(step.key)
        if child is None:
            return End.NEVER, None
        if not step.child.waits:
            return End.COMPLETED, child.id
        if child.status == "completed":
            return End.COMPLETED, child.outputs
        return (End.FAILED if child.is_last else End.NEVER), None

    def _repeat(self, step: StepSpec) -> tuple[End, Any]:
        assert step.repeated is not None
        output = None
        for iteration in range(1, step.repeated.times_max + 1):
            if not succeeds(step, self._told):
                return End.FAILED, None
            output = self._digest(step, [iteration, output])
            if output % step.repeated.divisor == 0:
                return End.COMPLETED, output
        return (End.COMPLETED, output) if step.repeated.is_enough else (End.FAILED, None)

    def _each(self, step: StepSpec) -> tuple[End, Any]:
        items = step.items
        assert items is not None
        count = items.count
        if items.count_by is not None and self._is_done(items.count_by):
            count = self.outputs[items.count_by] % items.count
        outputs: list[Any] = []
        for index in range(count):
            is_given_up = f"{step.key}[{index}]" in self._told.given_up
            if is_given_up or (index == items.odd and not succeeds(step, self._told)):
                if not items.goes_on:
                    return End.FAILED, None
                outputs.append(None)
            else:
                outputs.append(self._digest(step, [index, index]))
        return End.COMPLETED, outputs

    def _digest(self, step: StepSpec, part: object = None) -> int:
        needs = {need: self.outputs[need] for need in step.needs}
        return digest(step.key, self._word, part, needs)


def succeeds(step: StepSpec, told: Told) -> bool:
    """Try a body as often as its policy allows."""
    is_broken = step.is_broken and step.key not in told.mended
    for attempt in range(1, step.retries + 2):
        hangs = attempt <= step.hangs
        fails = attempt <= step.hangs + step.fails or is_broken
        if not hangs and not fails:
            return True
        if not hangs and step.is_fatal:
            return False
    return False


def _certain(spec: WorkflowSpec, failing: list[StepSpec], outputs: Mapping[str, Any]) -> set[str]:
    """What has an output however early another step failed: all that every failing step stands on."""
    return set.intersection(*(beneath(spec, step) for step in failing)) & outputs.keys()


def beneath(spec: WorkflowSpec, step: StepSpec) -> set[str]:
    """Everything that a step stands on."""
    found: set[str] = set()
    open_ends = list(step.needs)
    while open_ends:
        key = open_ends.pop()
        if key not in found:
            found.add(key)
            open_ends += spec.step(key).needs
    return found


def compare(expected: Expected, *, status: str, outputs: Mapping[str, Any]) -> list[str]:
    """A sentence for each difference between the end there has to be and the one there is."""
    found: list[str] = []
    if status != expected.status:
        found.append(f"it ended {status}, and the model {expected.status}")
    for key, value in outputs.items():
        if key not in expected.at_most:
            found.append(f"{key} has the output {value!r}, and in the model none")
        elif value != expected.at_most[key]:
            found.append(f"{key} has the output {value!r}, and in the model {expected.at_most[key]!r}")
    missing = sorted(expected.at_least - outputs.keys())
    if missing:
        found.append(f"{missing} have no output, and in the model they do")
    return found
