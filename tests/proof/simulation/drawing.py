"""Draws workflows from a seed: plain ones, and such that use whatever the language offers."""

from __future__ import annotations

from random import Random
from typing import Final

from msgspec.structs import replace

from simulation.workflows import ALWAYS, GENEROUS_S, HOUR, Called, Itemised, Repeated, StepSpec, WorkflowSpec

STEPS_MAX: Final = 9
CALLS_MAX: Final = 2  # in one workflow: executions may call three deep


def draw_workflows(chance: Random) -> list[WorkflowSpec]:
    """One to four of them; each may call those that come after it."""
    names = [f"w{no}" for no in range(chance.randint(1, 4))]
    return [_draw_workflow(chance, name, names[no + 1 :]) for no, name in enumerate(names)]


def _draw_workflow(chance: Random, name: str, callable: list[str]) -> WorkflowSpec:
    """Some workflow of one to nine steps."""
    may_end_late = chance.random() < 0.12
    richness = chance.choice([0, 0.2, 0.5])
    steps: list[StepSpec] = []
    for no in range(chance.randint(1, STEPS_MAX)):
        step = _draw_step(chance, [step.key for step in steps], no)
        steps.append(_enrich(chance, step, steps, callable) if chance.random() < richness else step)
    if may_end_late:
        no = chance.randrange(len(steps))
        steps[no] = StepSpec(key=steps[no].key, needs=steps[no].needs, is_endless=True)
    timeout_s = chance.choice([None, None, GENEROUS_S])
    return WorkflowSpec(
        name=name,
        steps=tuple(steps),
        is_eager=chance.random() < 0.5,
        continue_on_error=chance.random() < 0.3,
        parallelism=chance.choice([None, None, 1, 2, 3]),
        timeout_s=chance.uniform(1, 40) * HOUR if may_end_late else timeout_s,
    )


def _draw_step(chance: Random, before: list[str], no: int) -> StepSpec:
    """A step as there are most: it is performed once, if what it needs went well."""
    needs = tuple(sorted(chance.sample(before, min(len(before), chance.choice([0, 1, 1, 2, 3])))))
    hangs = chance.choice([0, 0, 0, 0, 1, 2])
    is_optional = chance.random() < 0.2
    return StepSpec(
        key=f"s{no}",
        needs=needs,
        sleep_s=0.0 if hangs else chance.choice([0, 0, 0, 0.01, 5, 600, 4 * HOUR]),
        hangs=hangs,
        fails=chance.choice([0, 0, 0, 1, 2, ALWAYS if chance.random() < 0.2 else 0]),
        is_broken=not is_optional and chance.random() < 0.06,
        is_fatal=chance.random() < 0.1,
        timeout_s=chance.choice([0.5, 30, 2 * HOUR]) if hangs else None,
        retries=chance.choice([0, 0, 1, 2, 4]),
        delay_s=chance.choice([0, 0, 0.2, 8, 60, 1_800, 2 * HOUR]),
        is_optional=is_optional,
        is_parallel=chance.random() > 0.1,
    )


def _enrich(chance: Random, step: StepSpec, before: list[StepSpec], callable: list[str]) -> StepSpec:
    """The step with something more to decide, or with more to do."""
    numbers = [each.key for each in before if each.key in step.needs and _gives_a_number(each)]
    policy = chance.choice(["all_success", "all_success", "all_done", "any"])
    when = chance.choice(numbers) if numbers and chance.random() < 0.5 else None
    step = replace(step, policy=policy, when=when)
    calls = sum(each.child is not None for each in before)
    match chance.choice(["as it is", "repeated", "items", "child"]):
        case "child" if callable and calls < CALLS_MAX:
            return _as_call(chance, step, callable)
        case "repeated":
            return replace(step, repeated=_draw_repeated(chance))
        case "items":
            return replace(step, items=_draw_items(chance, numbers))
        case _:
            return step


def _gives_a_number(step: StepSpec) -> bool:
    return step.items is None and step.child is None


def _as_call(chance: Random, step: StepSpec, callable: list[str]) -> StepSpec:
    waits = chance.random() < 0.8
    follows = not waits or chance.random() < 0.7
    return StepSpec(
        key=step.key,
        needs=step.needs,
        policy=step.policy,
        when=step.when,
        is_optional=step.is_optional,
        retries=chance.choice([0, 0, 1]),
        delay_s=step.delay_s,
        timeout_s=chance.choice([None, None, 30 * HOUR]) if waits else None,
        child=Called(name=chance.choice(callable), waits=waits, follows=follows),
    )


def _draw_repeated(chance: Random) -> Repeated:
    return Repeated(
        divisor=chance.choice([1, 2, 3, 5]),
        times_max=chance.choice([1, 3, 10]),
        is_enough=chance.random() < 0.7,
        delay_s=chance.choice([0, 0, 5, HOUR]),
    )


def _draw_items(chance: Random, numbers: list[str]) -> Itemised:
    count = chance.choice([1, 3, 7])
    return Itemised(
        count=count,
        count_by=chance.choice(numbers) if numbers and chance.random() < 0.5 else None,
        odd=chance.randrange(count),
        at_once=chance.choice([1, 2, 100]),
        goes_on=chance.random() < 0.5,
    )
