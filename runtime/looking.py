"""Looking at executions from outside: nobody is registered, nothing is written, no lock is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from perdure.actors.instructions.plan import Plan
from perdure.actors.state import code
from perdure.actors.state.execution import ExecutionState
from perdure.runtime.agents import Agents
from perdure.runtime.arguments import beginning
from perdure.runtime.language import Definition, compile_plan, definition_from_json
from perdure.runtime.near import nearest
from perdure.store import store_at
from perdure.store.errors import NotFound, PerdureError
from perdure.store.protocol import Store
from perdure.store.scripts.questions import Questions
from perdure.store.scripts.sealing import Keys
from perdure.store.sqlite.looking import SQLiteView
from perdure.store.states import State, StepState

FOUND_MAX: Final = 10  # ids that begin alike: more are not counted
FOUND_SHOWN_MAX: Final = 5  # of those
NEAR_MAX: Final = 100  # executions among which an id is looked for that was mistyped: the newest
NEAR_CHARACTERS_MIN: Final = 8  # of an id: fewer look like any other


@asynccontextmanager
async def looking_at(location: str, *, keys: Keys | None = None) -> AsyncIterator[Questions | Store]:
    """The store there, to be asked only. Raises StoreError, and MigrationError for another release's."""
    store = (
        store_at(location, keys=keys, is_view=True) if "://" in location else SQLiteView(location, keys=keys)
    )
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def find(store: Questions | Store, text: str) -> str:
    """That id, or the one that begins so; `@last` is the newest, `NAME@last` a workflow's newest.

    `@last` is never a child: whoever has started a parent means that, not what its steps have started.

    Raises NotFound where none or several do, InvalidArgument for an empty text.
    """
    if beginning(text).endswith("@last"):
        workflow = text.removesuffix("@last") or None
        newest = await store.executions(workflow=workflow, only_top=workflow is None, limit=1)
        if not newest:
            raise NotFound("execution", text, hint=await _near_name(store, workflow))
        return newest[0].id
    if await store.execution(text) is not None:
        return text
    found = await store.find(text, limit=FOUND_MAX)
    if len(found) == 1:
        return found[0]
    more = " or more" if len(found) == FOUND_MAX else ""
    begin_so = f"{len(found)}{more} ids begin so: {', '.join(found[:FOUND_SHOWN_MAX])}"
    hint = begin_so if found else await _near_id(store, text)
    raise NotFound("execution", text, hint=hint)


async def _near_name(store: Questions | Store, workflow: str | None) -> str:
    """What may have been meant by the name of a workflow that has no execution."""
    near = None if workflow is None else nearest(workflow, {each.name for each in await store.workflows()})
    return f"did you mean '{near}@last'?" if near not in {None, workflow} else "there is none yet"


async def _near_id(store: Questions | Store, text: str) -> str:
    """What may have been meant by the beginning of an id that none has, among the newest executions."""
    newest = await store.executions(limit=NEAR_MAX)
    ids = {each.id[: max(len(text), NEAR_CHARACTERS_MIN)]: each.id for each in newest}
    near = nearest(text, [*(f"{each.workflow}@last" for each in newest), "@last", *ids])
    return f"did you mean {ids.get(near, near)!r}?" if near else "see `perdure list`"


async def describe(store: Questions | Store, execution_id: str) -> dict[str, Any]:
    """All there is to say about it as the store has it: steps, waits, context. Raises NotFound."""
    loaded = await store.load(execution_id)
    if loaded is None:
        raise NotFound("execution", execution_id)
    definition, plan = await _compiled(store, loaded.execution.workflow_no, Agents())
    described = ExecutionState.fold(plan, loaded).describe()
    await _tell_skips(described["steps"], store, execution_id, definition)
    is_called_off = described["state"] in {State.CANCELLING, State.CANCELLED}
    asked = await store.events(execution_id=execution_id, type="cancel_requested") if is_called_off else []
    return described | {"cancel": asked[-1] if asked else None}


async def lacks(
    store: Questions | Store, execution_ids: Iterable[str], agents: Agents
) -> dict[str, tuple[str, ...]]:
    """What each of those executions would wait for in a process with these agents."""
    plans: dict[int, Plan] = {}
    found: dict[str, tuple[str, ...]] = {}
    for execution_id in execution_ids:
        try:
            loaded = await store.load(execution_id)
            if loaded is None:
                continue
            no = loaded.execution.workflow_no
            if no not in plans:
                _, plans[no] = await _compiled(store, no, agents)
            found[execution_id] = code.lacks(ExecutionState.fold(plans[no], loaded))
        except PerdureError as error:
            found[execution_id] = (str(error),)
    return found


async def _compiled(store: Questions | Store, workflow_no: int, agents: Agents) -> tuple[Definition, Plan]:
    record = await store.workflow_by_no(workflow_no)
    assert record is not None
    definition = definition_from_json(record.definition)
    return definition, compile_plan(
        definition, agents=agents, workflow_no=workflow_no, revision=record.revision
    )


async def _tell_skips(
    steps: Mapping[str, dict[str, Any]], store: Questions | Store, execution_id: str, definition: Definition
) -> None:
    """Say of each step that was skipped why, as the log has it; of a condition, which."""
    for step in steps.values():
        step["skipped"] = None
    skipped = {key: step for key, step in steps.items() if step["state"] == StepState.SKIPPED}
    conditions = {step.key: step.when for step in definition.steps}
    after = 0
    while skipped and (
        page := await store.events(execution_id=execution_id, type="step_skipped", after=after)
    ):
        after = page[-1].id
        for event in page:
            if event.step in skipped:
                which = {"when": conditions[event.step]} if event.data["reason"] == "when" else {}
                skipped[event.step]["skipped"] = event.data | which
