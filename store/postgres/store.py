"""The store on PostgreSQL: one session that writes, a few that read, foreign errors translated once.

What `commit` has answered is on the server's disk, as its `synchronous_commit` says; `durability="process"`
asks for a commit that does not wait for the disk, and may lose the last moments if the server goes down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import anyio

from perdure.store.errors import StoreClosed, StoreError
from perdure.store.postgres import batch, migrate
from perdure.store.postgres.address import Address
from perdure.store.postgres.bell import Bell, Listener
from perdure.store.postgres.dialect import dialect
from perdure.store.postgres.link import Link, identity_of
from perdure.store.postgres.translate import FAILURES, is_lost, translated
from perdure.store.protocol import Answer
from perdure.store.script import Script
from perdure.store.scripts.questions import Questions
from perdure.store.scripts.sealing import Keys, enter, opening, sealed_writes
from perdure.store.scripts.search import POSTGRES
from perdure.store.scripts.verify import faults_of_executions
from perdure.store.writes import Write

SYNCHRONOUS: Final = {"power": "on", "process": "off"}
READERS: Final = 4  # sessions for questions: pages wait for each other rather than crowd the server
DEAF: Final = (
    "a pooler hands sessions out transaction by transaction, so nothing can be listened for: work and mail "
    "of other processes are found within 5 s. Connect to the server itself, or say ?pooler=session if the "
    "pooler is in session mode"
)

T = TypeVar("T")


class PostgresStore(Questions):
    """Facts in one schema of a PostgreSQL database. See `protocol.Store` for the contract."""

    engine = POSTGRES

    def __init__(
        self,
        url: str,
        *,
        durability: str = "power",
        keys: Keys | None = None,
        is_view: bool = False,
        must_exist: bool = False,
    ) -> None:
        """Nothing is opened yet. `url` may name the schema: `postgresql://host/db?schema=perdure`.

        `keys`: payloads are encrypted with them; see `sealing`. With `is_view` it is only looked at. A
        schema that is not there is made unless it `must_exist`.
        """
        self._must_exist = must_exist
        self._keys = keys
        self._is_view = is_view
        if durability not in tuple(SYNCHRONOUS):
            raise StoreError(f"durability is 'power' or 'process', not {durability!r}")
        self._address = Address.parse(url)
        self.location = self._address.shown
        translate = dialect(self._address.schema)
        # `on` is left to the server, which may be set to wait for its standbys, too.
        settings = {} if durability == "power" else {"synchronous_commit": SYNCHRONOUS[durability]}
        self._writer = Link(self._address, translate, **settings)
        self._readers = [
            Link(self._address, translate, default_transaction_read_only="on") for _ in range(READERS)
        ]
        self._bell = Bell(self._address)
        self._idle: asyncio.LifoQueue[Link] = asyncio.LifoQueue()
        self._last_commit: asyncio.Task[list[Answer]] | None = None
        self._is_open = False

    async def open(self) -> None:
        """Connect; bring the schema up to date, if it is no view. Raises MigrationError, StoreUnavailable."""
        for link in (self._writer, *self._readers):
            link.identity = None
        try:
            connection = await self._writer.open()
            if self._is_view:
                await migrate.check(connection, self._address)
            else:
                await migrate.migrate(connection, self._address, must_exist=self._must_exist)
            identity = await identity_of(connection, self._address)
            for link in (self._writer, *self._readers):
                link.identity = identity
                link.is_pooled = self._writer.is_pooled
            self._bell.is_deaf = bool(self._writer.is_pooled)
            await self._writer.converse(enter(self._keys, may_write=not self._is_view))
        except (*FAILURES, ValueError) as error:
            self._writer.drop()
            raise translated(error, self.location) from error
        except BaseException:
            self._writer.drop()
            raise
        self._idle = asyncio.LifoQueue()
        for reader in self._readers:
            self._idle.put_nowait(reader)
        self._is_open = True

    async def close(self) -> None:
        """Finish what was asked for, then let go of every session. Closing twice is closing once."""
        self._is_open = False
        if self._last_commit is not None:
            await asyncio.wait([self._last_commit])
        await self._bell.close()
        for link in (self._writer, *self._readers):
            await link.close()

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """Apply a batch in one transaction; see `protocol.Store.commit`.

        Each commit is a task of its own that waits for the one before: who cancels leaves only the wait.
        """
        self._check_open()
        self._last_commit = asyncio.create_task(self._commit(tuple(writes), self._last_commit))
        self._last_commit.add_done_callback(_look_at)  # its caller may have gone
        return await asyncio.shield(self._last_commit)

    async def _commit(
        self, writes: Sequence[Write], before: asyncio.Task[list[Answer]] | None
    ) -> list[Answer]:
        if before is not None:
            await asyncio.wait([before])
        if not writes:
            return []
        sealed = writes if self._keys is None else sealed_writes(writes, self._keys)
        answers = await batch.commit(self._writer, sealed)
        self._bell.ring(writes, answers)
        return answers

    def hear(
        self, *, on_mail: Callable[[str], None], on_work: Callable[[], None], on_doubt: Callable[[], None]
    ) -> None:
        """Listen for what other processes have left; see `protocol.Audible`."""
        self._bell.hear(Listener(on_mail=on_mail, on_work=on_work, on_doubt=on_doubt))

    @property
    def cannot_hear(self) -> str | None:
        """Why no bell of another process is heard; None when they are."""
        return DEAF if self._bell.is_deaf else None

    async def verify(self, execution_id: str | None = None) -> list[str]:
        """Check the store (and one execution) for damage; a sentence for each thing found."""
        return await self._ask(faults_of_executions(execution_id), at_one_moment=True)

    async def _ask(self, script: Script[T], *, at_one_moment: bool = False) -> T:
        """Hold the conversation over one of the reading sessions."""
        self._check_open()
        script = script if self._keys is None else opening(script, self._keys)
        idle = self._idle
        link = await idle.get()
        try:
            self._check_open()  # or a session would begin that nobody ends
            return await self._hold(link, script, at_one_moment=at_one_moment)
        finally:
            idle.put_nowait(link)

    async def _hold(self, link: Link, script: Script[T], *, at_one_moment: bool) -> T:
        try:
            if not at_one_moment:
                return await link.converse(script)
            await link.begin("ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                return await link.run(script)
            finally:
                if link.is_open:
                    await link.simply("ROLLBACK")
        except FAILURES as error:
            if is_lost(error):
                link.drop()
            raise translated(error, self.location) from error
        except anyio.get_cancelled_exc_class():
            link.drop()  # in the middle of an answer
            raise

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreClosed(f"the store {self.location} is closed: open it before using it")


def _look_at(commit: asyncio.Task[list[Answer]]) -> None:
    """Whoever waits is told what went wrong; where nobody does, the loop must not complain."""
    if not commit.cancelled():
        commit.exception()
