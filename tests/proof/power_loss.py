"""Cuts the power at random moments of a runtime's life and looks at what is found on the disk.

A program of its own: `python power_loss.py [--seed N] [--count N] [--durability power|process] [--story N]`.
A story is a runtime at work, in virtual time, with the real store and its real SQL on a `Disk` that
remembers; a second runtime then goes on from one of the images, so that power fails during recovery,
too. After each commit that was answered the whole content is noted. An image, opened by the real
store on the real file system, must hold exactly what was answered, or that and the one batch that
was on its way: nothing less, nothing half. Whatever content is new must be a story that may happen
(`check_store`), and now and then a runtime takes the image up and brings everything to its end.

In every third story some syncs fail before the power does. What such a commit has written may be
found or not; then an image has to hold every execution at least as it was when that was answered.

With `--durability process` an image may hold an older moment; how often and how far is counted.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import json
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import anyio
import apsw
import msgspec
from disk import Disk, Fault, Platter, lay_out
from recorded import DB, Answered, RecordedStore, content_of, recording, versions_of

from perdure.runtime import Execution, PerdureError, Retry, Runtime, StepContext, StoreError, Workflow
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual, virtual_seams
from perdure.store import SQLiteStore
from perdure.store.states import TERMINAL

IMAGES: Final = 150  # of one runtime's life
FAILING: Final = 0.06  # of the syncs, in a story in which they fail
IOERR_FSYNC: Final = 0x40A
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
    failed_syncs: int = 0
    seconds: float = 0.0
    problems: list[str] = []

    def add(self, other: Counts) -> None:
        """Count those, too."""
        for name in self.__struct_fields__:
            both = (getattr(self, name), getattr(other, name))
            setattr(self, name, max(both) if name.endswith("_max") else both[0] + both[1])


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
        execution = await _start(runtime, context, id_=f"{prefix}{no}")
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


async def _start(runtime: Runtime, context: dict[str, Any], *, id_: str) -> Execution:
    while True:
        try:
            return await runtime.start("mixed", context, id=id_)
        except StoreError:  # a sync has failed; the same id joins what may be there
            await anyio.sleep(1)


async def come_to_an_end(runtime: Runtime) -> None:
    """Resume what rests and wait for the end of everything."""
    with anyio.fail_after(PATIENCE_S):
        for summary in await runtime.list(limit=1_000):
            execution = await runtime.execution(summary.id)
            while (await execution.status()).state not in TERMINAL:
                with anyio.move_on_after(60), contextlib.suppress(StoreError):
                    if (await execution.can_resume())[0]:
                        await execution.resume()
                    await execution.result(check=False)


class FailingSyncs(Fault):
    """Fails a sync now and then."""

    def __init__(self, chance: random.Random) -> None:
        """Once in that many, drawn from `chance`."""
        super().__init__(at=0, error=failed_sync, for_good=False)
        self._chance = chance

    def hit(self, call: str) -> None:
        """A call is made."""
        self.at = self.calls + 1 if self._chance.random() < FAILING else 0
        super().hit(call)


def failed_sync(call: str) -> apsw.Error | None:
    """What a sync fails with; other calls do not."""
    if call != "sync":
        return None
    error = apsw.IOError("disk I/O error")
    error.extendedresult = IOERR_FSYNC
    return error


def tell_story(
    folder: Path, chance: random.Random, *, durability: str, prefix: str, fails: bool
) -> tuple[Disk, list[Answered]]:
    """One runtime's life on a recorded disk, and what it answered."""
    with recording(folder) as disk:
        for path in sorted(folder.glob(f"{DB}*")):
            if path.is_file() and not path.name.endswith("-shm"):
                disk.place(path)

        async def main() -> list[Answered]:
            pages = chance.choice((4, 20, 100, 1_000))
            store = RecordedStore(folder / DB, disk=disk, durability=durability, pages=pages)
            seams = virtual_seams(chance.getrandbits(32))
            async with Runtime(store=store, seams=seams, workflows=[workflow()]) as runtime:
                if fails:
                    disk.fault = FailingSyncs(chance)
                await live(runtime, chance, prefix=prefix)
                if disk.fault is not None:
                    disk.fault.is_mended = True  # that the process can take its leave is proved elsewhere
            return store.answered

        return disk, run_virtual(main, seed=chance.getrandbits(32))


class Examination:
    """The images of one life, one after another."""

    def __init__(self, root: Path, answered: list[Answered], *, durability: str, failed_syncs: int) -> None:
        """Compare with what was answered in that life."""
        self.counts = Counts(commits=len(answered), failed_syncs=failed_syncs)
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
            found = run_virtual(lambda: self._open(folder / DB))
            self._compare(*found, at)
            if chance.random() < TAKEN_UP:
                self.counts.taken_up += 1
                run_virtual(lambda: _take_up(folder / DB, chance))
        except Exception as error:
            self.counts.problems.append(f"{where}: {type(error).__name__}: {error}")
        finally:
            shutil.rmtree(folder)

    async def _open(self, path: Path) -> tuple[bytes, dict[str, int]]:
        store = SQLiteStore(str(path), inline=True)
        await store.open()
        try:
            content: bytes = await store._writer.run(lambda link: content_of(link.connection))
            found = await (store.verify() if content in self._known else check_store(store))
            assert not found, found
            self._known.add(content)
            versions: dict[str, int] = await store._writer.run(lambda link: versions_of(link.connection))
        finally:
            await store.close()
        return content, versions

    def _compare(self, content: bytes, versions: dict[str, int], at: int) -> None:
        """It must be what was answered last, or that and the batch on its way."""
        last = max(0, bisect.bisect_right(self._answered, at, key=lambda each: each.at) - 1)
        contents = [each.content for each in self._answered]
        if content == contents[last]:
            return
        if content in contents[last + 1 : last + 2]:
            self.counts.with_unanswered += 1
            return
        promised = self._answered[last].versions
        if self.counts.failed_syncs and all(versions.get(id_, 0) >= promised[id_] for id_ in promised):
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
    fails = durability == "power" and chance.random() < 1 / 3
    for life in range(2):
        disk, answered = tell_story(folder, chance, durability=durability, prefix=f"e{life}-", fails=fails)
        failed_syncs = 0 if disk.fault is None else len(disk.fault.hits)
        examination = Examination(root, answered, durability=durability, failed_syncs=failed_syncs)
        cuts = sorted(chance.randint(disk.placed, len(disk.ops)) for _ in range(count))
        heir = chance.randrange(len(cuts)) if cuts else None
        platter = Platter(chance)
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
