"""What a fork takes over from its source: the facts as they were at one position of the log."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.actors.decider.reopening import downstream, shared, step_named
from perdure.actors.effects.sharing import Past
from perdure.actors.execution.reading import find_restore_point
from perdure.actors.execution.services import Plans
from perdure.actors.instructions.plan import Plan
from perdure.runtime.arguments import InvalidArgument
from perdure.store.errors import NotFound
from perdure.store.protocol import Store
from perdure.store.records import Execution
from perdure.store.states import StepState
from perdure.store.writes import ForkWrite


class Fork(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to be forked, and from where on."""

    source_id: str
    step: str | None
    checkpoint: str | int | None
    edit: dict[str, Any]
    by: str | None


async def look_back(store: Store, plans: Plans, wish: Fork) -> tuple[Execution, dict[str, Any], Past]:
    """The source, the context the fork begins with, and what it shares. Raises NotFound."""
    if wish.step is not None and wish.checkpoint is not None:
        raise InvalidArgument("from_step and from_checkpoint exclude each other: leave one of them out")
    source = await store.execution(wish.source_id)
    if source is None:
        raise NotFound("execution", wish.source_id)
    plan = await plans.plan(source.workflow_no)
    version = source.version
    if wish.checkpoint is not None:
        point = await find_restore_point(store, source.id, wish.checkpoint)
        if isinstance(point, NotFound):
            raise point
        version = point.version
    context = await store.context_at(source.id, version) | wish.edit
    outcomes = {outcome.step_no: outcome for outcome in await store.fold(source.id, version)}
    without = _without(plan, wish.step)
    if source.rollback_reason is not None:  # what a rollback has skipped is decided anew
        without |= {no for no, outcome in outcomes.items() if outcome.state is StepState.SKIPPED}
    found = shared(plan, outcomes, without=without)
    past = Past(
        fork=ForkWrite(source_id=source.id, source_version=version, by=wish.by),
        outcomes=tuple(outcomes[step_no] for step_no in sorted(found)),
        origin=wish.step if wish.checkpoint is None else wish.checkpoint,
    )
    return source, context, past


def _without(plan: Plan, key: str | None) -> frozenset[int]:
    """What the fork is to run itself."""
    if key is None:
        return frozenset()
    step_no = step_named(plan, key)
    if isinstance(step_no, NotFound):
        raise step_no
    return frozenset(downstream(plan, [step_no]))
