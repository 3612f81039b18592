"""The only way to the store's write connection: group commit.

The writer takes whatever has queued while the last transaction was committing and commits it as
one. At rest a single change is committed at once; under load the batch grows by itself. Whoever
waits for a write may be cancelled; the write is not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final

import anyio

from perdure.actors.kernel import faults
from perdure.store.errors import OutcomeUnknown, PerdureError, StoreClosed
from perdure.store.protocol import Answer, Store
from perdure.store.writes import Write

BATCH_MAX: Final = 1_024  # writes of one transaction; bounds how long the first of them waits

Queued = tuple[Write, asyncio.Future[Answer]]


class Writer:
    """Collects writes and commits them in batches. `run` is its task."""

    def __init__(self, store: Store) -> None:
        """Write into that store."""
        self._store = store
        self._queue: deque[Queued] = deque()
        self._wakeup: asyncio.Future[None] | None = None
        self._is_closed = False

    async def write(self, write: Write) -> Answer:
        """Wait until `write` is durable and return the store's answer.

        Raises the refusal where the store refuses, StoreError where nothing was written, and
        OutcomeUnknown where that cannot be told. Cancelling the caller abandons only the wait.
        """
        answer = await self.submit(write)
        if isinstance(answer, PerdureError):
            raise answer
        return answer

    def submit(self, write: Write) -> asyncio.Future[Answer]:
        """Queue `write`; the future has the store's answer, a refusal being a value. Raises StoreClosed."""
        if self._is_closed:
            raise StoreClosed("the store is closed: nothing was written")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append((write, future))
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)
        return future

    async def run(self) -> None:
        """Commit until closed and empty. Ended otherwise, it leaves nobody waiting.

        A scope that is cancelled around the runtime does not reach it: those who unwind still write.
        """
        try:
            with anyio.CancelScope(shield=True):
                await self._drain()
        finally:
            self._is_closed = True
            closed = StoreClosed("the writer was stopped before this was committed: nothing was written")
            _fail(self._queue, closed)
            self._queue.clear()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._queue:
                if self._is_closed:
                    return
                self._wakeup = loop.create_future()
                await self._wakeup
                continue
            size = min(len(self._queue), BATCH_MAX)
            await self._commit([self._queue.popleft() for _ in range(size)])

    def close(self) -> None:
        """Take nothing more; `run` ends once what is queued is committed."""
        self._is_closed = True
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def _commit(self, batch: list[Queued]) -> None:
        try:
            if faults.hit is not None:
                faults.hit("commit:before")
            answers = await self._store.commit([write for write, _ in batch])
            if faults.hit is not None:
                faults.hit("commit:after")
        except PerdureError as error:
            _fail(batch, error)
            return
        except BaseException:
            _fail(batch, OutcomeUnknown("the writer was stopped in the middle of a commit: read it back"))
            raise
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)


def _fail(writes: Iterable[Queued], error: PerdureError) -> None:
    """Tell everybody who still waits for one of these writes."""
    for _, future in writes:
        if not future.done():
            future.set_exception(error)
