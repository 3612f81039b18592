"""What became of the moments of a schedule: each is decided once, in order, and starts what it says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Final

from perdure.store.records import Firing
from simulation.past import Past
from simulation.workflows import WorkflowSpec

ALONE: Final = frozenset({"skip", "queue"})


def odd_moments(firings: Sequence[Firing], pasts: Sequence[Past], spec: WorkflowSpec) -> list[str]:
    """A sentence for each moment that was left out or decided twice, and for each start that was not to be.

    `pasts` are those of the workflow that nobody has opened again.
    """
    assert spec.scheduled is not None
    problems: list[str] = []
    every = timedelta(seconds=spec.scheduled.every_s)
    queued = {each.due_at for each in firings if each.decision == "queued"}  # and decided in their turn
    decided = [each for each in firings if each.decision != "queued"]
    waiting = [each for each in firings if each.due_at in queued - {one.due_at for one in decided}]
    for before, after in pairwise(sorted([*decided, *waiting], key=lambda each: each.due_at)):
        if before.due_at + every * before.count != after.due_at:
            problems.append(f"{before.decision} {before.count} at {before.due_at}, then {after.due_at}")
    own = [past for past in pasts if past.execution.triggered_by == f"schedule:{spec.name}"]
    if spec.scheduled.overlap in ALONE:
        for before, after in pairwise(sorted(own, key=lambda past: past.events[0].id)):
            if before.events[-1].id > after.events[0].id:
                problems.append(f"{after.execution.id} was started before {before.execution.id} had ended")
    return [f"schedule {spec.name}: {problem}" for problem in problems]
