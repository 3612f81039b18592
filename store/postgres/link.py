"""One session with the server: made when it is needed, made anew when it is gone.

A script's statements are carried over it one after another. A statement is prepared once and kept,
which saves a third of the way and the planning. Behind a pooler that hands sessions out transaction by
transaction nothing outlives one: there each conversation is a transaction, and nothing is prepared.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar, cast

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from perdure.store.errors import StoreReplaced
from perdure.store.postgres.address import Address
from perdure.store.postgres.dialect import quoted
from perdure.store.script import Cursor, Many, Script, Several

T = TypeVar("T")

CONNECT_S: Final = 10.0  # a server that does not answer for so long is out of reach
CLOSE_S: Final = 2.0  # a good-bye that takes longer is cut short
PREPARED_MAX: Final = 512  # statements of one session; the server keeps a few kB for each

SETTINGS: Final = {
    "application_name": "perdure",
    "plan_cache_mode": "force_generic_plan",  # our statements go by keys: planning them again gains nothing
    "jit": "off",  # compiling a plan costs more than any of them takes
    "idle_in_transaction_session_timeout": "5000",  # one that is stopped keeps its locks no longer
}

PLAIN: Final = {"application_name": "perdure"}  # what every pooler lets pass


async def identity_of(connection: asyncpg.Connection[Any], address: Address) -> str:
    """Which store is in the schema. Raises asyncpg's errors."""
    async with connection.transaction():  # one question is two messages, which a pooler may part
        question = f"SELECT id FROM {quoted(address.schema)}.perdure_identity"  # noqa: S608
        found: str = await connection.fetchval(question)
    return found


class Answered:
    """What came of one statement: a `script.Cursor`."""

    __slots__ = ("_rows", "lastrowid", "rowcount")

    def __init__(self, rows: list[Any], status: str | None) -> None:
        """The rows, and what the server says it has done ("UPDATE 3")."""
        self._rows = iter(rows)
        words = (status or "").split()
        count = words[-1] if words else ""
        self.rowcount = int(count) if count.isdigit() else -1
        self.lastrowid: int | None = rows[0][0] if rows and words[0] == "INSERT" else None

    def fetchone(self) -> Any:
        """The next row, or None."""
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left, one by one."""
        return self._rows


class Link:
    """A session that whoever owns it may drop and open again."""

    def __init__(self, address: Address, translate: Callable[[str], str], **settings: str) -> None:
        """Nothing is opened yet. `settings` are the session's own, beside `SETTINGS`."""
        self.address = address
        self._translate = translate
        self._settings = SETTINGS | settings
        self._only_asks = settings.get("default_transaction_read_only") == "on"
        self._connection: asyncpg.Connection[Any] | None = None
        self._prepared: dict[str, PreparedStatement[Any]] = {}
        self._pid: int | None = None
        self.is_pooled = address.is_pooled
        self.identity: str | None = None  # of the store that has to be there, once that is known

    @property
    def pid(self) -> int | None:
        """The server's process for this session; behind a pooler, for its last transaction."""
        if self.is_pooled:
            return self._pid
        return None if self._connection is None else int(self._connection.get_server_pid())

    @property
    def is_open(self) -> bool:
        """Whether there is a session, as far as can be told from here."""
        return self._connection is not None and not self._connection.is_closed()

    async def open(self) -> asyncpg.Connection[Any]:
        """The live session; opened if there is none. Raises StoreReplaced, asyncpg's errors, OSError."""
        if self._connection is None or self._connection.is_closed():
            self.drop()
            self._connection = await self._connected()
            await self._check_identity(self._connection)
        return self._connection

    async def _connected(self) -> asyncpg.Connection[Any]:
        """A new session; the first time, find out whether there is a pooler in between.

        One betrays itself by refusing our settings, or by telling a process that is not the server's.
        """
        if self.is_pooled:
            return await self._connect(PLAIN)
        try:
            connection = await self._connect(self._settings)
        except asyncpg.ProtocolViolationError:
            if self.is_pooled is False:
                raise
            self.is_pooled = True
            return await self._connect(PLAIN)
        if self.is_pooled is None:
            async with connection.transaction():
                pid = await connection.fetchval("SELECT pg_backend_pid()")
            self.is_pooled = pid != connection.get_server_pid()
        return connection

    async def _connect(self, settings: dict[str, str]) -> asyncpg.Connection[Any]:
        return await asyncpg.connect(
            self.address.dsn, timeout=CONNECT_S, statement_cache_size=0, server_settings=settings
        )

    async def begin(self, mode: str = "") -> None:
        """Begin a transaction; behind a pooler it has settings of its own, and is asked where it is."""
        connection = await self.open()
        if not self.is_pooled:
            await connection.execute(f"BEGIN {mode}")
            return
        own = {name: value for name, value in self._settings.items() if name not in PLAIN}
        settings = "".join(f"; SET LOCAL {name} TO '{value}'" for name, value in own.items())
        await connection.execute(f"BEGIN {mode}{settings}")
        self._pid = await connection.fetchval("SELECT pg_backend_pid()")

    async def _check_identity(self, connection: asyncpg.Connection[Any]) -> None:
        """Raise StoreReplaced when another store is in the schema, or none."""
        if self.identity is None:
            return
        try:
            found = await identity_of(connection, self.address)
        except asyncpg.UndefinedTableError:
            found = None
        if found != self.identity:
            self.drop()
            raise StoreReplaced(self.address.shown, opened=self.identity, found=found)

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Answered:
        """Carry one statement there and its result back.

        A question for a text with a NUL need not go there: no text of the server's has one.
        """
        if self._only_asks and any(isinstance(each, str) and "\0" in each for each in parameters):
            return Answered([], "SELECT 0")
        statement = await self.prepare(self._translate(sql))
        rows = await statement.fetch(*parameters)
        return Answered(rows, statement.get_statusmsg())

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> Answered:
        """Carry one statement there with many rows, waiting for none alone; what came of each is not told."""
        statement = await self.prepare(self._translate(sql))
        await statement.executemany(rows)
        return Answered([], "")

    async def execute_several(self, several: Several) -> list[Answered]:
        """Carry the questions there as one, whose rows tell the question they answer and their place."""
        sql = " UNION ALL ".join(
            f"SELECT {number}, row_number() OVER (), answer_ FROM ({question}) answer_"  # noqa: S608
            for number, (question, _) in enumerate(several.questions)
        )
        parameters = [each for _, given in several.questions for each in given]
        found: list[list[Any]] = [[] for _ in several.questions]
        for number, _, row in await self.execute(f"{sql} ORDER BY 1, 2", parameters):
            found[number].append(row)
        return [Answered(rows, "SELECT") for rows in found]

    async def prepare(self, sql: str) -> PreparedStatement[Any]:
        """The statement, prepared in this session."""
        connection = await self.open()
        if self.is_pooled:
            return await connection.prepare(sql, name="")
        statement = self._prepared.get(sql)
        if statement is None:
            if len(self._prepared) >= PREPARED_MAX:
                self._prepared.clear()
            statement = self._prepared[sql] = await connection.prepare(sql)
        return statement

    async def simply(self, sql: str) -> None:
        """Carry words that have no parameters, such as BEGIN, in one message."""
        await (await self.open()).execute(sql)

    async def run(self, script: Script[T]) -> T:
        """Hold the whole conversation. Raises what it raises, and asyncpg's errors."""
        try:
            statement = next(script)
            while True:
                if isinstance(statement, Several):
                    cursors = await self.execute_several(statement)
                    statement = script.send(cast("Cursor", cursors))
                elif isinstance(statement, Many):
                    statement = script.send(await self.execute_many(statement.sql, statement.rows))
                else:
                    statement = script.send(await self.execute(*statement))
        except StopIteration as done:
            answer: T = done.value
            return answer

    async def converse(self, script: Script[T]) -> T:
        """The same outside of a transaction, where it needs one only behind a pooler."""
        await self.open()
        if not self.is_pooled:
            return await self.run(script)
        await self.begin()
        try:
            answer = await self.run(script)
        except BaseException:
            self.drop()
            raise
        await self.simply("COMMIT")
        return answer

    def drop(self) -> None:
        """Let go of a session that has failed, without a word."""
        connection, self._connection = self._connection, None
        self._prepared.clear()
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.terminate()

    async def close(self) -> None:
        """Say good-bye; a second time does nothing."""
        connection, self._connection = self._connection, None
        self._prepared.clear()
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.close(timeout=CLOSE_S)
