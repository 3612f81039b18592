"""What every execution of one runtime shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from anyio.abc import TaskGroup

from perdure.actors.attempt.admission import StepSlots
from perdure.actors.attempt.guards import Guards
from perdure.actors.bus import Bus
from perdure.actors.cluster.membership import Membership
from perdure.actors.effects.workload import Workload
from perdure.actors.helpers import Helpers
from perdure.actors.instructions.plan import Plan
from perdure.actors.kernel import Alarms, Clock
from perdure.actors.state.trial import CRASH_BUDGET
from perdure.actors.writer import Writer
from perdure.store.errors import PerdureError, StoreError
from perdure.store.protocol import Store

LINGER_MS: Final = 10_000  # an execution that waits for less stays hot: no release, no new claim


class Plans(Protocol):
    """Where the machine gets the executable form of a revision."""

    async def plan(self, workflow_no: int, *, context: Mapping[str, Any] | None = None) -> Plan:
        """Compile a revision (or take it from a cache); what is not registered here is `missing`.

        One that does not fit that context is compiled anew once other code has been registered.
        """
        ...

    async def callee(
        self, name: str, *, version: str | None, context: dict[str, Any]
    ) -> tuple[Plan, dict[str, Any]]:
        """The plan of a published workflow, and the context to start it with, checked and filled in.

        Raises NotFound, InvalidContext, NotSerializable.
        """
        ...


class Outbox:
    """Rung when something has been put into the outbox of the store."""

    def __init__(self) -> None:
        """Nobody listens yet."""
        self.on_mail: Callable[[], None] = lambda: None


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The seams and services that actors work through; nothing here belongs to one execution."""

    store: Store
    writer: Writer
    clock: Clock
    alarms: Alarms
    slots: StepSlots
    bus: Bus
    plans: Plans
    chance: Callable[[], float]
    membership: Membership
    on_commit: Callable[[str], None]
    crash_budget: int = CRASH_BUDGET  # deaths that fail a step, see `trial`
    guards: Guards | None = None
    workload: Workload = msgspec.field(default_factory=Workload)
    outbox: Outbox = msgspec.field(default_factory=Outbox)
    linger_ms: int | None = LINGER_MS  # None: an execution taken up here stays here to its end

    async def missing(self, workflow_no: int) -> tuple[str, ...]:
        """What a revision needs and this process does not have; all of it when it cannot be compiled."""
        try:
            return (await self.plans.plan(workflow_no)).missing
        except StoreError:
            raise
        except PerdureError as error:
            return (str(error),)

    def helpers(self, group: TaskGroup) -> Helpers:
        """Those of a group, for services that look after all executions."""
        return Helpers(group, alarms=self.alarms, chance=self.chance)

    def now_ms(self) -> int:
        """Wall time in ms since 1970."""
        return int(self.clock.now() * 1000)


class Missing:
    """What revisions need and this process lacks, each found out once: for one look at many executions.

    To find it out is to read and compile a definition anew, for as long as anything is missing.
    """

    def __init__(self, services: Services) -> None:
        """Nothing is known yet."""
        self._services = services
        self._known: dict[int, tuple[str, ...]] = {}

    async def of(self, workflow_no: int) -> tuple[str, ...]:
        """What that revision needs and this process does not have."""
        known = self._known.get(workflow_no)
        if known is None:
            known = self._known[workflow_no] = await self._services.missing(workflow_no)
        return known
