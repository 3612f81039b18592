"""Kills a life at its fault points, one after another, and looks at what the next one makes of it.

A program of its own: `python crash_points.py LIFE [--at N[,M]] [--most N] [--pairs N] [--shuffle] [--real]
[--server URL]`.
It imports everything (also what is only imported when it is needed, or each process would do so anew),
starts no loop and no thread, and forks each process of each life from there.
First a life without a fault counts the fault points it passes and shows the end there should be.
Then, for each chosen point, the process of a life is killed there with SIGKILL and a second process
lives on from what is in the store and in the client's journal. A pair kills the second one as well.

Lives are lived in virtual time with the store inline, so that fault point n is the same in each;
with `--shuffle` every process runs its ready tasks in an order of its own, drawn from the seed; with
`--real` they live on the real clock and the threaded store. With `--server` each lives in a database of
its own on that PostgreSQL server: time stands still while it is waited for, but which answer comes first
is its affair, so point n is about the same in each. What was found is printed as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import importlib
import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from blank import Databases, Files, fork
from client import ID, Client, Journal, read
from lives import LIVES
from stage_on_server import hold_clock_for_server

from perdure.actors.kernel import faults
from perdure.runtime import Runtime
from perdure.runtime.testing import (
    VIRTUAL_EPOCH,
    Acknowledged,
    Effect,
    VirtualRuntime,
    check_store,
    run_virtual,
)
from perdure.runtime.testing.virtual import virtual_seams
from perdure.store import SQLiteStore
from perdure.store.postgres import PostgresStore

PATIENCE_S: Final = 30  # a life takes well under a second; one that takes so long hangs
DOWNTIME_S: Final = 5.0  # of virtual time between two processes of a life
PASSES_MAX: Final = 100_000  # of a virtual loop at one moment
JOBS: Final = 2
IMPORTED_LATE: Final = ("anyio._backends._asyncio", "structlog")
INSIDE_THE_COMMIT: Final = frozenset({"transaction"})  # lives with fault points in the store as well


class Verdict(msgspec.Struct, kw_only=True):
    """What became of a life."""

    crashed_at: tuple[str, ...]
    problems: list[str]
    points: list[str] = []
    end: dict[str, Any] | None = None


class Watched(sqlite3.Connection):
    """A connection with fault points around each COMMIT and each statement on a table of the user's."""

    def __init__(self, hit: Callable[[str], None], *args: Any, **options: Any) -> None:
        """`hit` is called at each of them."""
        super().__init__(*args, **options)
        self._hit = hit

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """The statement, between its two points."""
        word = sql.split(maxsplit=1)[0]
        if word != "COMMIT" and "entries" not in sql:
            return super().execute(sql, *parameters)
        self._hit(f"{word}:before")
        cursor = super().execute(sql, *parameters)
        self._hit(f"{word}:after")
        return cursor


class Process:
    """One process of a life: counts the fault points it passes, and dies at one of them if it is told to."""

    def __init__(
        self,
        folder: Path,
        life: str,
        *,
        location: str,
        no: int,
        seed: int,
        dies_at: int | None,
        real: bool = False,
        shuffle: bool = False,
    ) -> None:
        """`no` counts the processes of the life from 0; what they leave is in `folder`, and at `location`."""
        self.folder = folder
        self._location = location
        self.points: list[str] = []
        self._life = life
        self._no = no
        self._seed = f"{seed} {folder.name.partition('.')[0]} {no}"
        self._order = random.Random(self._seed).getrandbits(32) if shuffle else None
        self._runtimes = 0
        self._dies_at = dies_at
        self._real = real
        self._journal_path = folder / "journal.jsonl"

    def live(self) -> dict[str, Any]:
        """Play to the end and check the store; answers the end. Does not return from a fatal point."""
        hold_clock_for_server()
        self._journal = Journal(self._journal_path)
        self._script = LIVES[self._life](self._journal)
        with faults.installed(self._hit):
            if self._real:
                return asyncio.run(self._main())
            epoch = VIRTUAL_EPOCH + self._no * DOWNTIME_S
            return run_virtual(self._main, seed=self._order, epoch=epoch, passes_max=PASSES_MAX)

    def _hit(self, point: str) -> None:
        self.points.append(point)
        if len(self.points) == self._dies_at:
            (self.folder / f"died-{self._no}").write_text(f"{self._dies_at} {point}")
            os.kill(os.getpid(), signal.SIGKILL)

    def _runtime(self, *, kind: str = "embedded") -> Runtime:
        workflows = [] if kind == "client" else [self._script.workflow]
        options = {**self._script.options, "workflows": workflows, "kind": kind}
        store = self._store()
        if self._life in INSIDE_THE_COMMIT and isinstance(store, SQLiteStore):
            store._writer._link._factory = partial(Watched, self._hit)
        if self._real:
            return Runtime(self._location, store=store, **options)
        self._runtimes += 1
        seams = virtual_seams(f"{self._seed} {self._runtimes}")
        options["seams"] = msgspec.structs.replace(seams, post=self._script.post)
        return VirtualRuntime(self._location, store=store, **options)

    def _store(self) -> SQLiteStore | PostgresStore:
        if "://" in self._location:
            return PostgresStore(self._location, durability="process")
        return SQLiteStore(self._location, durability="process", inline=not self._real)

    async def _main(self) -> dict[str, Any]:
        async with self._runtime() as runtime:
            client = Client(runtime, self._journal, another=self._runtime)
            result = await self._script.play(client)
        end = {"status": result.status.value, "outputs": result.outputs}
        return {"end": end, "problems": await self._check(), "points": self.points}

    async def _check(self) -> list[str]:
        lines = read(self._journal_path)
        store = self._store()
        await store.open()
        try:
            left = [f"runner {runner.id} is on the list, and gone" for runner in await store.runners()]
            return left + await check_store(
                store,
                ledger=[msgspec.convert(line, Effect) for line in lines if "idempotency_key" in line],
                acknowledged=[_promise(line["told"]) for line in lines if "told" in line],
            )
        finally:
            await store.close()


def _promise(told: str) -> Acknowledged:
    what, _, name = told.partition(" ")
    if what == "start":
        return Acknowledged(execution_id=name or ID)
    return Acknowledged(execution_id=ID, command_id=None if what == "saw" else told)


def _run(process: Process) -> tuple[str, dict[str, Any] | None]:
    """Live one process of a life in a child. Answers how it ended, and what it says if it did so well."""
    answer = process.folder / "answer.json"

    def work() -> None:
        tempfile.tempdir = str(process.folder)
        log = os.open(process.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        faulthandler.dump_traceback_later(PATIENCE_S - 5)
        signal.alarm(PATIENCE_S)
        answer.write_text(json.dumps(process.live()))

    _, status = os.waitpid(fork(work), 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return "", json.loads(answer.read_text())
    if code == -signal.SIGALRM:
        return f"a process hung:\n{_tail(process.folder)}", None
    if code == -signal.SIGKILL:
        return "killed", None
    return f"a process failed with {code}:\n{_tail(process.folder)}", None


def _tail(folder: Path) -> str:
    return (folder / "log").read_text()[-3_000:]


def live(root: Path, life: str, *, at: Sequence[int], stores: Files | Databases, **how: Any) -> Verdict:
    """A whole life, killed at `at[0]` of its first process, `at[1]` of its second and so on."""
    folder = Path(tempfile.mkdtemp(dir=root, prefix="-".join(map(str, at)) + "."))
    stores.copy(folder)
    how["location"] = stores.location(folder)
    said: dict[str, Any] | None = None
    fate = ""
    for no, dies_at in enumerate([*at, None]):
        fate, said = _run(Process(folder, life, no=no, dies_at=dies_at, **how))
        if fate not in {"", "killed"}:
            break
    crashed_at = tuple(path.read_text() for path in sorted(folder.glob("died-*")))
    if said is None:
        return Verdict(crashed_at=crashed_at, problems=[fate])
    if not said["problems"]:
        stores.drop(folder)
        shutil.rmtree(folder)
    return Verdict(crashed_at=crashed_at, problems=said["problems"], points=said["points"], end=said["end"])


def campaign(root: Path, life: str, wanted: Sequence[Sequence[int]], **options: Any) -> list[Verdict]:
    """Live all of them, JOBS at a time."""
    workers = []
    for job in range(JOBS):
        path = root / f"verdicts-{job}.json"

        def work(mine: Sequence[Sequence[int]] = wanted[job::JOBS], path: Path = path) -> None:
            path.write_bytes(msgspec.json.encode([live(root, life, at=at, **options) for at in mine]))

        workers.append((fork(work), path))
    verdicts: list[Verdict] = []
    for pid, path in workers:
        os.waitpid(pid, 0)
        verdicts += msgspec.json.decode(path.read_bytes(), type=list[Verdict])
    return verdicts


def sample(total: int, most: int | None, chance: random.Random) -> list[int]:
    """Points 1 … total, or `most` of them, one from each of as many equal stretches."""
    if most is None or total <= most:
        return list(range(1, total + 1))
    edges = [1 + total * no // most for no in range(most + 1)]
    return [chance.randrange(low, high) for low, high in itertools.pairwise(edges)]


def explore(options: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Everything that was asked for, and what was found."""
    begun = time.monotonic()
    chance = random.Random(f"{options.seed} {options.life}")
    stores = Files(root) if options.server is None else Databases(root, options.server)
    how = {"seed": options.seed, "real": options.real, "shuffle": options.shuffle, "stores": stores}
    for name in IMPORTED_LATE:
        importlib.import_module(name)
    stores.make()
    faultless = live(root, options.life, at=[], **how)
    total = len(faultless.points)
    wanted = options.at or [[at] for at in sample(total, options.most, chance)]
    wanted += [[chance.randint(1, total), chance.randint(1, total)] for _ in range(options.pairs)]
    verdicts = campaign(root, options.life, wanted, **how) if total else []
    for verdict in verdicts:
        if verdict.end != faultless.end and verdict.end is not None:
            verdict.problems.append(f"it ended {verdict.end}, without a crash {faultless.end}")
    failures = [verdict for verdict in [faultless, *verdicts] if verdict.problems]
    return {
        "life": options.life,
        "seed": options.seed,
        "points": total,
        "lives": len(verdicts),
        "kills": sum(len(verdict.crashed_at) for verdict in verdicts),
        "end": faultless.end,
        "seconds": round(time.monotonic() - begun, 2),
        "failures": [{"killed_at": verdict.crashed_at, "problems": verdict.problems} for verdict in failures],
    }


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Read what is wanted, do it, print what was found; exit 1 if something was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("life", choices=LIVES)
    parser.add_argument("--at", type=_numbers, action="append", help="this point (or N,M: a pair) only")
    parser.add_argument("--most", type=int, help="at most so many points, evenly spread")
    parser.add_argument("--pairs", type=int, default=0, help="so many lives with two crashes")
    parser.add_argument("--shuffle", action="store_true", help="another interleaving for each process")
    parser.add_argument("--real", action="store_true", help="real time and the threaded store")
    parser.add_argument("--server", help="in databases of a PostgreSQL server there")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where the lives are kept; those that went wrong stay there")
    options = parser.parse_args()
    memory = Path("/dev/shm")
    place = options.folder or (memory if memory.is_dir() else None)
    root = Path(tempfile.mkdtemp(prefix="crash-", dir=place))
    found = explore(options, root)
    if not found["failures"]:
        with contextlib.suppress(OSError):
            shutil.rmtree(root)
    print(json.dumps(found | {"folder": str(root)}, indent=1))
    sys.exit(bool(found["failures"]))


if __name__ == "__main__":
    main()
