"""A runner's place among the processes that share a store: its entry, its lock, and who is dead.

A runner holds an operating-system lock on a file of its own for as long as its process lives. The
kernel lets go of it at the instant the process ends, however it ends; so whoever can take the lock
knows at once, without waiting for a heartbeat, that its holder is dead.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import IO

from perdure.actors.doorbell import call, remove
from perdure.actors.log import get_logger
from perdure.actors.writer import Writer
from perdure.store.errors import NotFound, StoreError
from perdure.store.protocol import Store
from perdure.store.records import Runner
from perdure.store.writes import Deregister, Register

try:
    import fcntl
except ImportError:  # Windows: the process list answers instead of the lock
    fcntl = None  # type: ignore[assignment]

log = get_logger("perdure.runner")


class Membership:
    """This process on the list of runners."""

    def __init__(
        self, store: Store, writer: Writer, *, runner_id: str, kind: str, now_ms: Callable[[], int]
    ) -> None:
        """`kind` is what people see: `embedded`, `worker`, `run` or `client`."""
        self._store = store
        self._writer = writer
        self._kind = kind
        self._now_ms = now_ms
        self._lock: IO[bytes] | None = None
        self.id = runner_id
        self.no = 0

    async def join(self, *, doorbell: str | None) -> None:
        """Take the lock, then enter the list."""
        lock_path = self._take_lock()
        answer = await self._writer.write(
            Register(
                id=self.id,
                pid=os.getpid(),
                host=socket.gethostname(),
                kind=self._kind,
                lock_path=lock_path,
                doorbell=doorbell,
                at=self._now_ms(),
            )
        )
        assert isinstance(answer, int)
        self.no = answer
        if self._kind != "client":
            await self.ring_workers()

    async def leave(self) -> None:
        """Leave the list, then let the lock go. A store that cannot be reached finds out by the lock."""
        try:
            if self.no:
                await self._writer.write(Deregister(runner_no=self.no))
        except (StoreError, NotFound) as error:
            log.warning("runner_left_without_a_word", runner=self.id, error=str(error))
        finally:
            self._drop_lock()

    async def living(self) -> list[Runner]:
        """The other runners that are alive; the dead ones are buried on the way."""
        alive = []
        for runner in await self._store.runners():
            if runner.no == self.no:
                continue
            if is_alive(runner, folder=self._folder):
                alive.append(runner)
            else:
                await self.bury(runner)
        return alive

    async def ring_workers(self) -> None:
        """Tell living runners that may take work up that there may be some."""
        for runner in await self.living():
            async with call(runner.doorbell) as line:
                line.say("work")
                await line.flush()

    async def bury(self, runner: Runner) -> None:
        """Take a dead runner off the list; what it owned is free, and what it ran counts a death."""
        try:
            await self._writer.write(Deregister(runner_no=runner.no, died=True))
        except NotFound:
            return  # somebody else did
        log.warning("runner_died", runner=runner.id, pid=runner.pid, host=runner.host)
        for path in (runner.lock_path, runner.doorbell):
            remove(path)

    @property
    def _folder(self) -> Path:
        """Where the locks of this store's runners lie."""
        return Path(f"{self._store.location}.runners")

    def _take_lock(self) -> str | None:
        if self._store.location == ":memory:" or fcntl is None:
            return None
        folder = self._folder
        path = folder / f"{self.id}.lock"
        while self._lock is None:
            folder.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # the last one to leave has just removed the folder
                self._lock = path.open("xb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        _held.add(self._lock)
        return str(path.resolve())

    def _drop_lock(self) -> None:
        if self._lock is None:
            return
        _held.discard(self._lock)
        path = Path(self._lock.name)
        path.unlink(missing_ok=True)
        self._lock.close()
        self._lock = None
        with contextlib.suppress(OSError):  # others are still in there
            path.parent.rmdir()


def is_alive(runner: Runner, *, folder: Path | None = None) -> bool:
    """Whether the runner's process lives: whoever lives holds its lock, whatever machine it names.

    `folder` is where the locks of the store lie as this process sees it; another container may see
    them elsewhere. A runner on a store in memory has no lock, and lives as its process does.
    """
    if runner.lock_path is None or fcntl is None:
        return runner.host != socket.gethostname() or _has_process(runner.pid)
    path = Path(runner.lock_path)
    if folder is not None and (folder / path.name).exists():
        path = folder / path.name
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _has_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


_held: set[IO[bytes]] = set()


def _let_go_after_fork() -> None:
    """A forked child must not keep a lock whose holder may die before it."""
    for lock in _held:
        lock.close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_after_fork)
