"""What an execution of a workflow may come to before it runs: its longest way, its time, its cost. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from perdure.runtime.language.checks import needs_of
from perdure.runtime.language.definition import Definition, StepDefinition
from perdure.runtime.language.graph import by_level, level_of, order_of
from perdure.runtime.language.waits import PERFORMED, kinds_of
from perdure.store.usage import StepHistory

NEVER_RUN = StepHistory()


class StepEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """One step: what it declares, else what it came to in the past; None where neither says anything."""

    key: str
    level: int
    duration_ms: float | None
    cost: float | None
    tokens: float | None
    source: str  # of the cost: `declared`, `history` or nothing


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """The whole: every step once (for each item that is written down), none retried, all conditions true.

    `duration_ms` is the longest way through the graph, which is what eager scheduling takes with room
    for everything; `level_duration_ms` adds up the slowest step of each level.
    """

    workflow: str
    levels: tuple[tuple[str, ...], ...]
    steps: tuple[StepEstimate, ...]
    critical_path: tuple[str, ...]
    duration_ms: float
    level_duration_ms: float
    untimed: tuple[str, ...]  # steps whose time nobody knows, which count as none
    cost: float
    tokens: float
    uncosted: tuple[str, ...]  # steps with a body that neither declare nor ever reported a use


def estimate(definition: Definition, history: Mapping[str, StepHistory]) -> Estimate:
    """What an execution may come to, from what its steps declare and what became of them in the past."""
    needs = needs_of(definition)
    order = order_of(needs)
    level = level_of(needs, order)
    steps = tuple(
        _estimate_step(step, level[no], history.get(step.key, NEVER_RUN))
        for no, step in enumerate(definition.steps)
    )
    levels = by_level(level)
    path, duration = _longest(needs, order, [step.duration_ms for step in steps])
    return Estimate(
        workflow=definition.name,
        levels=tuple(tuple(steps[no].key for no in each) for each in levels),
        steps=steps,
        critical_path=tuple(steps[no].key for no in path),
        duration_ms=duration,
        level_duration_ms=sum(max(steps[no].duration_ms or 0 for no in each) for each in levels),
        untimed=tuple(step.key for step in steps if step.duration_ms is None),
        cost=sum(step.cost or 0 for step in steps),
        tokens=sum(step.tokens or 0 for step in steps),
        uncosted=tuple(
            each.key
            for each, step in zip(steps, definition.steps, strict=True)
            if PERFORMED.intersection(kinds_of(step)) and not each.source
        ),
    )


def _estimate_step(step: StepDefinition, level: int, past: StepHistory) -> StepEstimate:
    cost, tokens, source = past.cost_mean, past.tokens_mean, "history"
    if step.usage is not None:
        many = _items_of(step)
        cost, tokens, source = many * step.usage.cost, float(many * step.usage.tokens), "declared"
    return StepEstimate(
        key=step.key,
        level=level,
        duration_ms=past.duration_ms_mean if step.sleep is None else step.sleep,
        cost=cost,
        tokens=tokens,
        source="" if cost is None and tokens is None else source,
    )


def _items_of(step: StepDefinition) -> int:
    """How often a step is performed: for each of its items, where those are written down."""
    items = 1 if step.for_each is None or isinstance(step.for_each.items, str) else step.for_each.items
    return items if isinstance(items, int) else len(items)


def _longest(
    needs: list[list[int]], order: list[int], durations: list[float | None]
) -> tuple[list[int], float]:
    """The way through the graph that takes longest; of two that take as long, the one with more steps."""
    ends: dict[int, tuple[float, int]] = {}
    came_from: dict[int, int | None] = {}
    for no in order:
        before = max(needs[no], key=lambda need: ends[need], default=None)
        came_from[no] = before
        time, steps = (0.0, 0) if before is None else ends[before]
        ends[no] = (time + (durations[no] or 0.0), steps + 1)
    last: int | None = max(order, key=lambda no: ends[no])
    assert last is not None
    total = ends[last][0]
    path = []
    while last is not None:
        path.append(last)
        last = came_from[last]
    return path[::-1], total
