"""The workflows that a runtime's store knows: published, looked up, taken out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from perdure.runtime.language import Workflow
from perdure.runtime.plans import Revision
from perdure.runtime.versions import Versions
from perdure.store.errors import NotFound
from perdure.store.protocol import Store
from perdure.store.records import Workflow as WorkflowRecord
from perdure.store.writes import DeleteWorkflow

if TYPE_CHECKING:
    from perdure.runtime.assembly import Machine
    from perdure.runtime.runtime import Runtime


class Catalogue(ABC):
    """The part of a runtime that is about definitions."""

    store: Store
    machine: Machine

    @abstractmethod
    def check_open(self) -> None:
        """Raise RuntimeClosed outside the `async with`."""

    @abstractmethod
    async def _publish(self, workflow: Workflow) -> Revision:
        """Store a workflow's revision, make it the active one and register its functions."""

    @property
    def versions(self: Runtime) -> Versions:  # type: ignore[misc]  # the whole of which this is a part
        """The versions of workflows: list, activate, compare them, move executions between them."""
        self.check_open()
        return Versions(self)

    async def publish(self, workflow: Workflow) -> WorkflowRecord:
        """Store a workflow's revision and make it the active one of its name.

        The same content is the same revision, however often it is published. Raises DefinitionError.
        """
        self.check_open()
        if isinstance(workflow, Workflow):
            self.machine.plans.forget(workflow)
        revision = await self._publish(workflow)
        record = await self.store.workflow_by_no(revision.record_no)
        assert record is not None
        return record

    async def workflows(self) -> list[WorkflowRecord]:
        """The active revision of each workflow, by name."""
        self.check_open()
        return await self.store.workflows()

    async def workflow(self, name: str, *, version: str | None = None) -> WorkflowRecord:
        """The active revision of that name, or the one labelled `version`. Raises NotFound."""
        self.check_open()
        record = await self.store.workflow(name, version=version)
        if record is None:
            raise NotFound("workflow", name if version is None else f"{name} {version}")
        return record

    async def delete_workflow(self, name: str, revision: str) -> None:
        """Delete a revision that no execution uses. Raises NotFound, IllegalTransition."""
        self.check_open()
        await self.machine.services.writer.write(DeleteWorkflow(name=name, revision=revision))
