"""A store that nobody has written to, and copies of it: to make each anew takes as long as to live a life.

On a server it is a database, which is the template of the others.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg

from perdure.store import SQLiteStore, store_at

STORE: Final = "life.db"
BLANK: Final = "blank.db"


class Files:
    """Stores in files, each in a folder."""

    def __init__(self, root: Path) -> None:
        """The blank one lies there."""
        self._blank = root / BLANK

    def make(self) -> None:
        """Make the blank one."""
        in_a_child(lambda: _opened(SQLiteStore(str(self._blank), inline=True)))

    def copy(self, folder: Path) -> None:
        """Make a copy for that folder."""
        shutil.copy(self._blank, folder / STORE)

    def drop(self, folder: Path) -> None:
        """It goes with the folder."""

    def location(self, folder: Path) -> str:
        """Where the folder's copy is."""
        return str(folder / STORE)


class Databases:
    """Stores in databases of a server, each named after a folder."""

    def __init__(self, root: Path, url: str) -> None:
        """The blank one is named after `root`."""
        self._url = url
        self._blank = _name(root)

    def make(self) -> None:
        """Make the blank one, in place of one of the same name."""
        self._execute(f"CREATE DATABASE {self._blank}")
        in_a_child(lambda: _opened(store_at(self._at(self._blank))))

    def copy(self, folder: Path) -> None:
        """Make a copy for that folder."""
        self._execute(f"CREATE DATABASE {_name(folder)} TEMPLATE {self._blank}")

    def drop(self, folder: Path) -> None:
        """Drop the folder's copy, or with `root` the blank one."""
        self._execute(f"DROP DATABASE {_name(folder)} WITH (FORCE)")

    def location(self, folder: Path) -> str:
        """Where the folder's copy is."""
        return self._at(_name(folder))

    def _at(self, name: str) -> str:
        return urlsplit(self._url)._replace(path=f"/{name}").geturl()

    def _execute(self, sql: str) -> None:
        async def execute() -> None:
            connection = await asyncpg.connect(self._url)
            await connection.execute(sql)
            await connection.close()

        in_a_child(execute)


def _name(folder: Path) -> str:
    """The folder's name and its parent's, as a database may be called."""
    text = f"{folder.parent.name}_{folder.name}".lower()
    return "pd_" + "".join(sign if sign.isalnum() else "_" for sign in text)


async def _opened(store: Any) -> None:
    await store.open()
    await store.close()


def in_a_child(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it in a process of its own, so that there is no loop in this one, which forks others."""
    _, status = os.waitpid(fork(lambda: asyncio.run(work())), 0)
    assert status == 0, "what a life needs could not be made"


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a child and answer its pid; the child ends without a word to the parent."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
