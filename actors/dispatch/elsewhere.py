"""The way to an execution that another process owns: its durable inbox, and a bell that is rung."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from perdure.actors.cluster.doorbell import call
from perdure.actors.cluster.membership import Membership
from perdure.actors.effects.inbox import answer_from, payload_of
from perdure.actors.errors import RuntimeClosed
from perdure.actors.execution.reading import read_back
from perdure.actors.execution.services import Services
from perdure.actors.messages import Answer, AnyCommand
from perdure.store.errors import NotFound, PerdureError
from perdure.store.records import Execution, Runner
from perdure.store.writes import Post


class Elsewhere:
    """Finds owners in other processes and asks them."""

    def __init__(
        self, services: Services, membership: Membership, *, on_orphan: Callable[[str], Awaitable[None]]
    ) -> None:
        """`on_orphan` is called with an execution that no other process has any more while it is being asked.

        What it raises is told to who asked.
        """
        self._services = services
        self._membership = membership
        self._on_orphan = on_orphan
        self._waits: set[anyio.CancelScope] = set()
        self._is_closed = False

    def close(self) -> None:
        """Let nobody wait any longer: the runtime closes, and what was posted is the owner's."""
        self._is_closed = True
        for wait in self._waits:
            wait.cancel()

    async def owner(self, execution: Execution) -> Runner | None:
        """The living runner in another process that has the execution, if any."""
        if execution.runner is None or execution.runner == self._membership.id:
            return None
        return await self._membership.find(execution.runner)

    async def ask(self, execution_id: str, command: AnyCommand, owner: Runner) -> Answer:
        """Post the command durably, ring, and wait for the answer, whoever gives it in the end.

        Raises RuntimeClosed when that has not come before the runtime closes.
        """
        services = self._services
        message_no = await services.writer.write(
            Post(
                execution_id=execution_id,
                command_id=command.id,
                kind=type(command).__name__,
                payload=payload_of(command),
                sender=command.by,
                at=services.now_ms(),
            )
        )
        assert isinstance(message_no, int)
        with anyio.CancelScope() as wait:
            self._waits.add(wait)
            if self._is_closed:
                wait.cancel()
            try:
                return await self._answer(execution_id, message_no, owner)
            finally:
                self._waits.discard(wait)
        raise RuntimeClosed(
            f"the runtime closed before {execution_id} answered, and the command is on its way; "
            f"to learn what became of it, give it again under its id {command.id}"
        )

    async def _answer(self, execution_id: str, message_no: int, owner: Runner) -> Answer:
        """Wait for what becomes of a message, whoever performs the execution by then.

        Also while the store is down: to be told so would say that the command was not given.
        """
        while True:
            async with call(owner.doorbell) as line:
                line.say(f"watch {execution_id}")
                line.say(f"ring {execution_id}")
                present: Runner | None = owner
                while present is None or present.id == owner.id:
                    message = await read_back(self._services, lambda store: store.message(message_no))
                    if message is None:
                        raise NotFound(
                            "execution", execution_id, hint="it was deleted, and the command with it"
                        )
                    if message.answer is not None:
                        answer = answer_from(message.answer)
                        if isinstance(answer, PerdureError):
                            raise answer
                        return answer
                    await line.wait()
                    present = await read_back(self._services, lambda _: self._look_after(execution_id))
            owner = present  # it has not heard of the message yet

    async def _look_after(self, execution_id: str) -> Runner | None:
        """Who owns it elsewhere by now. With nobody there, the execution, and the message, is ours."""
        execution = await self._services.store.execution(execution_id)
        if execution is None:
            return None
        owner = await self.owner(execution)
        if owner is None:
            await self._on_orphan(execution_id)
        return owner
