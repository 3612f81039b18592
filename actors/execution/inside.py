"""What the body of a step may see of its execution, and of what is in the store beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from perdure.actors.state.execution import ExecutionState
from perdure.actors.state.values import StepValues
from perdure.store.errors import NotFound
from perdure.store.protocol import Store
from perdure.store.records import PAGE_MAX


class BodyValues(StepValues):
    """The values of a step, and the way to those that are too many for one list."""

    __slots__ = ("_store",)

    def __init__(self, state: ExecutionState, step_no: int, *, store: Store) -> None:
        """Look at that state, for that step; read items from that store."""
        super().__init__(state, step_no)
        self._store = store

    async def items(self, key: str) -> AsyncIterator[Any]:
        """What the items of another step gave, in order: from its list, or where that is too long in pages.

        Raises NotFound unless it is a step that goes over items and has completed.
        """
        step = next((step for step in self._state.plan.steps if step.key == key), None)
        output = None if step is None or step.for_each is None else self._state.output(step.no)
        if output is None:
            raise NotFound("completed step with forEach", key)
        if isinstance(output, list):
            for each in output:
                yield each
            return
        after = -1
        while after < output["total"] - 1:
            page = await self._store.items(
                output["execution_id"], output["step"], lineage=output["lineage"], after=after, limit=PAGE_MAX
            )
            for item in page:
                yield None if item.output is None else msgspec.json.decode(item.output)
            if not page:
                raise NotFound("items of step", key, hint=f"execution {output['execution_id']} is gone")
            after = page[-1].item
