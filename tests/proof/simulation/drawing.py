"""Draws workflows from a seed: plain ones, and such that use whatever the language offers."""

from __future__ import annotations

from random import Random
from typing import Final

from msgspec.structs import replace

from simulation.workflows import (
    ALWAYS,
    GENEROUS_S,
    HOOK,
    HOUR,
    UNDO,
    AgentSpec,
    Awaited,
    Called,
    Guarded,
    Itemised,
    Repeated,
    Scheduled,
    StepSpec,
    WorkflowSpec,
)

STEPS_MAX: Final = 9
HOOKS: Final = ("onSuccess", "onFailure", "onCancel", "finally")
CALLS_MAX: Final = 2  # in one workflow: executions may call three deep


def draw_workflows(chance: Random) -> list[WorkflowSpec]:
    """One to four of them; each may call those that come after it."""
    names = [f"w{no}" for no in range(chance.randint(1, 4))]
    return [_draw_workflow(chance, name, names[no + 1 :]) for no, name in enumerate(names)]


def _draw_workflow(chance: Random, name: str, callable: list[str]) -> WorkflowSpec:
    """Some workflow of one to nine steps."""
    may_end_late = chance.random() < 0.12
    richness = chance.choice([0, 0.2, 0.5])
    is_kind = chance.random() < 0.6
    steps: list[StepSpec] = []
    for no in range(chance.randint(1, STEPS_MAX)):
        step = _draw_step(chance, [step.key for step in steps], no)
        if is_kind:
            step = _healing(step)
        steps.append(_enrich(chance, step, steps, callable) if chance.random() < richness else step)
    if may_end_late:
        no = chance.randrange(len(steps))
        steps[no] = StepSpec(key=steps[no].key, needs=steps[no].needs, is_endless=True)
    timeout_s = chance.choice([None, None, GENEROUS_S])
    if richness and chance.random() < 0.5:
        steps = [_undoable(chance, step) for step in steps]
    can_undo = any(step.undo is not None for step in steps)
    return WorkflowSpec(
        name=name,
        steps=tuple(steps),
        at_once=chance.choice([None, None, 1, 2]) if richness else None,
        agent=_draw_agent(chance) if richness and chance.random() < 0.4 else AgentSpec(),
        scheduled=_draw_schedule(chance) if richness and chance.random() < 0.15 else None,
        undoes_failure=can_undo and chance.random() < 0.5,
        hooks=_draw_hooks(chance) if richness and chance.random() < 0.5 else (),
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


def _healing(step: StepSpec) -> StepSpec:
    """The step with as many tries as it takes."""
    fails = min(step.fails, 2)
    return replace(step, fails=fails, is_fatal=False, retries=max(step.retries, step.hangs + fails))


def _enrich(chance: Random, step: StepSpec, before: list[StepSpec], callable: list[str]) -> StepSpec:
    """The step with something more to decide, or with more to do."""
    numbers = [each.key for each in before if each.key in step.needs and _gives_a_number(each)]
    policy = chance.choice(["all_success", "all_success", "all_done", "any"])
    when = chance.choice(numbers) if numbers and chance.random() < 0.5 else None
    step = replace(step, policy=policy, when=when)
    calls = sum(each.child is not None for each in before)
    match chance.choice(["as it is", "repeated", "items", "child", "awaited", "gate"]):
        case "child" if callable and calls < CALLS_MAX:
            return _as_call(chance, step, callable)
        case "awaited":
            return replace(_without_body(step), awaited=_draw_awaited(chance))
        case "gate":
            need = chance.choice([None, *numbers])
            on_no = "fail" if need is not None else "pause"
            return replace(_without_body(step), gate=Guarded(need=need, on_no=on_no))
        case "repeated":
            return replace(step, repeated=_draw_repeated(chance))
        case "items":
            return replace(step, items=_draw_items(chance, numbers))
        case _:
            return step


def _undoable(chance: Random, step: StepSpec) -> StepSpec:
    if step.awaited or step.gate or chance.random() < 0.3:
        return step
    return replace(step, undo=_draw_beside(chance, f"{step.key}{UNDO}"))


def _draw_agent(chance: Random) -> AgentSpec:
    return AgentSpec(
        at_once=chance.choice([None, 1, 2]),
        rate=chance.choice([None, None, "2/min", "20/h"]),
        cooldown_s=chance.choice([None, 60, 3 * HOUR]),
    )


def _draw_schedule(chance: Random) -> Scheduled:
    return Scheduled(
        every_s=chance.choice([70 * HOUR, 250 * HOUR]),
        missed=chance.choice(["skip", "latest", "all"]),
        overlap=chance.choice(["skip", "queue", "replace", "allow"]),
    )


def _draw_hooks(chance: Random) -> tuple[StepSpec, ...]:
    moments = [moment for moment in HOOKS if chance.random() < 0.6]
    return tuple(_draw_beside(chance, f"{HOOK}{moment}") for moment in moments)


def _draw_beside(chance: Random, key: str) -> StepSpec:
    """What is done beside the graph; one thing at a time."""
    return StepSpec(
        key=key,
        needs=(),
        sleep_s=chance.choice([0, 0, 5, 4 * HOUR]),
        fails=chance.choice([0, 0, 0, 1, 3]),
        is_broken=chance.random() < 0.1,
        retries=chance.choice([1, 2]),
        delay_s=chance.choice([0, 8, HOUR]),
        is_parallel=False,
    )


def _gives_a_number(step: StepSpec) -> bool:
    return step.has_body and step.items is None


def _without_body(step: StepSpec) -> StepSpec:
    """What is left of a step that performs nothing itself."""
    return StepSpec(
        key=step.key, needs=step.needs, policy=step.policy, when=step.when, is_optional=step.is_optional
    )


def _as_call(chance: Random, step: StepSpec, callable: list[str]) -> StepSpec:
    waits = chance.random() < 0.8
    follows = not waits or chance.random() < 0.7
    return replace(
        _without_body(step),
        retries=chance.choice([0, 0, 1]),
        delay_s=step.delay_s,
        timeout_s=chance.choice([None, None, 30 * HOUR]) if waits else None,
        child=Called(name=chance.choice(callable), waits=waits, follows=follows),
    )


def _draw_awaited(chance: Random) -> Awaited:
    timeout_s = chance.choice([None, 5 * HOUR, 100 * HOUR])
    what = chance.choice(["sleep", "signal", "approval"])
    verdicts = ["approve", "reject", "escalate"] if what == "approval" else ["continue"]
    on_timeout = "fail" if timeout_s is None else chance.choice(["fail", "skip", *verdicts])
    return Awaited(
        what=what,
        sleep_s=chance.choice([0.5, 60, 20 * HOUR]),
        quorum=chance.choice([1, 2]),
        timeout_s=timeout_s,
        on_timeout=on_timeout,
        on_reject=chance.choice(["skip", "continue", "fail"]),
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
