"""What an execution must come to if nothing goes wrong: the workflow, interpreted in plain Python.

The model knows nothing of the runtime's planner, of time, of order or of crashes; so what it says has
to hold in spite of all of them. It reads a workflow as data and tells each step's end, or that the
step has none. Where the end of an execution depends on what was asked of it (a cancel, a repair), the
model is told what the log says was asked, in the order of the log.

Some things the order of time decides: when a step fails for good, its siblings may or may not have
begun. There the model tells what is possible at most, and what is certain at least.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec

from simulation.workflows import StepSpec, WorkflowSpec, digest


class End(Enum):
    """How a step ends."""

    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    NEVER = "never"  # it does not end, or waits for what does not


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of an execution, as far as that decides its end."""

    is_cancelled: bool = False  # and neither retried nor restored since
    is_repaired: bool = False  # before the last retry
    given_up: frozenset[str] = frozenset()  # optional steps that got fewer tries than they may have


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """The end there has to be."""

    status: str
    at_most: dict[str, Any]  # outputs by key
    at_least: frozenset[str]  # keys of outputs that cannot be missing


def expect(spec: WorkflowSpec, word: str, asked: Asked) -> Expected:
    """The end of one execution of that workflow, started with that word."""
    ends: dict[str, End] = {}
    outputs: dict[str, Any] = {}
    for step in spec.steps:
        end = _end_of(step, ends, spec, asked)
        ends[step.key] = end
        if end is End.COMPLETED:
            needs = {need: outputs[need] for need in step.needs}
            outputs[step.key] = digest(step.key, word, needs)
        elif end is End.FAILED and step.is_optional:
            outputs[step.key] = None
    if asked.is_cancelled:
        return Expected(status="cancelled", at_most=outputs, at_least=frozenset())
    if End.NEVER in ends.values():  # then it has a deadline
        return Expected(status="failed", at_most=outputs, at_least=frozenset())
    failing = [step for step in spec.steps if ends[step.key] is End.FAILED and not step.is_optional]
    if not failing:
        return Expected(status="completed", at_most=outputs, at_least=frozenset(outputs))
    certain = outputs.keys() if spec.continue_on_error else _certain(spec, failing, outputs)
    return Expected(status="failed", at_most=outputs, at_least=frozenset(certain))


def _end_of(step: StepSpec, ends: Mapping[str, End], spec: WorkflowSpec, asked: Asked) -> End:
    """How a step ends, given the ends of what it needs."""
    needed = [(need, ends[need.key]) for need in spec.steps if need.key in step.needs]
    if any(end is End.NEVER for _, end in needed):
        return End.NEVER
    if any(end is End.SKIPPED or (end is End.FAILED and not need.is_optional) for need, end in needed):
        return End.SKIPPED
    if step.is_endless:
        return End.NEVER
    if step.key in asked.given_up:
        return End.FAILED
    return _play(step, is_repaired=asked.is_repaired)


def _play(step: StepSpec, *, is_repaired: bool) -> End:
    """Try the step as often as its policy allows."""
    for attempt in range(1, step.retries + 2):
        hangs = attempt <= step.hangs
        fails = attempt <= step.hangs + step.fails or (step.is_broken and not is_repaired)
        if not hangs and not fails:
            return End.COMPLETED
        if not hangs and step.is_fatal:
            return End.FAILED
    return End.FAILED


def _certain(spec: WorkflowSpec, failing: list[StepSpec], outputs: Mapping[str, Any]) -> set[str]:
    """What has an output however early another step failed: all that every failing step stands on."""
    by_key = {step.key: step for step in spec.steps}
    certain: list[set[str]] = []
    for step in failing:
        found: set[str] = set()
        open_ends = list(step.needs)
        while open_ends:
            key = open_ends.pop()
            if key not in found:
                found.add(key)
                open_ends += by_key[key].needs
        certain.append(found)
    return set.intersection(*certain) & outputs.keys()


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
