"""More for drawn workflows to do: each kind from a chance of its own, so that all else is drawn as before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from msgspec.structs import replace

from simulation.workflows import (
    HOUR,
    TOKENS,
    TOLD,
    Budgeted,
    Listening,
    StepSpec,
    Tripping,
    WorkflowSpec,
)

Add = Callable[[WorkflowSpec, Random], WorkflowSpec]


def with_more(workflows: Sequence[WorkflowSpec], seed: int) -> list[WorkflowSpec]:
    """The workflows, some of them with somebody who listens, a budget, a breaker, or refusals that undo."""
    found = list(workflows)
    for kind, add in KINDS.items():
        chance = Random(f"{kind} {seed}")
        if chance.random() < 0.4:
            found = [add(spec, chance) if chance.random() < 0.6 else spec for spec in found]
    return found


def _listening(spec: WorkflowSpec, chance: Random) -> WorkflowSpec:
    events = tuple(event for event in TOLD if chance.random() < 0.8) or TOLD
    return replace(spec, listening=Listening(events=events, is_signed=chance.random() < 0.7))


def _breaker(spec: WorkflowSpec, chance: Random) -> WorkflowSpec:
    breaker = Tripping(
        errors=chance.choice([1, 2, 4]),
        window_s=chance.choice([60, HOUR, 24 * HOUR]),
        on_trip=chance.choice(["fail", "pause", "compensate"]),
    )
    return replace(spec, breaker=breaker)


def _budget(spec: WorkflowSpec, chance: Random) -> WorkflowSpec:
    tokens = TOKENS * chance.choice([1, 3, 8]) - chance.choice([0, 1])
    return replace(spec, budget=Budgeted(tokens=tokens, on_exceeded=chance.choice(["pause", "fail"])))


def _undoing(spec: WorkflowSpec, chance: Random) -> WorkflowSpec:
    """What refuses undoes what was done."""
    return replace(spec, steps=tuple(_undoing_step(step, chance) for step in spec.steps))


def _undoing_step(step: StepSpec, chance: Random) -> StepSpec:
    is_chosen = chance.random() < 0.7
    if is_chosen and step.gate is not None and step.gate.on_no == "fail":
        return replace(step, gate=replace(step.gate, on_no="compensate"))
    if is_chosen and step.awaited is not None and step.awaited.what == "approval":
        return replace(step, awaited=replace(step.awaited, on_reject="compensate"))
    return step


def _versions(spec: WorkflowSpec, chance: Random) -> WorkflowSpec:
    """A second version, with a step more."""
    keys = [step.key for step in spec.steps]
    needs = tuple(sorted(chance.sample(keys, min(len(keys), chance.randint(0, 2)))))
    later = StepSpec(key="later", needs=needs, policy=chance.choice(["all_success", "all_done"]))
    return replace(spec, later=later)


KINDS: Final[dict[str, Add]] = {
    "listening": _listening,
    "breaker": _breaker,
    "budget": _budget,
    "undoing": _undoing,
    "versions": _versions,
}
