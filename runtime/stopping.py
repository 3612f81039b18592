"""What people do to stop an execution for good, with what it has done or without: part of its handle."""

from __future__ import annotations

from perdure.actors.messages import Cancel, Rollback
from perdure.runtime import arguments
from perdure.runtime.handle import Handle
from perdure.store.states import State


class Stopping(Handle):
    """The part of `Execution` that stops it; both commands answer with the end it has come to."""

    async def cancel(
        self,
        reason: str | None = None,
        *,
        compensate: bool = False,
        by: str | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> State:
        """Stop it for good: running steps are cancelled through their scopes. Returns the end.

        `compensate`: undo what it has done, too, as `rollback` does. A cancel while a hook runs cuts it
        short; one while it is rolled back leaves what is not undone yet, and `retry` goes on with that.
        """
        command = Cancel(
            id=self._id(command_id),
            by=by,
            expected_version=expected_version,
            reason=arguments.text(reason, what="the reason"),
            compensate=compensate,
        )
        return (await self._ask(command)).state

    async def rollback(
        self,
        reason: str | None = None,
        *,
        by: str | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> State:
        """Stop it and undo what it has done: compensations run, last things first. Returns the end.

        That is `rolled_back`, or `failed` where something could not be undone: `retry` then goes on with
        it. Also the past of one that has ended can be undone. Where nothing here can perform the
        compensations it returns `compensating`, and a runner that can goes on. Raises IllegalTransition
        when it has ended and nothing that completed has a compensation.
        """
        command = Rollback(
            id=self._id(command_id),
            by=by,
            expected_version=expected_version,
            reason=arguments.text(reason, what="the reason"),
        )
        return (await self._ask(command)).state
