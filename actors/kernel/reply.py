"""The single-use cell in which the answer to an ask arrives."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure.actors.kernel.errors import AskFailed


class Reply:
    """Where the answer to one question goes.

    It is answered once; whatever comes after the first answer, or after the asker gave up, is
    ignored. So an actor can always answer and need not know whether anybody still listens.
    """

    __slots__ = ("_answer", "is_kept")

    def __init__(self) -> None:
        """An open cell of the running loop."""
        self.is_kept = False
        self._answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def is_open(self) -> bool:
        """Whether somebody still waits for the answer."""
        return not self._answer.done()

    def answer(self, value: Any = None) -> None:
        """Give the answer."""
        if not self._answer.done():
            self._answer.set_result(value)

    def fail(self, error: BaseException) -> None:
        """Give an error for an answer; it is raised where the question was asked.

        A cancellation or an exit arrives as `AskFailed`: raised as itself it would end the asker.
        """
        if self._answer.done():
            return
        if not isinstance(error, Exception) or isinstance(error, StopIteration):
            error = AskFailed(error)
        self._answer.set_exception(error)

    def keep(self) -> None:
        """Say that it is held where the actor's next incarnation finds it.

        A restart then leaves it open; otherwise an acknowledged message that was not answered is
        answered with ActorRestarted. The end of the actor answers it in any case.
        """
        self.is_kept = True

    def revoke(self) -> None:
        """Stop listening: the asker gave up."""
        if not self._answer.cancel() and not self._answer.cancelled():
            self._answer.exception()  # an error nobody will look at must not be logged as forgotten

    async def wait(self) -> Any:
        """Wait for the answer, or raise the error that was given for one."""
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.revoke()
            raise
