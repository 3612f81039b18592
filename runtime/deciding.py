"""What executions ask people, and the deciding of it: parts of a runtime and of a handle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any

from perdure.actors.messages import Approve, Reject
from perdure.runtime import arguments
from perdure.runtime.handle import Handle
from perdure.store.asking import PendingApproval
from perdure.store.codec import decode, encode
from perdure.store.protocol import Store
from perdure.store.scripts.questions import Questions
from perdure.store.states import State


async def asked_of(store: Store | Questions) -> AsyncIterator[PendingApproval]:
    """All that waits for people in a store, read page by page, the longest waiting first."""
    last: PendingApproval | None = None
    while page := await store.approvals(after=last):
        for one in page:
            yield one
        last = page[-1]


class Asking(ABC):
    """The part of a runtime that says what waits for people."""

    store: Store

    @abstractmethod
    def check_open(self) -> None:
        """Raise RuntimeClosed unless it runs."""

    async def approvals(self) -> list[PendingApproval]:
        """What waits for people's approval, in all executions, the longest waiting first."""
        self.check_open()
        return [one async for one in asked_of(self.store)]


class Deciding(Handle):
    """The part of a handle by which people decide."""

    async def approve(
        self,
        step: str,
        *,
        by: str,
        data: Any = None,
        comment: str | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> State:
        """Approve a step in somebody's name, before or while it asks; `data` is what its form asks for.

        Returns the state this leads to: it goes on when enough people have approved. Raises
        NotFound for no step of that key, and DecisionRefused where this person, this data or this
        moment will not do (NotAnApprover, FormMismatch), and for what has been decided already.
        """
        own = _decision(step, by=by, data=data, comment=comment)
        return await self._decide(Approve, own, command_id=command_id, expected_version=expected_version)

    async def reject(
        self,
        step: str,
        *,
        by: str,
        data: Any = None,
        comment: str | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> State:
        """Reject a step in somebody's name; one rejection decides. Raises as `approve` does."""
        own = _decision(step, by=by, data=data, comment=comment)
        return await self._decide(Reject, own, command_id=command_id, expected_version=expected_version)

    async def _decide(
        self,
        kind: type[Approve | Reject],
        own: dict[str, Any],
        *,
        command_id: str | None,
        expected_version: int | None,
    ) -> State:
        command = kind(id=self._id(command_id), expected_version=expected_version, **own)
        return (await self._ask(command)).state


def _decision(step: str, *, by: str, data: Any, comment: str | None) -> dict[str, Any]:
    """What approvals and rejections have in common."""
    return {
        "step": arguments.text(step, what="the step"),
        "by": arguments.text(by, what="by"),
        "data": decode(encode(data, what="the data of a decision")),
        "comment": arguments.text(comment, what="the comment"),
    }
