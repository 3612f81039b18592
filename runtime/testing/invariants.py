"""The one checker of what must always hold: in any store, after any test, beside any ledger.

It reads the store as it is and asks five things of every execution. Is the log a story that may
happen (`history`)? Do the rows say the same as the log? Was every acknowledgement kept? Does it say the
same as those it has to do with: its inbox, its parent, its children, its outbox (`relations`)? And does a
ledger outside the store, written by the steps themselves, show an effect more often than the log
explains: once for each time an attempt was started, and started again only after an interruption?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Final

import msgspec

from perdure.runtime.language import definition_from_json
from perdure.runtime.testing.history import History, StepHistory
from perdure.runtime.testing.items import check_items, is_of_an_item
from perdure.runtime.testing.relations import Families, all_events, check_inbox, check_outbox
from perdure.store.protocol import Store
from perdure.store.records import PAGE_MAX, Attempt, Event, Execution, Loaded
from perdure.store.states import SETTLED_STEP, TERMINAL, State, StepState

RESTING: Final = frozenset({State.PAUSED, *TERMINAL})


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a ledger: a body has acted on the world. Made from its `StepContext`."""

    execution_id: str
    step: str
    generation: int
    attempt: int
    idempotency_key: str


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody was told that an execution was started, or that a command has changed it."""

    execution_id: str
    command_id: str | None = None


async def check_store(
    store: Store,
    *,
    ledger: Iterable[Effect] | None = None,
    acknowledged: Iterable[Acknowledged] = (),
) -> list[str]:
    """A sentence for each thing that must not be; empty when all is well.

    The store is open and nobody moves its executions meanwhile. `ledger` holds every effect of the
    steps that write into it, `acknowledged` what callers were told before the last crash.
    """
    found = await store.verify()
    effects = list(ledger or ())
    promised = list(acknowledged)
    known: set[str] = set()
    families = Families(store)
    async for execution_id in _ids(store):
        known.add(execution_id)
        found += await _check_execution(
            store,
            execution_id,
            families=families,
            effects=[effect for effect in effects if effect.execution_id == execution_id],
            commands=[told.command_id for told in promised if told.execution_id == execution_id],
        )
    lost = {told.execution_id for told in promised} - known
    strange = {effect.execution_id for effect in effects} - known
    found += [f"execution {id_} was acknowledged and is not in the store" for id_ in sorted(lost)]
    found += [f"execution {id_} has acted and is not in the store" for id_ in sorted(strange)]
    return found


async def _ids(store: Store) -> AsyncIterator[str]:
    after: str | None = None
    while page := await store.executions(limit=PAGE_MAX, after=after):
        for summary in page:
            yield summary.id
        after = page[-1].id


async def _check_execution(
    store: Store,
    execution_id: str,
    *,
    families: Families,
    effects: list[Effect],
    commands: list[str | None],
) -> list[str]:
    loaded = await store.load(execution_id)
    if loaded is None:
        return []  # deleted meanwhile
    execution = loaded.execution
    events = await all_events(store, execution_id)
    history = await _history(store, execution, events)
    attempts = await store.attempts(execution_id)
    of_items = [effect for effect in effects if is_of_an_item(effect, history)]
    effects = [effect for effect in effects if effect not in of_items]
    found = [
        *history.problems,
        *_end_and_log(execution, history),
        *_rows_and_log(attempts, history),
        *_acknowledgements(loaded, history, commands),
        *_effects(effects, history),
        *await check_items(store, execution_id, history, of_items),
        *await check_inbox(store, execution_id, history),
        *await check_outbox(store, execution_id, events),
        *await families.check(execution),
    ]
    return [f"execution {execution_id}: {sentence}" for sentence in found]


async def _history(store: Store, execution: Execution, events: list[Event]) -> History:
    """The log of the execution, read again, by the graph of each version it was one of."""
    moves = [event.data for event in events if event.type == "workflow_migrated"]
    revisions = [move["from"]["revision"] for move in moves[:1]] + [move["to"]["revision"] for move in moves]
    name = execution.workflow
    histories = [await _empty(store, name, revision) for revision in revisions or [execution.revision]]
    history = histories[0]
    history.versions = dict(zip(revisions[1:], histories[1:], strict=True))
    history.read(events)
    return history


async def _empty(store: Store, name: str, revision: str) -> History:
    """A history of that version in which nothing has happened."""
    workflow = await store.workflow(name, revision=revision)
    assert workflow is not None
    definition = definition_from_json(workflow.definition)
    optional = frozenset(step.key for step in definition.steps if step.optional)
    policies = {step.key: step.dependencies_policy for step in definition.steps}
    return History(await store.steps(workflow.no), optional=optional, policies=policies)


def _end_and_log(execution: Execution, history: History) -> list[str]:
    """Terminal is what the log has ended with, and nothing else is."""
    end = execution.state if execution.is_terminal else None
    if end is history.end:
        return []
    return [f"it is {execution.state.value}, and its log ends {history.end and history.end.value}"]


def _rows_and_log(attempts: list[Attempt], history: History) -> list[str]:
    """Every step stands where the log leaves it, with the outcomes the log tells of."""
    found: list[str] = []
    for step in history.steps.values():
        rows = [attempt for attempt in attempts if attempt.step == step.key]
        found += [f"step {step.key!r}: {sentence}" for sentence in _step_and_log(rows, step)]
    return found


def _step_and_log(rows: list[Attempt], step: StepHistory) -> list[str]:
    outcomes = [row for row in rows if row.is_outcome]
    found = [
        f"generation {generation} has {count} outcomes"
        for generation, count in Counter(row.generation for row in outcomes).items()
        if count > 1
    ]
    found += [f"an outcome is {row.state.value}" for row in outcomes if row.state not in SETTLED_STEP]
    in_rows = {(row.settled_version, row.generation, row.attempt, row.state) for row in outcomes}
    in_log = {(told.version, told.generation, told.attempt, told.state) for told in step.outcomes}
    found += [f"outcome {row} is in the rows and not in the log" for row in in_rows - in_log]
    found += [f"outcome {row} is in the log and not in the rows" for row in in_log - in_rows]
    if rows:
        row = max(rows, key=lambda row: (row.generation, row.attempt))
        stands = (row.state, row.generation, row.attempt, row.lineage)
        should = (step.state, step.generation, step.attempt, step.lineage)
        if stands != should:
            found.append(f"its row says {stands}, its log {should}")
    elif step.has_row:
        found.append("the log tells of it, and there is no row")
    return found


def _acknowledgements(loaded: Loaded, history: History, commands: list[str | None]) -> list[str]:
    """What callers were told is in the log, once; at rest nobody is left without an answer."""
    found = [
        f"command {id_} was applied {count} times" for id_, count in history.commands.items() if count > 1
    ]
    found += [
        f"command {id_} was acknowledged and is not in the log"
        for id_ in commands
        if id_ is not None and id_ not in history.commands
    ]
    if loaded.execution.state in RESTING and loaded.execution.runner is None:
        found += [
            f"message {message.no} ({message.kind}) was applied and never answered"
            for message in loaded.inbox
            if message.applied_version is not None and message.answer is None
        ]
    return found


def _effects(effects: list[Effect], history: History) -> list[str]:
    """No effect without a start that was durable before it, no outcome without its effect, one key each."""
    found: list[str] = []
    made = Counter((effect.step, effect.generation, effect.attempt) for effect in effects)
    for (key, generation, attempt), times in made.items():
        step = history.steps.get(key)
        starts = history.gone[key, generation, attempt]
        starts += 0 if step is None else step.starts[generation, attempt]
        if times > starts:
            which = f"attempt {attempt} of {key!r} (generation {generation})"
            found.append(f"{which} acted {times} times and was started {starts} times")
    for key in {effect.step for effect in effects} & set(history.steps):
        step = history.steps[key]
        found += [
            f"attempt {told.attempt} of {key!r} (generation {told.generation}) completed and never acted"
            for told in step.outcomes
            if told.state is StepState.COMPLETED
            and step.starts[told.generation, told.attempt]
            and not made[key, told.generation, told.attempt]
        ]
        found += _keys([effect for effect in effects if effect.step == key], step)
    return found


def _keys(effects: list[Effect], step: StepHistory) -> list[str]:
    """One idempotency key for each lineage (and iteration), and none for two."""
    pairs = {(step.lineage_of.get(effect.generation), effect.idempotency_key) for effect in effects}
    lineages = Counter(lineage for lineage, _ in pairs)
    keys = Counter(key for _, key in pairs)
    found = [f"{step.key!r} acted under {count} idempotency keys" for count in lineages.values() if count > 1]
    return found + [f"{step.key!r} used {key} for another lineage" for key, n in keys.items() if n > 1]
