"""A store that is only looked at: no lock is taken, nothing written, no schema brought up to date."""

from __future__ import annotations

import sqlite3
from typing import TypeVar

from perdure.store.errors import MigrationError
from perdure.store.script import Script
from perdure.store.scripts.questions import Questions
from perdure.store.scripts.sealing import Keys, enter, opening
from perdure.store.sqlite import migrate
from perdure.store.sqlite.connection import Link, ThreadedConnection, run, run_at_one_moment
from perdure.store.sqlite.files import LOCK_WAIT_S, address_to_read
from perdure.store.sqlite.translate import FAILURES, translated

T = TypeVar("T")


class SQLiteView(Questions):
    """What one SQLite file holds. Whoever writes to it is neither waited for nor held up."""

    def __init__(self, path: str, *, lock_wait_s: float = LOCK_WAIT_S, keys: Keys | None = None) -> None:
        """Nothing is opened yet. `keys` open what is encrypted."""
        self._keys = keys
        self.location = path
        self._lock_wait_s = lock_wait_s
        self._connection: ThreadedConnection | None = None

    async def open(self) -> None:
        """Connect. Raises StoreError where there is no file, and MigrationError for another release's."""
        link = Link(
            address_to_read(self.location), pragmas=("PRAGMA query_only = ON",), lock_wait_s=self._lock_wait_s
        )
        connection = ThreadedConnection(link)
        try:
            await connection.open()
            self._connection = connection
            await connection.run(_check_schema, self.location)
            await self._ask(enter(self._keys, may_write=False))
        except sqlite3.Error as error:
            await self.close()
            raise translated(error, self.location) from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of the file. Closing twice is closing once."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _ask(self, script: Script[T], *, at_one_moment: bool = False) -> T:
        assert self._connection is not None, "open it first"
        hold = run_at_one_moment if at_one_moment else run
        script = script if self._keys is None else opening(script, self._keys)
        try:
            return await self._connection.run(lambda link: hold(link.connection, script))
        except FAILURES as error:
            raise translated(error, self.location) from error


def _check_schema(link: Link, path: str) -> None:
    """Raise MigrationError unless the schema is this release's."""
    lacks = migrate.missing(link.connection, path)
    if lacks:
        raise MigrationError(
            f"{path} has schema version {migrate.version_of(link.connection)}, this release needs "
            f"{lacks[-1].version}, and looking changes nothing: `perdure worker`, or any command that "
            "changes something, brings it up to date"
        )
