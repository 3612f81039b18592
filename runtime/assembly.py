"""Puts the machine of one runtime together, and takes it apart in the reverse order.

Each part stands on the ones before: the store, the writer, this process's bell and its entry among
the runners, the published workflows, the supervisor of the executions, recovery and callbacks. One
task group holds whatever runs; nothing of it is left when the context is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup

from perdure.actors.attempt.admission import StepSlots
from perdure.actors.attempt.guards import Guards
from perdure.actors.bus import Bus
from perdure.actors.cluster.doorbell import Doorbell
from perdure.actors.cluster.lease import Lease
from perdure.actors.cluster.membership import Membership
from perdure.actors.dispatch.queueing import Admissions
from perdure.actors.dispatch.recovery import SWEEP_S, Recovery
from perdure.actors.dispatch.routing import Routing
from perdure.actors.execution.incidents import mark_quarantined, put_aside, tell_exit, tell_stuck
from perdure.actors.execution.services import LINGER_MS, Services
from perdure.actors.execution.supervisor import Executions
from perdure.actors.helpers import Helpers
from perdure.actors.instructions.webhook import Webhook
from perdure.actors.kernel import Alarms, Supervisor, Teardown, see_through
from perdure.actors.kernel.clock import HoldableLoop
from perdure.actors.log import get_logger
from perdure.actors.watchdog import Watchdog
from perdure.actors.writer import Writer
from perdure.runtime.agents import Agents
from perdure.runtime.callbacks import StepCallback, call_back
from perdure.runtime.home import check_program, this_task
from perdure.runtime.language import Workflow
from perdure.runtime.plans import Plans
from perdure.runtime.ringing import Parts, Rung
from perdure.runtime.seams import Seams
from perdure.store.protocol import Store
from perdure.store.writes import Renew

IN_MEMORY = ":memory:"  # no other process can see such a store, so there is no bell to hang

log = get_logger("perdure.runtime")


class Blueprint(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine is to be made of."""

    store: Store
    seams: Seams
    bus: Bus
    agents: Agents
    workflows: tuple[Workflow, ...]
    kind: str
    recovers: bool
    max_active: int
    max_active_steps: int
    lease_ms: int
    crash_budget: int
    webhooks: tuple[Webhook, ...]
    on_step_start: StepCallback | None
    on_step_complete: StepCallback | None

    @property
    def performs(self) -> bool:
        """Whether this process runs steps at all."""
        return self.kind != "client"


class Machine(msgspec.Struct, kw_only=True):
    """The parts others talk to."""

    task: asyncio.Task[Any]
    """The one that has opened it, and closes it."""
    services: Services
    membership: Membership
    plans: Plans
    executions: Executions
    routing: Routing
    recovery: Recovery
    lease: Lease
    listen: Callable[[Callable[[], None]], None]
    """Let somebody else hear, too, when another process says that there is work."""


@asynccontextmanager
async def assemble(blueprint: Blueprint) -> AsyncIterator[Machine]:
    """Open the store and set everything going; on the way out the other way round."""
    check_program()
    store = blueprint.store
    try:
        await see_through(store.open)
        async with anyio.create_task_group() as group:
            writer = Writer(store)
            group.start_soon(writer.run, name="writer")
            try:
                async with _joined(blueprint, writer) as machine:
                    yield machine
            finally:
                writer.close()
    finally:
        await see_through(store.close)
    log.debug("runtime_closed", location=store.location)


@asynccontextmanager
async def _joined(blueprint: Blueprint, writer: Writer) -> AsyncIterator[Machine]:
    """This process on the list of runners, with a bell, and what needs both."""
    seams = blueprint.seams
    runner_id = seams.new_id()
    rung = Rung()
    doorbell = Doorbell(runner_id, on_ring=rung.ring, on_work=rung.work, on_company=rung.meet)
    alarms = Alarms()
    membership = Membership(
        blueprint.store,
        writer,
        runner_id=runner_id,
        kind=blueprint.kind,
        now_ms=seams.now_ms,
        lease_ms=blueprint.lease_ms,
    )

    async def leave() -> None:
        await doorbell.close()
        await membership.leave()

    try:
        if blueprint.store.location != IN_MEMORY:
            await see_through(doorbell.open)
        await membership.join(doorbell=doorbell.path)
        writer.probe_with(lambda: Renew(runner_no=membership.no, at=seams.now_ms()))
        plans = Plans(
            blueprint.store,
            writer,
            blueprint.agents,
            performs=blueprint.performs,
            webhooks=blueprint.webhooks,
        )
        with _watched_slots(blueprint.max_active_steps) as slots:
            services = Services(
                store=blueprint.store,
                writer=writer,
                clock=seams.clock,
                alarms=alarms,
                slots=slots,
                bus=blueprint.bus,
                plans=plans,
                chance=seams.chance,
                membership=membership,
                on_commit=doorbell.announce,
                crash_budget=blueprint.crash_budget,
                guards=Guards(blueprint.store, writer, membership, now_ms=seams.now_ms),
                linger_ms=LINGER_MS if blueprint.recovers or not blueprint.performs else None,
            )
            for workflow in blueprint.workflows:
                await plans.publish(workflow, at_ms=services.now_ms())
            async with anyio.create_task_group() as beating:
                try:
                    at_work = _at_work(blueprint, services, plans=plans, rung=rung, beating=beating)
                    async with at_work as machine:
                        yield machine
                finally:
                    beating.cancel_scope.cancel()  # the last to go: what unwinds slowly is still ours
    finally:
        await see_through(leave)
        alarms.close()


@contextmanager
def _watched_slots(limit: int) -> Iterator[StepSlots]:
    """Room for bodies of steps, with a watchdog for those that block the loop (virtual time has none)."""
    if isinstance(asyncio.get_running_loop(), HoldableLoop):
        yield StepSlots(limit)
        return
    watchdog = Watchdog(lambda: slots.taken > 0)
    slots = StepSlots(limit, on_busy=watchdog.wake)
    try:
        yield slots
    finally:
        watchdog.close()


@asynccontextmanager
async def _at_work(
    blueprint: Blueprint, services: Services, *, plans: Plans, rung: Rung, beating: TaskGroup
) -> AsyncIterator[Machine]:
    """The executions, and what wakes them."""
    membership = services.membership
    async with AsyncExitStack() as stack:
        supervisor = await stack.enter_async_context(_supervisor(services))
        group = await stack.enter_async_context(anyio.create_task_group())
        helpers = services.helpers(group)
        executions = _executions(blueprint, services, supervisor, helpers=helpers, rung=rung)
        routing = Routing(services, executions, membership)
        patience = blueprint.seams.patience
        recovery = Recovery(services, executions, routing, membership, sweep_s=SWEEP_S * patience)
        stack.callback(_connect(services, helpers, executions))
        stack.callback(helpers.close)
        stack.callback(routing.close)
        stack.callback(executions.close)
        lease = Lease(
            services.store,
            membership,
            alarms=services.alarms,
            owns=lambda: executions.owns_any,
            on_freed=recovery.ask,
        )
        membership.on_company = lease.note_company
        membership.on_lost = executions.doubt
        rung.connect(Parts(helpers=helpers, routing=routing, recovery=recovery, lease=lease))
        stack.callback(rung.disconnect)
        rung.hear(blueprint.store)
        beating.start_soon(lease.run, name="lease")
        if blueprint.performs:
            admissions = Admissions(services, executions, admits_all=blueprint.recovers, patience=patience)
            rung.admits(admissions, helpers)
        _start_helpers(blueprint, helpers, recovery)
        yield Machine(
            task=this_task(),
            services=services,
            membership=membership,
            plans=plans,
            executions=executions,
            routing=routing,
            recovery=recovery,
            lease=lease,
            listen=rung.listen,
        )


def _supervisor(services: Services) -> Supervisor:
    """Who watches over the executions: a crash of one is written down and concerns no other."""
    supervisor = Supervisor(
        name="executions",
        random=services.chance,
        on_exit=lambda exit_: tell_exit(exit_, services.writer),
        on_dead_letter=lambda letter: put_aside(letter, supervisor),
        on_stuck=tell_stuck,
        teardown=Teardown.TOGETHER,
    )
    return supervisor


def _executions(
    blueprint: Blueprint, services: Services, supervisor: Supervisor, *, helpers: Helpers, rung: Rung
) -> Executions:
    """The executions of this process; what they have to tell others is told by helpers."""
    membership = services.membership

    def ring_workers() -> None:
        helpers.start_soon(membership.try_to_ring_workers, name="ring")

    def mark(execution_id: str, error: BaseException | None) -> None:
        helpers.start_soon(mark_quarantined, services, execution_id, error)

    return Executions(
        services,
        supervisor,
        membership,
        max_active=blueprint.max_active,
        on_room=rung.sweep,
        on_free=rung.free,
        on_queued=rung.queued,
        on_left=ring_workers,
        on_lost=rung.beat,
        on_quarantine=mark,
        on_unsure=rung.ring,
        on_mail=rung.deliver,
        on_undo=rung.undo,
    )


def _connect(services: Services, helpers: Helpers, executions: Executions) -> Callable[[], None]:
    """Let guards tell executions of room; answers what ends that."""
    assert services.guards is not None
    services.guards.connect(spawn=helpers.start_soon, nudge=executions.nudge)
    return services.guards.disconnect


def _start_helpers(blueprint: Blueprint, helpers: Helpers, recovery: Recovery) -> None:
    on_start, on_complete = blueprint.on_step_start, blueprint.on_step_complete
    if blueprint.recovers:
        helpers.keep(recovery.run, name="recovery")
    if on_start is not None or on_complete is not None:
        helpers.keep(lambda: call_back(blueprint.bus, on_start, on_complete), name="callbacks")
