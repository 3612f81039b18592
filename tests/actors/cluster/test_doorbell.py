"""A bell that only rings: lines in, empty lines out, and news when it breaks off."""

from __future__ import annotations

import asyncio
import gc
import itertools
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perdure.actors.cluster.doorbell import LINE_BYTES_MAX, POLL_S, Doorbell, _Caller, _name, call, remove
from perdure.actors.kernel.testing import run_virtual

pytestmark = pytest.mark.skipif(not hasattr(asyncio, "start_unix_server"), reason="no Unix sockets")


class Heard:
    """What a bell has said to its runner."""

    def __init__(self) -> None:
        """Silence so far."""
        self.rings: list[str] = []
        self.work = 0
        self.company = 0

    def on_company(self) -> None:
        """Somebody has joined."""
        self.company += 1

    def on_work(self) -> None:
        """There may be something to take up."""
        self.work += 1


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hang every bell in this test's own folder, whose path is short enough for a socket."""
    tmp_path_factory.getbasetemp()  # made before, so that it stays where it is
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield


@asynccontextmanager
async def bell() -> AsyncIterator[tuple[Doorbell, Heard]]:
    """A bell that hangs for the length of a test."""
    heard = Heard()
    doorbell = Doorbell("r", on_ring=heard.rings.append, on_work=heard.on_work, on_company=heard.on_company)
    await doorbell.open()
    try:
        yield doorbell, heard
    finally:
        await doorbell.close()
        await until(lambda: not doorbell._open)


def mode(path: Path) -> int:
    """Who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


def exists(path: Path) -> bool:
    """Whether there is such a file."""
    return path.exists()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop go on until something holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the loop itself is what has to go on
            await asyncio.sleep(0)


async def test_a_ring_names_the_execution_that_has_mail():
    """`work` and `here` name none."""
    async with bell() as (doorbell, heard), call(doorbell.path) as line:
        assert line.is_connected
        line.say("ring order-1")
        line.say("work")
        line.say("here")
        line.say("ring order-2")
        await line.flush()
        await until(lambda: len(heard.rings) == 2)
        assert heard.rings == ["order-1", "order-2"]
        assert (heard.work, heard.company) == (1, 1)


def test_a_bell_rings_on_the_fast_loop():
    """Its transports are of a kind of their own, and workers run on it where it is installed."""
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with bell() as (doorbell, heard), call(doorbell.path) as line:
            line.say("ring e1")
            await line.flush()
            await until(lambda: heard.rings == ["e1"])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_a_watcher_hears_each_commit_of_its_execution():
    """First that it is heard at all, then every change; not those of others."""
    async with bell() as (doorbell, _), call(doorbell.path) as line:
        line.say("watch order-1")
        await line.wait()
        doorbell.announce("order-2")
        doorbell.announce("order-1")
        await line.wait()
        assert line.is_connected


class Ear(asyncio.Transport):
    """The other end of a call, which writes down who was told."""

    def __init__(self, caller: _Caller, name: int, told: list[int]) -> None:
        """It has been picked up."""
        super().__init__()
        self._caller = caller
        self._name = name
        self._told = told
        caller.connection_made(self)

    def get_write_buffer_size(self) -> int:
        """Everything is read at once."""
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """It rings."""
        self._told.append(self._name)

    def abort(self) -> None:
        """It is hung up."""
        self._caller.connection_lost(None)


async def test_those_who_watch_are_told_in_the_order_they_came():
    """So that a seed is one history."""
    told: list[int] = []
    async with bell() as (doorbell, _):
        callers = [_Caller(doorbell) for _ in range(9)]
        for name, caller in enumerate(callers):
            Ear(caller, name, told)
            caller.data_received(b"watch e\n")
        told.clear()
        doorbell.announce("e")
        assert told == list(range(9))


async def test_bells_of_runners_with_equal_ids_hang_beside_each_other():
    """Seeds repeat ids: whoever rings for one must not be heard by the other, nor take its bell down."""
    async with bell() as (first, heard):
        async with bell() as (second, _):
            assert first.path != second.path
        async with call(first.path) as line:
            line.say("ring order-1")
            await line.flush()
            await until(lambda: heard.rings == ["order-1"])


def test_a_bell_s_name_differs_between_processes_and_leaves_room_for_a_long_folder(
    monkeypatch: pytest.MonkeyPatch,
):
    """A socket's path has 103 characters on macOS, of which the folder of temporary files takes 61."""
    runner_id = "0192a0b0-0000-7000-8000-0123456789ab"
    names = set()
    for pid in (1, 4_194_304):
        monkeypatch.setattr("perdure.actors.cluster.doorbell._hung", itertools.count())
        monkeypatch.setattr("os.getpid", lambda pid=pid: pid)
        names.add(_name(runner_id))
    assert len(names) == 2
    assert max(map(len, names)) < 103 - 61


async def test_whoever_hangs_up_is_no_longer_told():
    """Nothing is kept for those who left."""
    async with bell() as (doorbell, _):
        async with call(doorbell.path) as line:
            line.say("watch order-1")
            await line.wait()
            assert doorbell._watchers
        await until(lambda: not doorbell._watchers)
        doorbell.announce("order-1")


async def test_a_runner_that_goes_is_news_to_those_who_watch():
    """The line breaks off and becomes a clock that ticks."""
    heard = Heard()
    doorbell = Doorbell("r", on_ring=heard.rings.append, on_work=heard.on_work, on_company=heard.on_company)
    await doorbell.open()
    async with call(doorbell.path) as line:
        line.say("watch order-1")
        await line.wait()
        await doorbell.close()
        await line.wait()
        assert not line.is_connected
        line.say("ring order-1")
        await line.flush()


@pytest.mark.anyio
async def test_a_runner_that_takes_no_call_is_one_that_cannot_be_heard():
    """It was stopped, and more have called than the system keeps waiting: that ends nobody who calls."""
    with socket.socket(socket.AF_UNIX) as stopped, tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/b"
        stopped.bind(path)
        stopped.listen(0)
        async with call(path) as waiting, call(path) as line:
            assert (waiting.is_connected, line.is_connected) == (True, False)
            line.say("work")
            await line.flush()
            await line.broken()


async def test_only_its_owner_may_ring():
    """The socket and its folder are private."""
    async with bell() as (doorbell, _):
        path = Path(doorbell.path or "")
        assert (mode(path), mode(path.parent)) == (0o600, 0o700)


async def test_a_bell_that_was_taken_down_leaves_nothing_behind():
    """Also when it is taken down twice, or never hung."""
    async with bell() as (doorbell, _):
        path = Path(doorbell.path or "")
        await doorbell.close()
        assert not exists(path)
        await doorbell.close()
    await Doorbell("never", on_ring=str, on_work=list, on_company=list).close()


@pytest.mark.parametrize("steps", range(6))
def test_a_call_that_comes_as_the_bell_goes_down_is_not_left_open(steps: int):
    """Wherever the connection is in its making; one left open would be reported as a leak."""

    async def main() -> None:
        doorbell = Doorbell("r", on_ring=str, on_work=list, on_company=list)
        await doorbell.open()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(doorbell.path or "")
            for _ in range(steps):
                await asyncio.sleep(0)
            await doorbell.close()

    asyncio.run(main())
    gc.collect()


@pytest.mark.parametrize("noise", [b"\xff\xfe\n", b"x" * (LINE_BYTES_MAX * 2) + b"\n", b"dance order-1\n"])
async def test_noise_on_a_line_harms_nobody_else(noise: bytes):
    """Bytes, endless lines and unknown words end, at most, the line they came on."""
    async with bell() as (doorbell, heard):
        _, writer = await asyncio.open_unix_connection(doorbell.path)
        writer.write(noise)
        await writer.drain()
        async with call(doorbell.path) as line:
            line.say("ring order-1")
            await line.flush()
            await until(lambda: heard.rings == ["order-1"])
        writer.close()


@pytest.mark.parametrize("path", [None, "/nowhere/r.sock"])
def test_where_no_bell_can_be_heard_a_slow_clock_ticks(path: str | None):
    """Nobody waits for ever, and nobody asks all the time."""

    async def main() -> float:
        begun = asyncio.get_running_loop().time()
        async with call(path) as line:
            assert not line.is_connected
            line.say("ring order-1")
            await line.flush()
            await line.wait()
        return asyncio.get_running_loop().time() - begun

    assert run_virtual(main) == POLL_S


def test_what_is_gone_already_may_be_removed(tmp_path: Path):
    """Two may bury the same runner."""
    path = tmp_path / "x.sock"
    path.touch()
    remove(str(path))
    remove(str(path))
    remove(None)
    assert not path.exists()
