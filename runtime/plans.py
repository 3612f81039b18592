"""Revisions in their executable form: published once, compiled once, looked up by everyone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from weakref import WeakKeyDictionary

import anyio
import msgspec

from perdure.actors.instructions.plan import Plan
from perdure.actors.instructions.webhook import Webhook
from perdure.actors.log import get_logger
from perdure.actors.writer import Writer
from perdure.runtime.agents import Agents, InputError
from perdure.runtime.arguments import InvalidArgument, plain_values
from perdure.runtime.language import Definition, TemplateError, Workflow, compile_plan, definition_from_json
from perdure.runtime.language.beside import beside_the_graph
from perdure.runtime.language.demands import Contexts
from perdure.runtime.language.inputs import filled
from perdure.runtime.language.scheduling import rules_of
from perdure.runtime.language.waits import performer_of
from perdure.runtime.schedules.declaring import declared
from perdure.store.codec import encode
from perdure.store.errors import NotFound
from perdure.store.protocol import Store
from perdure.store.schedule_writes import DeleteSchedule, PutSchedule
from perdure.store.states import Role
from perdure.store.writes import Publish, PublishStep

PLANS_MAX: Final = 1_000  # compiled revisions kept; the least recently used goes first
TAKEN_HINT: Final = (
    "another workflow of this name and shape was published before, with local functions of the same "
    "place: its executions go on with those of this one; give each a name of its own, or publish one"
)

log = get_logger("perdure.runtime")


class Revision(msgspec.Struct, frozen=True):
    """A stored revision with its definition and its plan."""

    record_no: int
    name: str
    definition: Definition
    plan: Plan
    contexts: Contexts
    changes: int
    """How often agents had been registered when it was compiled."""


class Plans:
    """The cache of compiled revisions. Forgetting is always safe: the store has the definition."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        agents: Agents,
        *,
        performs: bool,
        webhooks: tuple[Webhook, ...] = (),
    ) -> None:
        """`performs` False: this process never runs a step, whatever it could import.

        `webhooks` are told of every execution, besides those of its workflow.
        """
        self._store = store
        self._writer = writer
        self._agents = agents if performs else Agents()
        self._performs = performs
        self._webhooks = webhooks
        self._revisions: OrderedDict[int, Revision] = OrderedDict()
        self._of_workflow: WeakKeyDictionary[Workflow, Revision] = WeakKeyDictionary()
        self._publishing = anyio.Lock()
        self._has_declared = False
        self._told: set[str] = set()

    async def plan(self, workflow_no: int, *, context: Mapping[str, Any] | None = None) -> Plan:
        """The plan of a stored revision; compiled anew as long as code for it is missing.

        Also where it does not fit that context, and other code has been registered since.
        """
        known = self._revisions.get(workflow_no)
        is_outdated = known is not None and known.changes != self._agents.changes
        if known is not None and is_outdated and context is not None and not known.plan.fits(context):
            del self._revisions[workflow_no]
        return (await self.revision(workflow_no)).plan

    async def revision(self, workflow_no: int) -> Revision:
        """A stored revision by its key. Raises NotFound."""
        known = self._revisions.get(workflow_no)
        if known is not None and (known.plan.is_performable or not self._performs):
            self._revisions.move_to_end(workflow_no)
            return known
        record = await self._store.workflow_by_no(workflow_no)
        if record is None:
            raise NotFound("workflow", f"number {workflow_no}")
        return self._remember(record.no, record.revision, definition_from_json(record.definition))

    async def publish(self, workflow: Workflow, *, at_ms: int) -> Revision:
        """Store a workflow's revision, make it the active one, and register its functions."""
        latest = self._published(workflow)
        if latest is not None:
            return latest
        async with self._publishing:  # of many who start a new workflow at once, one publishes it
            return self._published(workflow) or await self._publish(workflow, at_ms=at_ms)

    def forget(self, workflow: Workflow) -> None:
        """Publish it anew the next time: its name may stand for another revision by now, or for none."""
        self._of_workflow.pop(workflow, None)

    def _published(self, workflow: Workflow) -> Revision | None:
        """The revision of this very workflow object, unless it has changed or code for it is missing."""
        latest = self._of_workflow.get(workflow)
        if latest is None or latest.definition is not workflow.definition or not latest.plan.is_performable:
            return None
        return latest

    def has_declared(self) -> bool:
        """Whether schedules have been declared, or taken back, since this was asked last."""
        answer, self._has_declared = self._has_declared, False
        return answer

    async def _publish(self, workflow: Workflow, *, at_ms: int) -> Revision:
        definition = workflow.definition
        revision = workflow.revision
        self._register(workflow)
        declarations = await self._declarations(definition, at_ms)
        no = await self._writer.write(_publication(definition, revision, at_ms))
        assert isinstance(no, int)
        for declaration in declarations:
            with suppress(NotFound):  # somebody else who publishes the same has deleted it
                await self._writer.write(declaration)
            self._has_declared = True
        compiled = self._remember(no, revision, definition)
        self._of_workflow[workflow] = compiled
        return compiled

    async def _declarations(
        self, definition: Definition, at_ms: int
    ) -> Sequence[PutSchedule | DeleteSchedule]:
        """What its publication changes among schedules.

        Raises InvalidArgument for ids others have, and for an input with which no start would be accepted.
        """
        existing = await self._store.schedules(workflow=definition.name)
        if not definition.schedule and not existing:
            return ()
        rules = rules_of(definition)
        contexts = Contexts(definition)
        for id_, rule in rules.items():
            try:
                contexts.check(filled(definition.inputs, rule.input or {}), self._agents)
            except (InputError, TemplateError) as error:
                raise InvalidArgument(f"schedule {id_!r}: no start would be accepted: {error}") from error
        for id_ in rules.keys() - {schedule.id for schedule in existing}:
            other = await self._store.schedule(id_)
            if other is not None:
                raise InvalidArgument(
                    f"workflow {definition.name!r} declares the schedule {id_!r}, which {other.workflow!r} "
                    "has: give it another id"
                )
        return declared(definition.name, rules, existing, now=at_ms)

    def _register(self, workflow: Workflow) -> None:
        """Register its functions, and say, once, when that takes local functions' names from others.

        A revision is told by its graph and by names. Local functions of one place share theirs, so two
        workflows of one name may be one revision and do different things.
        """
        taken = []
        for name, function in workflow.functions.items():
            known = self._agents.find(name) if name in self._agents else None
            agent = self._agents.add(name, function, replace=True)
            if "<" in name and known is not None and known.function != agent.function:
                taken.append(name)
        if taken and workflow.name not in self._told:
            self._told.add(workflow.name)
            log.warning("local_functions_replaced", workflow=workflow.name, functions=taken, hint=TAKEN_HINT)

    async def active(self, name: str) -> Revision:
        """The active revision of that name. Raises NotFound."""
        record = await self._store.workflow(name)
        if record is None:
            names = sorted({other.name for other in await self._store.workflows()})
            hint = f"published are: {', '.join(names[:10])}" if names else "nothing is published yet"
            raise NotFound("workflow", name, hint=hint)
        return await self.revision(record.no)

    async def callee(
        self, name: str, *, version: str | None, context: dict[str, Any]
    ) -> tuple[Plan, dict[str, Any]]:
        """The plan of a workflow that a step calls, and the context to start it with, as `start` makes it.

        It is the active revision of that name, or the newest one labelled `version`. Raises NotFound,
        InputError, NotSerializable, PayloadTooLarge.
        """
        revision = await self.active(name) if version is None else await self._labelled(name, version)
        plain = filled(revision.definition.inputs, plain_values(context, "the input of a child"))
        revision.contexts.check(plain, self._agents)
        return revision.plan, plain

    async def _labelled(self, name: str, version: str) -> Revision:
        record = await self._store.workflow(name, version=version)
        if record is None:
            raise NotFound("workflow", f"{name} {version}")
        return await self.revision(record.no)

    def _remember(self, no: int, revision: str, definition: Definition) -> Revision:
        plan = compile_plan(definition, agents=self._agents, workflow_no=no, revision=revision)
        if self._webhooks:
            others = (each for each in self._webhooks if each not in plan.webhooks)
            plan = msgspec.structs.replace(plan, webhooks=(*plan.webhooks, *others))
        compiled = Revision(no, definition.name, definition, plan, Contexts(definition), self._agents.changes)
        self._revisions[no] = compiled
        while len(self._revisions) > PLANS_MAX:
            self._revisions.popitem(last=False)
        return compiled


def _publication(definition: Definition, revision: str, at_ms: int) -> Publish:
    """A definition as the store keeps it: the document, and its graph in rows.

    Schedules have a place of their own: they may change, and a revision never does.
    """
    plan = compile_plan(definition, agents=Agents(), workflow_no=0, revision=revision)
    agents = {step.key: performer_of(step) for step in definition.steps}
    agents |= {each.step.key: each.agent for each in beside_the_graph(definition)}
    return Publish(
        name=definition.name,
        revision=revision,
        version=definition.version,
        description=definition.description,
        author=definition.author,
        tags=tuple(definition.tags),
        definition=encode(msgspec.structs.replace(definition, schedule=())),
        steps=tuple(
            PublishStep(
                no=step.no,
                key=step.key,
                level=step.level,
                agent=agents[step.key],
                needs=step.needs if step.role is Role.GRAPH else (),
                role=step.role,
            )
            for step in plan.steps
        ),
        at=at_ms,
    )
