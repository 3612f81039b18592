"""What became of one execution, held against the model: its past as the store has it, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from perdure.store.records import Attempt, Event
from perdure.store.scripts.items import Item
from perdure.store.states import StepState
from simulation.beside import left, odd_beside
from simulation.hearing import heard_by, misheard
from simulation.model import Child, Told, compare, expect
from simulation.past import ENDS, Past, output_of
from simulation.stops import has_tripped, odd_stops, unaffordable
from simulation.workflows import GENEROUS_S, HOOK, REOPENING, StepSpec, WorkflowSpec
from simulation.world import World

DONE: Final = frozenset({StepState.COMPLETED, StepState.COMPENSATED})
HASTENING: Final = frozenset({"pause_requested", "cancel_requested", "rollback_requested"})
STOPPING: Final = frozenset(
    {"cancel_requested", "deadline_exceeded", "rollback_requested", "circuit_breaker_tripped"}
)


class Judge:
    """Holds what became of every execution against the model, and against what became of the others."""

    def __init__(self, pasts: Sequence[Past], specs: Mapping[str, WorkflowSpec], world: World) -> None:
        """`pasts` are all there are."""
        self._pasts = {past.execution.id: past for past in pasts}
        self._specs = specs
        self._world = world

    def judge(self, past: Past) -> list[str]:
        """A sentence for each thing that is not as the model has it."""
        spec = self._spec(past)
        told = self._told(past, spec)
        expected = expect(spec, past.word, told)
        problems = compare(expected, status=past.status, outputs=outputs(past, spec))
        note = _note(past.events)
        if not past.sources and past.execution.context.get("note") != note:
            problems.append(f"its context says {past.execution.context.get('note')!r}, its log {note!r}")
        problems += self._orphans(past, spec) + misheard(past, spec) + odd_beside(past, spec, told)
        return problems + odd_stops(past, spec, self._world.ledger)

    def _told(self, past: Past, spec: WorkflowSpec) -> Told:
        """What decides the end beside the workflow."""
        ids = {past.execution.id, *past.sources}
        children = {step.key: self._child(past, step) for step in spec.steps if step.child is not None}
        stop = _first_stop(past.events)
        return Told(
            is_cancelled=stop == "cancel_requested",
            is_stopped=_is_stopped(past, spec, stop),
            is_undone=_is_undone(past),
            left=left(past, spec),
            mended=frozenset(
                key
                for id_, key in self._world.mended
                if id_ == past.execution.id or (id_ in ids and not key.startswith(HOOK))
            ),
            given_up=killers(past) | unaffordable(past) | _cut_short(past, spec),
            failed_then={step.key: _failed_then(past, step) for step in spec.steps},
            heard={step.key: heard for step in spec.steps if (heard := heard_by(past, step)) is not None},
            children={key: child for key, child in children.items() if child is not None},
        )

    def _child(self, past: Past, step: StepSpec) -> Child | None:
        """The last child of a step; where that has completed, the last that gave what it has.

        One that was rolled back since, as far as it could be, counts as what its step has of it.
        """
        newest = past.newest.get(step.key)
        children = [self._pasts[id_] for id_ in _started(past, step.key)]
        if newest is None or not children:
            return None
        found = [
            Child(
                id=each.execution.id,
                status=each.status,
                outputs=self._given(each),
                is_last=newest.attempt > step.retries,
            )
            for each in children
        ]
        output = output_of(newest)
        if newest.state in DONE and _is_undone(children[-1]):
            return replace(found[-1], status="completed", outputs=output)
        return next((child for child in reversed(found) if output in (child.id, child.outputs)), found[-1])

    def _given(self, past: Past) -> dict[str, Any]:
        return outputs(past, self._spec(past))

    def _spec(self, past: Past) -> WorkflowSpec:
        """Its workflow, in the version that it has come to its end with; it may have been moved since."""
        moves = past.moves
        version = moves[0].data["from"]["version"] if moves else past.execution.workflow_version
        return self._specs[past.execution.workflow].of(version)

    def _orphans(self, past: Past, spec: WorkflowSpec) -> list[str]:
        """Children that came to their first end after the parent who was to wait for them.

        A restore leaves those there are: they are stopped, and nobody waits for that.
        """
        ends = [event for event in past.events if event.type in ENDS]
        if len(ends) != 1:
            return []
        following = [step for step in spec.steps if step.child and step.child.waits and step.child.follows]
        restored = max((event.id for event in past.events if event.type == "checkpoint_restored"), default=0)
        return [
            f"its child {id_} ended after it"
            for step in following
            for id_ in _started(past, step.key, after=restored)
            if self._pasts[id_].execution.parent_id == past.execution.id
            if next((event.id > ends[0].id for event in self._pasts[id_].events if event.type in ENDS), False)
        ]


def _started(past: Past, key: str, *, after: int = 0) -> list[str]:
    """The children that a step has started, in order; of one that was quick perhaps only the end is told."""
    told = [
        event for event in past.of(key) if event.id > after and event.type in ("child_started", "child_ended")
    ]
    return list(dict.fromkeys(event.data["child"] for event in told))


def crowds(pasts: Sequence[Past], spec: WorkflowSpec) -> list[str]:
    """A sentence for each moment at which more executions were under way than may be.

    Those that somebody has let go on by hand are not counted: they do not wait for a slot.
    """
    patient = {past.execution.id for past in pasts if not is_by_hand(past)}
    events = [event for past in pasts if past.execution.id in patient for event in past.events]
    under_way: set[str] = set()
    found: list[str] = []
    for event in sorted(events, key=lambda event: event.id):
        if event.type == "workflow_started":
            under_way.add(event.execution_id)
            if spec.at_once is not None and len(under_way) > spec.at_once:
                found.append(f"{sorted(under_way)} of {spec.name} are under way, and {spec.at_once} may be")
        elif event.type in ENDS:
            under_way.discard(event.execution_id)
    return found


def is_by_hand(past: Past) -> bool:
    """Whether it was opened again, or called out of the queue by what was to stop it."""
    began = [event.version for event in past.events if event.type == "workflow_started"]
    return any(
        event.type in REOPENING or (event.type in HASTENING and event.version in began)
        for event in past.events
    )


def _failed_then(past: Past, step: StepSpec) -> frozenset[str]:
    """The needs that had failed when the step was let in, and were done again since without it."""
    last = max((event.id for event in past.of(step.key)), default=0)
    return frozenset(
        event.data["from"]
        for event in past.lore
        if event.type == "workflow_retried" and event.data["only"] and event.id > last > 0
        if event.data["from"] in step.needs and _had_failed(past, event.data["from"], at=event.id)
    )


def _had_failed(past: Past, key: str, *, at: int) -> bool:
    before = [event.type for event in past.of(key) if event.id < at]
    return bool(before) and before[-1] == "step_failed"


def _is_undone(past: Past) -> bool:
    """Whether it was rolled back, or was to be and could not."""
    return any(event.type == "rollback_requested" for event in past.events)


def _is_stopped(past: Past, spec: WorkflowSpec, stop: str | None) -> bool:
    """Whether its deadline or its breaker has stopped it."""
    return stop == "circuit_breaker_tripped" or (stop == "deadline_exceeded" and _may_be_late(past, spec))


def _may_be_late(past: Past, spec: WorkflowSpec) -> bool:
    """Whether its deadline is one that it may come to."""
    timeout_ms = past.execution.timeout_ms
    timeout_s = spec.timeout_s if timeout_ms is None else timeout_ms / 1_000
    return timeout_s is not None and timeout_s < GENEROUS_S


def killers(past: Past) -> frozenset[str]:
    """The steps and items that took their process down too often to be tried again, and were not since."""
    convicted = "CrashBudgetExceeded"
    return frozenset(name for name, why in past.errors.items() if convicted in f"{why.type} {why.message}")


def outputs(past: Past, spec: WorkflowSpec) -> dict[str, Any]:
    """What the last generation of each step has brought, as the rows say."""
    newest = [(step, past.newest[step.key]) for step in spec.steps if step.key in past.newest]
    return {
        step.key: output_of(last)
        for step, last in newest
        if last.state is StepState.COMPLETED or (last.state is StepState.FAILED and step.is_optional)
    }


def disorder(past: Past, acknowledged: Sequence[str]) -> list[str]:
    """One asked after the other was answered: the log has them in that order."""
    places = {event.command_id: event.id for event in past.events if event.command_id is not None}
    heard = [id_ for id_ in acknowledged if id_ in places]
    in_order = sorted(heard, key=lambda id_: places[id_])
    return [] if heard == in_order else [f"{heard} were acknowledged, and its log has {in_order}"]


def _cut_short(past: Past, spec: WorkflowSpec) -> frozenset[str]:
    """What failed while all was being stopped, got no further try, and may yet have been settled by that."""
    if not any(event.type in STOPPING for event in past.lore):
        return frozenset()
    found: set[str] = set()
    for step in spec.steps:
        last = past.newest.get(step.key)
        if step.is_optional and last is not None and _got_less(last, step.retries):
            found.add(step.key)
        if step.items is not None and step.items.goes_on:
            names = [name for name in past.items if name.startswith(f"{step.key}[")]
            found |= {name for name in names if _got_less(past.items[name], step.retries)}
    return frozenset(found)


def _got_less(last: Attempt | Item, retries: int) -> bool:
    return last.state is StepState.FAILED and last.attempt <= retries


def _first_stop(events: Sequence[Event]) -> str | None:
    """What has stopped the execution since it was last opened: the first such decides the end."""
    stop = None
    for event in events:
        if event.type in REOPENING:
            stop = None
        elif event.type in ("cancel_requested", "deadline_exceeded") or has_tripped(event):
            stop = stop or event.type
    return stop


def _note(events: Sequence[Event]) -> Any:
    """What the context has to say, folded from the log."""
    note = None
    for event in events:
        if event.type == "context_updated":
            data = event.data
            note = data["patch"].get("note", note) if "patch" in data else data["replace"].get("note")
    return note
