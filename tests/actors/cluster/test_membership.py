"""Who is on the list of runners, and who of them is dead: told by a lock, at once."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perdure.actors.cluster import membership
from perdure.actors.cluster.doorbell import remove
from perdure.actors.cluster.membership import Membership, is_alive, this_host
from perdure.store.errors import NotFound, StoreError
from perdure.store.records import Runner
from perdure.store.writes import Deregister, Register, Renew, Write

fcntl = pytest.importorskip("fcntl")
LOCKER = """
import fcntl, signal, sys
lock = open(sys.argv[1], "xb")
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True)
signal.pause()
"""
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
LONG_AGO_MS = 1_767_225_600_000


class Roll:
    """The list of runners, in memory."""

    def __init__(self, location: str) -> None:
        """`location` is where the locks go."""
        self.location = location
        self.list: dict[int, Runner] = {}
        self.written: list[Write] = []
        self.error: StoreError | None = None

    async def write(self, write: Write) -> Any:
        """Enter or strike off."""
        self.written.append(write)
        if self.error is not None:
            raise self.error
        if isinstance(write, Register):
            no = len(self.written)
            fields = {
                name: getattr(write, name) for name in ("id", "pid", "host", "kind", "lock_path", "doorbell")
            }
            self.list[no] = Runner(no=no, started_at=LONG_AGO, heartbeat_at=LONG_AGO, **fields)
            return no
        if isinstance(write, Renew):
            if write.runner_no not in self.list:
                raise NotFound("runner", write.runner_no)
            return None
        assert isinstance(write, Deregister)
        return int(self.list.pop(write.runner_no, None) is not None)

    async def runners(self) -> list[Runner]:
        """The list."""
        return list(self.list.values())


@pytest.fixture
def roll(tmp_path: Path) -> Roll:
    """A list whose locks are in a folder of this test."""
    return Roll(str(tmp_path / "p.db"))


@pytest.fixture
def member(roll: Roll) -> Callable[[str], Membership]:
    """Make a member of the list, by its id."""

    def make(runner_id: str, kind: str = "client") -> Membership:
        store: Any = roll
        return Membership(store, store, runner_id=runner_id, kind=kind, now_ms=lambda: 0)

    return make


@pytest.fixture
def locker(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that holds a lock until it is killed."""
    path = tmp_path / "other.lock"
    with subprocess.Popen([sys.executable, "-c", LOCKER, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process, path
        kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """End a process of ours at once."""
    process.kill()
    process.wait()


def runner(**fields: Any) -> Runner:
    """An entry of the list."""
    plain = {
        "no": 9,
        "id": "other",
        "pid": os.getpid(),
        "host": this_host(),
        "kind": "worker",
        "lock_path": None,
        "doorbell": None,
        "started_at": LONG_AGO,
        "heartbeat_at": LONG_AGO,
    }
    return Runner(**(plain | fields))


def test_a_process_lives_as_long_as_its_lock_is_held(locker: tuple[subprocess.Popen[str], Path]):
    """However it ends, the kernel lets go of the lock at that instant."""
    process, path = locker
    entry = runner(pid=process.pid, lock_path=str(path))
    assert is_alive(entry)
    kill(process)
    assert not is_alive(entry)


def test_a_process_number_says_nothing_of_a_machine_of_the_same_name(monkeypatch: pytest.MonkeyPatch):
    """Two from one image, two containers of one service: its lease tells of its death."""
    ours = this_host()
    assert ours.startswith(socket.gethostname())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not is_alive(runner(pid=gone.pid))
    monkeypatch.setattr(membership, "PID_SPACE", Path("/"))
    theirs = this_host.__wrapped__()
    assert theirs.startswith(socket.gethostname())
    assert theirs != ours
    assert is_alive(runner(pid=gone.pid, host=theirs))


def test_asking_does_not_take_the_lock_away(locker: tuple[subprocess.Popen[str], Path]):
    """Two may ask one after the other, also about the dead."""
    process, path = locker
    entry = runner(pid=process.pid, lock_path=str(path))
    assert [is_alive(entry), is_alive(entry)] == [True, True]
    kill(process)
    assert [is_alive(entry), is_alive(entry)] == [False, False]


def test_a_pid_that_was_given_to_somebody_else_is_not_mistaken_for_life(tmp_path: Path):
    """The lock decides, not the number."""
    path = tmp_path / "left.lock"
    path.touch()
    assert not is_alive(runner(pid=os.getpid(), lock_path=str(path)))


def test_a_lock_that_is_gone_is_a_death(tmp_path: Path):
    """Its runner left, or was buried."""
    assert not is_alive(runner(lock_path=str(tmp_path / "never.lock")))


def test_a_runner_that_names_another_machine_is_judged_by_its_lock(
    locker: tuple[subprocess.Popen[str], Path], tmp_path: Path
):
    """A container that was made anew has another name and the same files, maybe elsewhere."""
    process, path = locker
    entry = runner(host="elsewhere", pid=1, lock_path=f"/somewhere/else/{path.name}")
    assert is_alive(entry, folder=path.parent)
    kill(process)
    assert not is_alive(entry, folder=path.parent)
    assert is_alive(runner(host="elsewhere", lock_path=None))


def test_without_a_lock_the_process_list_answers(locker: tuple[subprocess.Popen[str], Path]):
    """A store in memory has no place for locks."""
    process, _ = locker
    assert is_alive(runner(pid=process.pid))
    kill(process)
    assert not is_alive(runner(pid=process.pid))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the process list is not to be read here")
def test_a_process_whose_parent_has_not_noticed_its_end_is_dead():
    """It still has an entry in the process list, and will never do anything again."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(runner(pid=process.pid))
    process.wait()


async def test_a_member_is_on_the_list_and_alive_until_it_leaves(
    roll: Roll, member: Callable[[str], Membership]
):
    """Then nothing of it is left, not even the folder."""
    one = member("one")
    await one.join(doorbell=None)
    (entry,) = roll.list.values()
    assert is_alive(entry)
    await one.leave()
    assert roll.list == {}
    assert not Path(entry.lock_path or "").parent.exists()


async def test_members_share_the_folder_of_locks(roll: Roll, member: Callable[[str], Membership]):
    """The first to leave does not take it away from the others."""
    one, two = member("one"), member("two")
    await one.join(doorbell=None)
    await two.join(doorbell=None)
    await one.leave()
    assert [r.id for r in await one.living()] == ["two"]
    await two.leave()


async def test_a_member_does_not_count_itself(roll: Roll, member: Callable[[str], Membership]):
    """Others live or are dead; it knows about itself."""
    one = member("one")
    await one.join(doorbell=None)
    assert await one.living() == []
    await one.leave()


async def test_the_dead_are_buried_by_whoever_finds_them(
    roll: Roll,
    member: Callable[[str], Membership],
    locker: tuple[subprocess.Popen[str], Path],
    tmp_path: Path,
):
    """What they ran counts a death; what they left behind is removed."""
    process, path = locker
    bell = tmp_path / "other.sock"
    bell.touch()
    one = member("one")
    await one.join(doorbell=None)
    roll.list[50] = runner(no=50, pid=process.pid, lock_path=str(path), doorbell=str(bell))
    assert [r.id for r in await one.living()] == ["other"]
    kill(process)
    assert await one.living() == []
    assert roll.written[-1] == Deregister(runner_no=50, died=True)
    assert not path.exists()
    assert not bell.exists()
    await one.leave()


async def test_of_two_who_find_the_same_dead_one_buries_it(
    roll: Roll, member: Callable[[str], Membership], tmp_path: Path
):
    """The other finds the list without it, which is no error."""
    one = member("one")
    await one.join(doorbell=None)
    dead = runner(no=50, lock_path=str(tmp_path / "gone.lock"))
    assert not await one.bury(dead)
    assert roll.written[-1] == Deregister(runner_no=50, died=True)
    await one.leave()


async def test_a_silent_runner_is_buried_with_the_heartbeat_it_was_judged_by(
    roll: Roll,
    member: Callable[[str], Membership],
    locker: tuple[subprocess.Popen[str], Path],
):
    """It lives, so it keeps its lock; and should it have been heard just now, the store refuses."""
    process, path = locker
    one = member("one")
    await one.join(doorbell=None)
    silent = roll.list[50] = runner(no=50, pid=process.pid, lock_path=str(path))
    assert await one.bury(silent, is_silent=True)
    assert roll.written[-1] == Deregister(runner_no=50, died=True, heard_at=LONG_AGO_MS)
    assert path.exists()
    one.clear_away(silent)
    assert path.exists()
    kill(process)
    one.clear_away(silent)
    assert not path.exists()
    await one.leave()


async def test_one_that_was_taken_off_the_list_enters_it_anew(
    roll: Roll, member: Callable[[str], Membership]
):
    """Once, however many find out; what it still works on is dropped first; its lock is still its own."""
    one = member("one")
    dropped: list[int] = []
    one.on_lost = lambda: dropped.append(one.no) or 3
    await one.join(doorbell=None)
    first = one.no
    roll.list.clear()
    assert await one.living() == []
    assert not one.is_listed
    await asyncio.gather(one.renew(), one.rejoin(first), one.rejoin(first))
    (entry,) = roll.list.values()
    assert (entry.id, entry.no, dropped) == ("one", one.no, [first])
    assert one.no != first
    assert is_alive(entry)
    await one.leave()
    assert not is_alive(entry)


async def test_what_is_to_be_written_by_a_listed_runner_is_so_in_the_end(
    roll: Roll, member: Callable[[str], Membership]
):
    """However often it is taken off before it comes to that."""
    one = member("one")
    await one.join(doorbell=None)
    tried: list[int] = []

    async def write(runner_no: int) -> int:
        tried.append(runner_no)
        if len(tried) < 3:
            del roll.list[runner_no]
            raise NotFound("runner", runner_no)
        return runner_no

    assert await one.as_listed(write) == one.no
    assert len(set(tried)) == 3
    await one.leave()


@pytest.mark.parametrize(
    ("location", "doorbell", "is_told"),
    [
        (":memory:", None, True),
        ("p.db", "/nowhere/bell", True),
        ("p.db", None, False),
        ("postgresql://server/db", "/nowhere/bell", False),
    ],
)
async def test_who_is_not_told_of_newcomers_looks_for_them(
    tmp_path: Path, location: str, doorbell: str | None, *, is_told: bool
):
    """Nobody can come to memory; who comes to a server may be on a machine where this bell is not heard."""
    store: Any = Roll(location if ":" in location else str(tmp_path / location))
    one = Membership(store, store, runner_id="one", kind="worker", now_ms=lambda: 0)
    await one.join(doorbell=doorbell)
    assert one.may_miss_newcomers is not is_told
    await one.leave()


async def test_one_whose_lock_was_removed_takes_a_new_one(roll: Roll, member: Callable[[str], Membership]):
    """Whoever removed it took the holder for dead, and has buried it."""
    one = member("one")
    await one.join(doorbell=None)
    (entry,) = roll.list.values()
    remove(entry.lock_path)
    assert not is_alive(entry)
    roll.list.clear()
    await one.renew()
    (entry,) = roll.list.values()
    assert is_alive(entry)
    await one.leave()


async def test_one_runner_is_found_without_looking_at_all(
    roll: Roll, member: Callable[[str], Membership], locker: tuple[subprocess.Popen[str], Path]
):
    """Only while it lives; the dead are buried on the way."""
    process, path = locker
    one = member("one")
    await one.join(doorbell=None)
    roll.list[50] = runner(no=50, pid=process.pid, lock_path=str(path))
    roll.list[51] = runner(no=51, id="third", lock_path="/nowhere")
    found = await one.find("other")
    assert found is not None
    assert found.no == 50
    assert 51 in roll.list
    kill(process)
    assert await one.find("other") is None
    assert 50 not in roll.list
    assert await one.find("nobody") is None
    await one.leave()


async def test_a_member_that_cannot_reach_the_store_still_lets_its_lock_go(
    roll: Roll, member: Callable[[str], Membership]
):
    """Others find out by the lock."""
    one = member("one")
    await one.join(doorbell=None)
    (entry,) = roll.list.values()
    roll.error = StoreError("the disk is gone")
    await one.leave()
    assert not is_alive(entry)


async def test_a_store_in_memory_has_no_locks(member: Callable[[str], Membership], roll: Roll):
    """Nobody else can see it."""
    roll.location = ":memory:"
    one = member("one")
    await one.join(doorbell=None)
    (entry,) = roll.list.values()
    assert entry.lock_path is None
    assert is_alive(msgspec.structs.replace(entry, no=2))
    await one.leave()
