"""A run of the past as an execution that has ended: pure, and nothing of the original is lost.

The rows stay as they were in the data of two kinds of events, `workflow_imported` and `step_imported`;
everything else is made of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from perdure.actors.instructions.plan import PAST
from perdure.runtime.importing.moments import milliseconds_of
from perdure.runtime.importing.runs import Run, StepRow, parsed, text_of, value
from perdure.runtime.importing.shapes import Layout
from perdure.runtime.importing.statuses import meaning_of, spelling, step_meaning_of
from perdure.runtime.language.names import KEY_MAX, is_key, is_name
from perdure.store.codec import encode
from perdure.store.records import Error
from perdure.store.sqlite.legacy import Row
from perdure.store.states import State, StepState
from perdure.store.writes import AttemptWrite, Delta, EventWrite, Publish, PublishStep, Start

BY: Final = "import"
AGENT: Final = "imported"  # of steps that do not say; nobody is registered under it
UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
TEXT_MAX: Final = 10_000  # characters of an error's message; all of it is in the original row

_UNNAMEABLE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_UNKEYABLE: Final = re.compile(r"[\s{}.]+|[^\S ]")


class Refusal(Exception):
    """Why a run cannot be imported."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What one import was asked for."""

    source: str  # what tells runs of one file from those of another
    batch: str
    own: Mapping[str, State] = {}  # words of the user's, beside the table
    at: int  # when it is imported
    dated: int  # for runs that tell no time: when their file was last written


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow of the past: what it is called here, and the numbers of its steps by their old names."""

    original: str
    name: str
    keys: tuple[str, ...]
    agents: tuple[str, ...]
    numbers: dict[str, int]


def kinds(runs: Iterable[Run], layout: Layout) -> dict[str, Kind]:
    """The workflows of these runs by their old names; each has every step that any run of it has had."""
    steps: dict[str, dict[str, str]] = {}
    for run in runs:
        of_this = steps.setdefault(run.workflow, {})
        for step in run.steps:
            of_this.setdefault(step.key, text_of(value(step.row, layout.step, "agent")) or AGENT)
    taken: set[str] = set()
    made: dict[str, Kind] = {}
    for original, agents in steps.items():
        keys: set[str] = set()
        named = {old: _unlike(keys, _as_key(old)) for old in agents}
        made[original] = Kind(
            original=original,
            name=_unlike(taken, _as_name(original)),
            keys=tuple(named.values()),
            agents=tuple(agents.values()),
            numbers={old: number for number, old in enumerate(named)},
        )
    return made


def publication(kind: Kind, *, at: int) -> Publish:
    """The revision that stands for it, which nobody can start by the workflow's name."""
    definition = msgspec.json.encode(
        {
            "name": kind.name,
            "description": "made of imported runs",
            "steps": [{"key": k, "agent": _as_name(a)} for k, a in zip(kind.keys, kind.agents, strict=True)],
        }
    )
    steps = tuple(
        PublishStep(no=number, key=key, level=0, agent=agent, needs=())
        for number, (key, agent) in enumerate(zip(kind.keys, kind.agents, strict=True))
    )
    return Publish(
        name=kind.name,
        revision=PAST + hashlib.sha256(definition).hexdigest(),
        version=None,
        description="made of imported runs",
        author=None,
        tags=(AGENT,),
        definition=definition,
        steps=steps,
        at=at,
        activates=False,
    )


def execution_id(run: Run, *, source: str) -> str:
    """What the execution is called: a UUID stays, anything else goes behind the name of its source."""
    if UUID.fullmatch(run.id):
        return run.id
    name = _as_name(f"{source}.{run.id}")
    if name == f"{source}.{run.id}":
        return name
    return f"{name[:110]}-{hashlib.sha256(f'{source}.{run.id}'.encode()).hexdigest()[:12]}"


def converted(run: Run, kind: Kind, layout: Layout, order: Order, *, workflow_no: int) -> Start:
    """The write that makes it an execution. Raises Refusal, PayloadTooLarge."""
    status = value(run.row, layout.run, "status")
    meaning = meaning_of(status, order.own)
    if meaning is None:
        word = f"--map {spelling(status)}=…"
        raise Refusal(f"its status is {status!r}, which is not in the table: say what it means with {word}")
    times = _times(run, layout)
    started, finished = times.get("started"), times.get("finished")
    at = min(times.values(), default=order.dated)
    attempts, events = _steps(run, kind, layout, order)
    told = {
        "batch": order.batch,
        "source": order.source,
        "digest": run.digest,
        "status": {"was": status, "is": meaning.state.value, "why": meaning.why},
        "row": run.row,
        "outputs": run.outputs,
    }
    first = EventWrite("workflow_imported", by=BY, data=encode(told, what=f"the row of run {run.id}"))
    return Start(
        id=execution_id(run, source=order.source),
        workflow_no=workflow_no,
        state=meaning.state,
        runner_no=None,
        priority=0,
        triggered_by=triggered_by(order.batch),
        parent_id=None,
        trace_id=text_of(value(run.row, layout.run, "trace_id"))[:128] or f"import-{run.digest[:16]}",
        agents=None,
        context=encode(_context(run, layout), what=f"the inputs of run {run.id}"),
        deadline_at=None,
        remaining_ms=None,
        at=created_at(run, layout, order),
        imported_at=order.at,
        started_at=started if started is not None else at,
        finished_at=finished if finished is not None else max(times.values(), default=order.dated),
        error=_error(value(run.row, layout.run, "error"), why=meaning.why)
        if meaning.state is State.FAILED
        else None,
        delta=Delta(attempts=attempts, events=(first, *events)),
    )


def created_at(run: Run, layout: Layout, order: Order) -> int:
    """When the run came to be (ms), as far as it tells."""
    times = _times(run, layout)
    return times.get("created", min(times.values(), default=order.dated))


def triggered_by(batch: str) -> str:
    """What an execution of that batch says about who started it."""
    return f"import:{batch}"


def _times(run: Run, layout: Layout) -> dict[str, int]:
    """What the run tells of its times, and its steps where it does not."""
    found = {
        name: milliseconds_of(value(run.row, layout.run, name)) for name in ("created", "started", "finished")
    }
    for name, choose in (("started", min), ("finished", max)):
        if found[name] is None:
            moments = [milliseconds_of(value(step.row, layout.step, name)) for step in run.steps]
            found[name] = choose((moment for moment in moments if moment is not None), default=None)
    return {name: moment for name, moment in found.items() if moment is not None}


def _context(run: Run, layout: Layout) -> dict[str, Any]:
    inputs = parsed(value(run.row, layout.run, "inputs"))
    if isinstance(inputs, dict):
        return inputs
    return {} if inputs is None else {"input": inputs}


def _steps(
    run: Run, kind: Kind, layout: Layout, order: Order
) -> tuple[tuple[AttemptWrite, ...], tuple[EventWrite, ...]]:
    """The attempts, and their original rows; rows of one step are its tries, one after the other."""
    by_key: dict[str, list[StepRow]] = {}
    for step in run.steps:
        by_key.setdefault(step.key, []).append(step)
    attempts: list[AttemptWrite] = []
    events: list[EventWrite] = []
    for key, tries in by_key.items():
        number, generation, attempt = kind.numbers[key], 0, 0
        for position, step in enumerate(tries, start=1):
            state = _state_of(step, layout, order)
            attempt += 1
            is_outcome = position == len(tries) or state is StepState.COMPLETED
            attempts.append(
                _attempt(step, layout, (number, generation, attempt), state, is_outcome=is_outcome)
            )
            row = encode(
                {"row": step.row, "outputs": step.outputs}, what=f"the row of step {key} of run {run.id}"
            )
            events.append(EventWrite("step_imported", step_no=number, attempt=attempt, by=BY, data=row))
            if is_outcome:
                generation, attempt = generation + 1, 0
    return tuple(attempts), tuple(events)


def _state_of(step: StepRow, layout: Layout, order: Order) -> StepState:
    status = value(step.row, layout.step, "status")
    state = step_meaning_of(status, order.own)
    if state is None:
        raise Refusal(
            f"the status of its step {step.key} is {status!r}, which is not in the table: "
            "say what it means with --map"
        )
    return state


def _attempt(
    step: StepRow, layout: Layout, place: tuple[int, int, int], state: StepState, *, is_outcome: bool
) -> AttemptWrite:
    number, generation, attempt = place
    output = parsed(value(step.row, layout.step, "output"))
    if output is None and step.outputs:
        output = _outputs(step.outputs, layout)
    has_output = state is StepState.COMPLETED
    error = value(step.row, layout.step, "error")
    return AttemptWrite(
        number,
        generation,
        attempt,
        0,
        None,
        state,
        is_outcome=is_outcome,
        started_at=milliseconds_of(value(step.row, layout.step, "started")),
        finished_at=milliseconds_of(value(step.row, layout.step, "finished")),
        output=encode(output, what=f"the output of step {step.key}") if has_output else None,
        error=_error(error, why=None) if state is StepState.FAILED else None,
    )


def _outputs(rows: list[Row], layout: Layout) -> Any:
    """What a step has put out under names; the one thing itself where it has none."""
    if "value" not in layout.output:
        return rows
    values = [parsed(value(row, layout.output, "value")) for row in rows]
    names = [text_of(value(row, layout.output, "name")) for row in rows]
    if not all(names) or len(set(names)) < len(names):
        return values[0] if len(values) == 1 else values
    return dict(zip(names, values, strict=True))


def _error(told: Any, *, why: str | None) -> bytes:
    text = text_of(told if not isinstance(told, dict) else msgspec.json.encode(told).decode())
    message = why or text or "no error was recorded"
    return msgspec.json.encode(Error(type="Unfinished" if why else "Imported", message=message[:TEXT_MAX]))


def _as_name(text: str) -> str:
    """The text itself where a workflow may be called so, else as near as can be."""
    if is_name(text):
        return text
    return _UNNAMEABLE.sub("-", text)[:120].strip("-._") or "unnamed"


def _as_key(text: str) -> str:
    """The same for a step."""
    if is_key(text):
        return text
    made = "".join(character for character in _UNKEYABLE.sub("-", text) if character.isprintable())
    made = made[: KEY_MAX - 8].strip("-")
    return made if is_key(made) else "step"


def _unlike(taken: set[str], name: str) -> str:
    """The name, with a number where another one has it already."""
    number = 1
    free = name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free
