"""The only way to the store's write connection: group commit, and patience while the store is down.

The writer takes whatever has queued while the last transaction was committing and commits it as
one. At rest a single change is committed at once; under load the batch grows by itself. Whoever
waits for a write may be cancelled; the write is not.

A store that cannot be used now (full, locked, out of reach) has written nothing, so the same batch
may be tried again. The machine's own writes are patient: they stay queued, in order, and their
authors are parked by waiting for them. Anybody else is told at once. A new write of that kind, like
the backoff's end, brings the next try forward: what people are told is never old news. Where it
cannot be told whether a commit happened, nobody but its author can find out: it is never tried again.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import anyio

from perdure.actors.kernel import Backoff, faults
from perdure.actors.outage import Outage
from perdure.store.errors import OutcomeUnknown, PerdureError, StoreClosed, StoreUnavailable
from perdure.store.protocol import Answer, Store
from perdure.store.writes import Change, Start, Write

BATCH_MAX: Final = 1_024  # writes of one transaction; bounds how long the first of them waits
RETRY: Final = Backoff(first_s=0.1, max_s=2.0, jitter=0.0)  # one writer for each process: no crowd returns

OUTAGES: Final = (StoreUnavailable, OutcomeUnknown)  # what says that the store, and not a write, is at fault

Queued = tuple[Write, asyncio.Future[Answer], bool]


class Writer:
    """Collects writes and commits them in batches. `run` is its task."""

    def __init__(self, store: Store) -> None:
        """Write into that store."""
        self.outage = Outage()
        self._store = store
        self._queue: deque[Queued] = deque()
        self._wakeup: asyncio.Future[None] | None = None
        self._probe: Callable[[], Write] | None = None
        self._failures = 0  # in this outage and those right before it
        self._up_since = -math.inf
        self._is_closed = False

    def probe_with(self, make: Callable[[], Write]) -> None:
        """Use such writes, which need space as others do, to find out whether the store can be used again."""
        self._probe = make

    async def write(self, write: Write, *, is_patient: bool = False) -> Answer:
        """Wait until `write` is durable and return the store's answer.

        Raises the refusal where the store refuses, StoreError where nothing was written, and
        OutcomeUnknown where that cannot be told. Cancelling the caller abandons only the wait.
        """
        answer = await self.submit(write, is_patient=is_patient)
        if isinstance(answer, PerdureError):
            raise answer
        return answer

    def submit(self, write: Write, *, is_patient: bool = False) -> asyncio.Future[Answer]:
        """Queue `write`; the future has the store's answer, a refusal being a value. Raises StoreClosed.

        A patient one waits for as long as the store is down, and leaves the time of a try to others.
        """
        if self._is_closed:
            raise StoreClosed("the store is closed: nothing was written")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append((write, future, is_patient))
        if not (is_patient and self.outage.is_on):
            self._wake()
        return future

    async def reach(self) -> None:
        """Raise StoreUnavailable if the store cannot be used by now; costs nothing when all is well."""
        if self.outage.is_on and self._probe is not None:
            await self.submit(self._probe())

    def suspect(self, error: StoreUnavailable | OutcomeUnknown) -> None:
        """Somebody has met this error of the store: an outage, until a try succeeds."""
        if not self._is_closed:
            self._begin_outage(error)
            self._wake()

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

    def close(self) -> None:
        """Take nothing more; `run` ends once what is queued is committed, or one last try has failed."""
        self._is_closed = True
        self._wake()

    async def _drain(self) -> None:
        while self._queue or not self._is_closed:
            if self.outage.is_on:
                await self._try_again()
            elif self._queue:
                await self._commit()
            else:
                self._wakeup = asyncio.get_running_loop().create_future()
                await self._wakeup

    async def _try_again(self) -> None:
        """Wait for the next try to be due, or asked for; then make it, with a probe if need be."""
        if not self._is_closed and not self._has_impatient():
            self._wakeup = asyncio.get_running_loop().create_future()
            with anyio.move_on_after(RETRY.delay_s(self._failures, random01=0.0)):
                await self._wakeup
        if not self._queue and self._is_closed:
            return  # nobody waits for another try, which may take as long as a lock is waited for
        if not self._queue and self._probe is not None:
            self.submit(self._probe()).add_done_callback(_ignore)
        await self._commit()

    async def _commit(self) -> None:
        batch = self._take_batch()
        try:
            answers = await self._apply([write for write, _, _ in batch])
        except StoreUnavailable as error:
            self._queue.extendleft(reversed(batch))
            self._turn_away(error)
            return
        except OutcomeUnknown as error:
            _fail(batch, error)
            self._turn_away(error)
            return
        except PerdureError as error:
            _fail(batch, error)
            return
        except BaseException:
            _fail(batch, OutcomeUnknown("the writer was stopped in the middle of a commit: read it back"))
            raise
        if self.outage.is_on:
            self.outage.end()
            self._up_since = anyio.current_time()
        for (_, future, _), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def _take_batch(self) -> list[Queued]:
        """What comes next, in order; of the writes with statements of the user's only the first.

        Each of those may take half a second, and one that fails may have its batch begin again: everybody
        else, a renewal of the lease above all, waits for one of them and not for a queue of them.
        """
        batch: list[Queued] = []
        put_off: list[Queued] = []
        has_statements = False
        while self._queue and len(batch) < BATCH_MAX:
            queued = self._queue.popleft()
            if not _has_statements(queued[0]):
                batch.append(queued)
            elif has_statements:
                put_off.append(queued)
            else:
                has_statements = True
                batch.append(queued)
        self._queue.extendleft(reversed(put_off))
        return batch

    async def _apply(self, writes: list[Write]) -> list[Answer]:
        if faults.hit is not None:
            faults.hit("commit:before")
        if self.outage.is_on:
            await self._store.message(0)  # it is no end of an outage if nothing can be read
        answers = await self._store.commit(writes)
        if faults.hit is not None:
            faults.hit("commit:after")
        return answers

    def _turn_away(self, error: StoreUnavailable | OutcomeUnknown) -> None:
        """The store is down: tell whoever is not patient, and at the end everybody."""
        self._begin_outage(error)
        if isinstance(error, OutcomeUnknown):
            error = StoreUnavailable(f"nothing was written, as the write before it failed: {error}")
        parked = deque(each for each in self._queue if each[2] and not self._is_closed)
        _fail((each for each in self._queue if self._is_closed or not each[2]), error)
        self._queue = parked

    def _begin_outage(self, error: StoreUnavailable | OutcomeUnknown) -> None:
        """Begin an outage or go on with it; one that comes right after another counts as the same."""
        if not self.outage.is_on and anyio.current_time() - self._up_since > RETRY.max_s:
            self._failures = 0
        self._failures += 1
        self.outage.begin(error)

    def _has_impatient(self) -> bool:
        return any(not is_patient for _, _, is_patient in self._queue)

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)


def _fail(writes: Iterable[Queued], error: PerdureError) -> None:
    """Tell everybody who still waits for one of these writes, each by an error of their own.

    Whoever raises an error adds a traceback and a context to it, which are nobody else's business.
    """
    for _, future, _ in writes:
        if not future.done():
            future.set_exception(_copy(error))


def _copy(error: PerdureError) -> PerdureError:
    """The same error once more, whatever its class wants to be made of."""
    copy = type(error).__new__(type(error), *error.args)
    vars(copy).update(vars(error))
    copy.__cause__ = error.__cause__
    return copy


def _has_statements(write: Write) -> bool:
    return isinstance(write, Change | Start) and bool(write.delta.statements)


def _ignore(probed: asyncio.Future[Answer]) -> None:
    """Nobody asked: the outage knows what became of it."""
    if not probed.cancelled():
        probed.exception()
