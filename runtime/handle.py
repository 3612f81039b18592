"""What every part of an execution's handle rests on: its id, and the way to the runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perdure.actors.messages import Answer, AnyCommand
from perdure.runtime import arguments
from perdure.store.errors import NotFound

if TYPE_CHECKING:
    from perdure.runtime.runtime import Runtime


class Handle:
    """One execution, by its id. Cheap: it holds nothing but the id and the way to the runtime."""

    def __init__(self, runtime: Runtime, execution_id: str) -> None:
        """Made by `Runtime.start` and `Runtime.execution`."""
        self.id = execution_id
        self._bound_to = runtime

    async def declared_inputs(self) -> Mapping[str, Any] | None:
        """The JSON Schema that its workflow declares for the context, if it declares one. Raises NotFound."""
        runtime = self._runtime
        stored = await runtime.store.execution(self.id)
        if stored is None:
            raise NotFound("execution", self.id)
        return (await runtime.machine.plans.revision(stored.workflow_no)).definition.inputs

    @property
    def _runtime(self) -> Runtime:
        """The runtime while it is open. Raises RuntimeClosed."""
        self._bound_to.check_open()
        return self._bound_to

    async def _ask(self, command: AnyCommand) -> Answer:
        """Let the command be applied, wherever the execution is. Raises InvalidArgument, and its refusal."""
        arguments.text(command.by, what="by")
        arguments.version(command.expected_version, what="expected_version")
        return await self._runtime.machine.routing.ask(self.id, command)

    def _id(self, given: str | None) -> str:
        """The id of a command: the caller's, or a new one."""
        return arguments.text(given, what="command_id") or self._runtime.seams.new_id()
