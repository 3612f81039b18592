"""Cuts the power at random moments of a runtime's life and looks at what is found on the disk.

A program of its own: `python power_loss.py [--seed N] [--count N] [--durability power|process] [--story N]`.
A story is a runtime at work, in virtual time, with the real store and its real SQL on a `Disk` that
remembers; a second runtime then goes on from one of the images, so that power fails during recovery,
too. After each commit that was answered the whole content is noted. An image, opened by the real
store on the real file system, must hold exactly what was answered, or that and the one batch that
was on its way: nothing less, nothing half. Whatever content is new must be a story that may happen
(`check_store`), and now and then a runtime takes the image up and brings everything to its end.

With `--durability process` an image may hold an older moment; how often and how far is counted.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import functools
import hashlib
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec
from disk import Disk, Platter, lay_out
from sqlite_on_apsw import Connection

from perdure.runtime import PerdureError, Retry, Runtime, StepContext, Workflow
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual, virtual_seams
from perdure.store import SQLiteStore
from perdure.store.connection import InlineConnection, Link
from perdure.store.protocol import Answer
from perdure.store.states import TERMINAL
from perdure.store.writes import Write

DB: Final = "life.db"
IMAGES: Final = 150  # of one runtime's life
TAKEN_UP: Final = 0.01  # of the images are brought to their end by a runtime; that takes as long as a story
PATIENCE_S: Final = 100_000.0  # virtual seconds for everything to come to its end


class Counts(msgspec.Struct, kw_only=True):
    """What was tried and what was found."""

    images: int = 0
    stories: int = 0
    commits: int = 0
    with_unanswered: int = 0  # images that hold the one batch that was on its way
    older: int = 0  # images that lack something that was answered; none with durability="power"
    older_commits_max: int = 0
    taken_up: int = 0
    seconds: float = 0.0
    problems: list[str] = []

    def add(self, other: Counts) -> None:
        """Count those, too."""
        for name in self.__struct_fields__:
            both = (getattr(self, name), getattr(other, name))
            setattr(self, name, max(both) if name.endswith("_max") else both[0] + both[1])


class StoreOnDisk(SQLiteStore):
    """The real store, its real SQL, on a `Disk`."""

    def __init__(self, path: Path, *, disk: Disk, durability: str = "power", pages: int = 1_000) -> None:
        """The log is written back every `pages` pages, so that short stories see it, too."""
        super().__init__(str(path), inline=True, durability=durability)
        synchronous = "FULL" if durability == "power" else "NORMAL"
        pragmas = ("journal_mode = WAL", f"synchronous = {synchronous}", "foreign_keys = ON")
        self.link = Link(
            str(path),
            pragmas=(*(f"PRAGMA {each}" for each in pragmas), f"PRAGMA wal_autocheckpoint = {pages}"),
            lock_wait_s=0.0,
            factory=functools.partial(_connected, disk),  # type: ignore[arg-type]
        )
        self._reader = self._writer = InlineConnection(self.link)
        self.disk = disk


def _connected(disk: Disk, path: str, *, timeout: float, **_: Any) -> Connection:
    return Connection(path, vfs=disk.name, timeout=timeout, before=disk.call)


class RecordedStore(StoreOnDisk):
    """Notes the content after each answered commit."""

    def __init__(self, path: Path, **how: Any) -> None:
        """As any store on a disk."""
        super().__init__(path, **how)
        self.answered: list[tuple[int, bytes]] = []

    async def open(self) -> None:
        """Open, and note what is there."""
        await super().open()
        self._note()

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """Commit, and note what is there now."""
        answers = await super().commit(writes)
        self._note()
        return answers

    def _note(self) -> None:
        self.answered.append((len(self.disk.ops), content_of(self.link.connection)))


def content_of(connection: Any) -> bytes:
    """Everything in a database, as one fingerprint."""
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    ).fetchall()
    content = hashlib.blake2b(digest_size=16)
    for (table,) in tables:
        columns = "version, checksum" if table == "perdure_migrations" else "*"  # not when it was made
        rows = connection.execute(f"SELECT {columns} FROM {table}").fetchall()
        content.update(repr((table, rows)).encode())
    return content.digest()


@contextlib.contextmanager
def recording(folder: Path) -> Iterator[Disk]:
    """A disk for the files in that folder."""
    disk = Disk(f"disk {folder}", folder)
    try:
        yield disk
    finally:
        disk.unregister()


# ---- a story --------------------------------------------------------------------------------------


def workflow() -> Workflow:
    """A bit of everything: steps side by side, a retry, an optional failure, a sleep, some weight."""
    mixed = Workflow("mixed")

    @mixed.step
    async def first(weight: str) -> str:
        await anyio.sleep(1)
        return weight

    @mixed.step
    async def left(first: str) -> int:
        return len(first)

    @mixed.step(retry=Retry(max_retries=2, delay=0.5))
    async def right(context: StepContext, first: str) -> str:
        if context.attempt == 1:
            raise ValueError("the first time always fails")
        return first[::2]

    @mixed.step(optional=True)
    async def hopeless(left: int) -> None:
        raise ValueError("as always")

    @mixed.step(after=[hopeless])
    async def last(left: int, right: str) -> str:
        await anyio.sleep(30)
        return f"{left} {right[:10]}"

    return mixed


async def live(runtime: Runtime, chance: random.Random, *, prefix: str) -> None:
    """Clients start executions and give them commands at random; then everything comes to its end."""

    async def client(no: int) -> None:
        await anyio.sleep(chance.choice((0, 0, 1, 5)))
        context = {"weight": "x" * chance.choice((1, 100, 5_000, 20_000))}
        execution = await runtime.start("mixed", context, id=f"{prefix}{no}")
        for _ in range(chance.randint(0, 3)):
            await anyio.sleep(chance.choice((0, 1, 10)))
            with contextlib.suppress(PerdureError):  # it may have ended
                match chance.randrange(5):
                    case 0:
                        await execution.signal("hello", {"n": no})
                    case 1:
                        await execution.pause(mode=chance.choice(("drain", "interrupt")))
                        await execution.resume()
                    case 2:
                        await execution.update_context({"more": "y" * 300})
                    case 3:
                        await execution.checkpoint(label=f"c{no}")
                    case 4:
                        await execution.cancel("enough")

    async with anyio.create_task_group() as clients:
        for no in range(chance.randint(3, 10)):
            clients.start_soon(client, no)
    await come_to_an_end(runtime)


async def come_to_an_end(runtime: Runtime) -> None:
    """Resume what rests and wait for the end of everything."""
    with anyio.fail_after(PATIENCE_S):
        for summary in await runtime.list(limit=1_000):
            execution = await runtime.execution(summary.id)
            while (await execution.status()).state not in TERMINAL:
                if (await execution.can_resume())[0]:
                    await execution.resume()
                with anyio.move_on_after(60):
                    await execution.result(check=False)


def tell_story(folder: Path, chance: random.Random, *, durability: str, prefix: str) -> tuple[Disk, Any]:
    """One runtime's life on a recorded disk, and what it answered."""
    with recording(folder) as disk:
        for path in sorted(folder.glob(f"{DB}*")):
            if path.is_file() and not path.name.endswith("-shm"):
                disk.place(path)

        async def main() -> list[tuple[int, bytes]]:
            pages = chance.choice((4, 20, 100, 1_000))
            store = RecordedStore(folder / DB, disk=disk, durability=durability, pages=pages)
            seams = virtual_seams(chance.getrandbits(32))
            async with Runtime(store=store, seams=seams, workflows=[workflow()]) as runtime:
                await live(runtime, chance, prefix=prefix)
            return store.answered

        return disk, run_virtual(main, seed=chance.getrandbits(32))


# ---- images ---------------------------------------------------------------------------------------


class Examination:
    """The images of one life, one after another."""

    def __init__(self, root: Path, answered: list[tuple[int, bytes]], *, durability: str) -> None:
        """`answered` is the content after each answered commit, with how much had been written by then."""
        self.counts = Counts(commits=len(answered))
        self._root = root
        self._answered = answered
        self._durability = durability
        self._known: set[bytes] = set()

    def look(self, image: dict[str, bytes], *, at: int, chance: random.Random, where: str) -> None:
        """Open an image made when `at` operations had happened, and compare."""
        folder = Path(tempfile.mkdtemp(dir=self._root))
        lay_out(folder, image, chance)
        self.counts.images += 1
        try:
            content = run_virtual(lambda: self._open(folder / DB))
            self._compare(content, at)
            if chance.random() < TAKEN_UP:
                self.counts.taken_up += 1
                run_virtual(lambda: _take_up(folder / DB, chance))
        except Exception as error:
            self.counts.problems.append(f"{where}: {type(error).__name__}: {error}")
        finally:
            shutil.rmtree(folder)

    async def _open(self, path: Path) -> bytes:
        store = SQLiteStore(str(path), inline=True)
        await store.open()
        try:
            content: bytes = await store._writer.run(lambda link: content_of(link.connection))
            found = await (store.verify() if content in self._known else check_store(store))
            assert not found, found
            self._known.add(content)
        finally:
            await store.close()
        return content

    def _compare(self, content: bytes, at: int) -> None:
        """It must be what was answered last, or that and the batch on its way."""
        last = max(0, bisect.bisect_right(self._answered, at, key=lambda each: each[0]) - 1)
        contents = [content for _, content in self._answered]
        if content == contents[last]:
            return
        if content in contents[last + 1 : last + 2]:
            self.counts.with_unanswered += 1
            return
        assert content in contents[: last + 1], "the image holds what the store never held"
        lost = last - max(no for no in range(last + 1) if contents[no] == content)
        self.counts.older += 1
        self.counts.older_commits_max = max(self.counts.older_commits_max, lost)
        assert self._durability != "power", f"the last {lost} answered commits are missing"


async def _take_up(path: Path, chance: random.Random) -> None:
    async with VirtualRuntime(path, seed=chance.getrandbits(32), workflows=[workflow()]) as runtime:
        await come_to_an_end(runtime)
        found = await check_store(runtime.store)
        assert not found, found


def examine_story(root: Path, seed: str, count: int, *, durability: str) -> Counts:
    """Two lives, the second going on from an image of the first, and `count` images of each."""
    chance = random.Random(seed)
    counts = Counts(stories=1)
    folder = Path(tempfile.mkdtemp(dir=root))
    for life in range(2):
        disk, answered = tell_story(folder, chance, durability=durability, prefix=f"e{life}-")
        examination = Examination(root, answered, durability=durability)
        cuts = sorted(chance.randint(disk.placed, len(disk.ops)) for _ in range(count))
        heir = chance.randrange(len(cuts)) if cuts else None
        platter = Platter()
        done = 0
        for no, cut in enumerate(cuts):
            for op in disk.ops[done:cut]:
                platter.apply(op)
            done = cut
            image = platter.image(chance)
            where = f"seed {seed!r} life {life} image {no}, power lost after {cut} operations"
            examination.look(image, at=cut, chance=chance, where=where)
            if no == heir:
                inheritance = image
        counts.add(examination.counts)
        folder = Path(tempfile.mkdtemp(dir=root))
        lay_out(folder, inheritance, chance)
    return counts


def run_images(seed: int | str, count: int, *, durability: str = "power") -> Counts:
    """Look at `count` images at least, of as many stories as that takes; stops at the first with problems."""
    begun = time.monotonic()
    counts = Counts()
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="power-", dir=memory if memory.is_dir() else None))
    try:
        while counts.images < count and not counts.problems:
            share = min(IMAGES, (count - counts.images + 1) // 2)
            counts.add(examine_story(root, f"{seed} {counts.stories}", share, durability=durability))
    finally:
        shutil.rmtree(root)
    counts.seconds = round(time.monotonic() - begun, 1)
    return counts


def main() -> None:
    """Read what is wanted, do it, print what was found; exit 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", default="0")
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--durability", choices=("power", "process"), default="power")
    options = parser.parse_args()
    counts = run_images(options.seed, options.count, durability=options.durability)
    print(json.dumps(msgspec.to_builtins(counts), indent=1))
    raise SystemExit(bool(counts.problems))


if __name__ == "__main__":
    main()
