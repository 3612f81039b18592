"""A runner's place among the processes that share a store: its entry, its lock, and who is dead.

A runner holds an operating-system lock on a file of its own for as long as its process lives. The
kernel lets go of it at the instant the process ends, however it ends; so whoever can take the lock
knows at once, without waiting for a heartbeat, that its holder is dead. One that lives and does not
move is told by its heartbeat: see `lease`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import zlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import IO, Final, TypeVar

import anyio

from perdure.actors.cluster.doorbell import call, remove
from perdure.actors.kernel import faults, see_through
from perdure.actors.log import get_logger
from perdure.actors.writer import Writer
from perdure.store.errors import NotFound, StoreError
from perdure.store.protocol import Store
from perdure.store.records import LEASE_MS, Runner
from perdure.store.scripts.rows import EPOCH
from perdure.store.writes import Deregister, Register, Renew

try:
    import fcntl
except ImportError:  # Windows: the process list answers instead of the lock
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
PID_SPACE: Final = Path("/proc/self/ns/pid")
IN_MEMORY: Final = ":memory:"
LOST_HINT: Final = (
    "this process did not renew its lease in time (it was stopped or suspended, or a step blocked its "
    "event loop), so its executions were taken over: it drops them and goes on as a new runner"
)

log = get_logger("perdure.runner")


class Membership:
    """This process on the list of runners."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        *,
        runner_id: str,
        kind: str,
        now_ms: Callable[[], int],
        lease_ms: int = LEASE_MS,
    ) -> None:
        """`kind` is what people see: `embedded`, `worker`, `run` or `client`."""
        self._store = store
        self._writer = writer
        self._kind = kind
        self._now_ms = now_ms
        self._doorbell: str | None = None
        self._lock: IO[bytes] | None = None
        self._entering = anyio.Lock()  # several may find out at once that we are off the list
        self.id = runner_id
        self.no = 0
        self.lease_ms = lease_ms
        self.is_listed = False
        self.on_company: Callable[[], None] = _nothing
        self.on_lost: Callable[[], int] = lambda: 0

    @property
    def may_miss_newcomers(self) -> bool:
        """Whether somebody could join without being heard, as from another machine."""
        location = self._store.location
        return location != IN_MEMORY and (self._doorbell is None or "://" in location)

    async def join(self, *, doorbell: str | None) -> None:
        """Take the lock, enter the list, and let the others know."""
        self._doorbell = doorbell
        await see_through(self._enter)
        await self._ring_all("here", *(() if self._kind == "client" else ("work",)))

    async def rejoin(self, lost_no: int) -> None:
        """Enter the list anew, after others took `lost_no` off it: what it owned is theirs.

        `on_lost` drops whatever is still being worked on here and tells how much that was.
        """
        async with self._entering:
            if self.no != lost_no:
                return  # somebody else found out before
            self.is_listed = False
            dropped = self.on_lost()
            log.warning("lease_lost", runner=self.id, executions=dropped, hint=LOST_HINT)
            await see_through(self._enter)

    async def _enter(self) -> None:
        answer = await self._writer.write(
            Register(
                id=self.id,
                pid=os.getpid(),
                host=this_host(),
                kind=self._kind,
                lock_path=self._take_lock(),
                doorbell=self._doorbell,
                lease_ms=self.lease_ms,
                at=self._now_ms(),
            )
        )
        assert isinstance(answer, int)
        self.no = answer
        self.is_listed = True

    async def as_listed(self, write: Callable[[int], Awaitable[T]]) -> T:
        """What `write` comes to under this runner's number; where others took that off the list, the next."""
        while True:
            runner_no = self.no
            try:
                return await write(runner_no)
            except NotFound as error:
                if error.kind != "runner":
                    raise
            await self.rejoin(runner_no)

    async def renew(self) -> None:
        """Let the others see that this process is alive; one they took off the list enters it anew."""
        no = self.no
        if faults.hit is not None:
            faults.hit("lease.renew:before")
        try:
            await self._writer.write(Renew(runner_no=no, at=self._now_ms()))
        except NotFound:
            await self.rejoin(no)
        if faults.hit is not None:
            faults.hit("lease.renew:after")

    async def leave(self) -> None:
        """Leave the list, then let the lock go. A store that cannot be reached finds out by the lock."""
        try:
            if self.no:
                await self._writer.write(Deregister(runner_no=self.no))
                if self._kind != "client":
                    await self.ring_workers()
        except (StoreError, NotFound) as error:
            log.warning("runner_left_without_a_word", runner=self.id, error=str(error))
        finally:
            self._drop_lock()

    async def living(self) -> list[Runner]:
        """The other runners that are alive; the dead ones are buried on the way."""
        no = self.no
        runners = await self._store.runners()
        if no == self.no:
            self.is_listed = any(runner.no == no for runner in runners)
        others = [runner for runner in runners if runner.id != self.id]
        alive = [runner for runner in others if await self._is_living(runner)]
        if alive:
            self.on_company()
        return alive

    async def find(self, runner_id: str) -> Runner | None:
        """That runner, while it is on the list and its process lives."""
        for runner in await self._store.runners():
            if runner.id == runner_id and await self._is_living(runner):
                return runner
        return None

    async def _is_living(self, runner: Runner) -> bool:
        if is_alive(runner, folder=self._folder):
            return True
        await self.bury(runner)
        return False

    async def ring_workers(self) -> None:
        """Tell living runners that may take work up that there may be some."""
        await self._ring_all("work")

    async def try_to_ring_workers(self) -> None:
        """Do so if the store lets it; else they find the work when they next look."""
        try:
            await self.ring_workers()
        except StoreError as error:
            log.warning("workers_not_rung", runner=self.id, error=str(error))

    async def _ring_all(self, *words: str) -> None:
        for runner in await self.living():
            async with call(runner.doorbell) as line:
                for word in words:
                    line.say(word)
                await line.flush()

    async def bury(self, runner: Runner, *, is_silent: bool = False) -> bool:
        """Take a runner off the list: what it owned is free, and what it ran counts a death.

        `is_silent`: its process lives, so it keeps its lock and bell, and it may be heard just before.
        False when it was, or when somebody else has buried it.
        """
        heard_at = (runner.heartbeat_at - EPOCH) // timedelta(milliseconds=1) if is_silent else None
        if not await self._writer.write(Deregister(runner_no=runner.no, died=True, heard_at=heard_at)):
            return False
        event = "runner_silent" if is_silent else "runner_died"
        log.warning(event, runner=runner.id, pid=runner.pid, host=runner.host)
        if not is_silent:
            self.clear_away(runner)
        return True

    def clear_away(self, runner: Runner) -> bool:
        """Remove what a runner has left behind that is dead; whether it is."""
        if is_alive(runner, folder=self._folder):
            return False
        for path in (runner.lock_path, runner.doorbell):
            remove(path)
        return True

    @property
    def _folder(self) -> Path:
        """Where the locks of this store's runners lie."""
        return Path(f"{self._store.location}.runners")

    def _take_lock(self) -> str | None:
        """Hold a file of one's own; once held it is kept. None where the store is no file."""
        if self._store.location == IN_MEMORY or "://" in self._store.location or fcntl is None:
            return None
        folder = self._folder
        path = folder / f"{self.id}.lock"
        if self._lock is not None and not path.exists():  # somebody has removed it: nobody could see it held
            _held.discard(self._lock)
            self._lock.close()
            self._lock = None
        if self._lock is not None:
            return str(path.resolve())
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


@cache
def this_host() -> str:
    """The machine's name and, where that can be known, a mark that tells it from others of that name.

    Machines made from one image and containers of one service may share a name, and a process number
    says nothing about a process of another one. The mark is of the boot and of the space of process numbers.
    """
    name = socket.gethostname()
    try:
        boot = BOOT_ID.read_bytes()
        space = PID_SPACE.stat().st_ino
    except OSError:  # not Linux
        return name
    return f"{name}-{zlib.crc32(b'%d %s' % (space, boot)):08x}"


def is_alive(runner: Runner, *, folder: Path | None = None) -> bool:
    """Whether the runner's process lives: whoever lives holds its lock, whatever machine it names.

    `folder` is where the locks of the store lie as this process sees it; another container may see
    them elsewhere. A runner on a store in memory has no lock, and lives as its process does.
    """
    if runner.lock_path is None or fcntl is None:
        return runner.host != this_host() or _has_process(runner.pid)
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
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether the process has ended and its parent does not know yet; where that cannot be seen, no."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "Z"  # the name before, in brackets, may hold anything


def _nothing() -> None:
    """Whoever wants to know about company says so later."""


_held: set[IO[bytes]] = set()


def _let_go_after_fork() -> None:
    """A forked child must not keep a lock whose holder may die before it."""
    for lock in _held:
        lock.close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_after_fork)
