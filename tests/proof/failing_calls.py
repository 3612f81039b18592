"""Fails the n-th call to the disk, for n = 1, 2, 3 … until a story passes without meeting the fault.

A program of its own: `python failing_calls.py KIND MODE [--most N] [--seed N]`. KIND is what the call
fails with: `ioerr` (any call), `full` (writes), `cantopen` (opening) or `busy` (beginning and ending a
transaction); MODE is `once`, `outage` (it and all after it, until the disk is mended half a minute
later) or `restart` (until the runtime has been left, and another one goes on).

The story is a runtime and clients that repeat whatever they were not told the end of. They may meet
StoreError and nothing else; in the end everything they were told is in the store, everything has
ended, and every effect beside the store can be explained by the log.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import apsw
import msgspec
from disk import Disk, Fault
from recorded import DB, StoreOnDisk, recording

from perdure.runtime import Runtime, Status, StepContext, Workflow
from perdure.runtime.testing import Acknowledged, Effect, check_store, run_virtual, virtual_seams
from perdure.store import SQLiteStore
from perdure.store.errors import StoreError

T = TypeVar("T")

OUTAGE_S: Final = 30.0
TRIES_MAX: Final = 200  # of a client, a second apart; more is a hang
EXECUTIONS: Final = 3
MODES: Final = ("once", "outage", "restart")

FSYNC: Final = 0x40A  # SQLITE_IOERR_FSYNC and its like: which kind of call it was
READ: Final = 0x10A
WRITE: Final = 0x30A


def _failed(error: apsw.Error, code: int) -> apsw.Error:
    error.extendedresult = code
    return error


def _ioerr(call: str) -> apsw.Error | None:
    codes = {"read": READ, "write": WRITE, "sync": FSYNC, "truncate": 0x60A, "delete": 0xA0A}
    return _failed(apsw.IOError("disk I/O error"), codes[call]) if call in codes else None


def _full(call: str) -> apsw.Error | None:
    return _failed(apsw.FullError("database or disk is full"), 13) if call == "write" else None


def _cantopen(call: str) -> apsw.Error | None:
    return _failed(apsw.CantOpenError("unable to open database file"), 14) if call == "open" else None


def _busy(call: str) -> apsw.Error | None:
    is_border = call in {"BEGIN IMMEDIATE", "COMMIT"}
    return _failed(apsw.BusyError("database is locked"), 5) if is_border else None


KINDS: Final = {"ioerr": _ioerr, "full": _full, "cantopen": _cantopen, "busy": _busy}


class World:
    """What is outside of the store: effects, and what clients were told."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.effects: list[Effect] = []
        self.told: list[Acknowledged] = []
        self.errors = 0

    async def insist(self, action: Callable[[], Awaitable[T]]) -> T:
        """Do it until it is answered; the store may fail, nothing else."""
        for _ in range(TRIES_MAX):
            try:
                return await action()
            except StoreError:
                self.errors += 1
                await anyio.sleep(1)
        raise AssertionError("the store never came back")


def workflow(world: World) -> Workflow:
    """Two steps that act on the world."""
    plain = Workflow("plain")

    async def act(context: StepContext) -> str:
        await anyio.sleep(1)
        fields = ("execution_id", "step", "generation", "attempt", "idempotency_key")
        world.effects.append(Effect(**{name: getattr(context, name) for name in fields}))
        return context.step

    @plain.step
    async def first(context: StepContext) -> str:
        return await act(context)

    @plain.step(after=[first])
    async def second(context: StepContext) -> str:
        return await act(context)

    return plain


async def clients(runtime: Runtime, world: World) -> None:
    """Each starts an execution, sends it a signal, checks a result; under ids of its own, until it knows."""

    async def client(no: int) -> None:
        id_ = f"e{no}"
        execution = await world.insist(lambda: runtime.start("plain", {}, id=id_))
        world.told.append(Acknowledged(execution_id=id_))
        if no == 0:
            await world.insist(lambda: execution.signal("hello", command_id="hello"))
            world.told.append(Acknowledged(execution_id=id_, command_id="hello"))
        result = await world.insist(execution.result)
        assert result.status is Status.COMPLETED
        assert result.outputs == {"first": "first", "second": "second"}

    async with anyio.create_task_group() as group:
        for no in range(EXECUTIONS):
            group.start_soon(client, no)


async def play(folder: Path, disk: Disk, mode: str) -> World:
    """The story: as many runtimes as it takes, then a look at what there is."""
    world = World()
    fault = disk.fault
    assert fault is not None
    is_done = False
    tries = 0
    while not is_done:
        tries += 1
        assert tries < TRIES_MAX, "the runtime can never be opened"
        store = StoreOnDisk(folder / DB, disk=disk, pages=8)
        try:
            async with (
                Runtime(store=store, seams=virtual_seams(tries), workflows=[workflow(world)]) as runtime,
                anyio.create_task_group() as menders,
            ):
                if mode == "outage":
                    menders.start_soon(_mend, fault)
                if mode == "restart":
                    with anyio.move_on_after(OUTAGE_S):
                        await clients(runtime, world)
                        is_done = True
                else:
                    await clients(runtime, world)
                    is_done = True
                menders.cancel_scope.cancel()
        except* StoreError:
            world.errors += 1
            await anyio.sleep(1)
        if mode != "once" and fault.hits:
            fault.is_mended = True
    return world


async def _mend(fault: Fault) -> None:
    while not fault.hits:  # noqa: ASYNC110 - whoever makes the call does not know that it fails
        await anyio.sleep(1)
    await anyio.sleep(OUTAGE_S)
    fault.is_mended = True


async def examine(path: Path, world: World) -> None:
    """Open it where nothing fails, and compare."""
    store = SQLiteStore(str(path), inline=True)
    await store.open()
    try:
        found = await check_store(store, ledger=world.effects, acknowledged=world.told)
        assert found == [], found
        summaries = await store.executions()
        assert {summary.status for summary in summaries} == {Status.COMPLETED}
        assert len(summaries) == EXECUTIONS
    finally:
        await store.close()


def try_at(root: Path, n: int, *, kind: str, mode: str, seed: int) -> tuple[Fault, World]:
    """The story with the n-th call failing."""
    folder = Path(tempfile.mkdtemp(dir=root))
    with recording(folder) as disk:
        fault = disk.fault = Fault(at=n, error=KINDS[kind], for_good=mode != "once")
        world = run_virtual(lambda: play(folder, disk, mode), seed=seed)
    run_virtual(lambda: examine(folder / DB, world))
    shutil.rmtree(folder)
    return fault, world


class Counts(msgspec.Struct, kw_only=True):
    """What was tried and what was found."""

    kind: str
    mode: str
    calls: int = 0
    stories: int = 0
    faults: int = 0
    errors: int = 0
    repeated: int = 0
    seconds: float = 0.0
    problems: list[str] = []


def run_failures(kind: str, mode: str, *, most: int | None, seed: int) -> Counts:
    """Fail every call of the story in turn, or `most` of them, evenly spread; stops at the first problems."""
    begun = time.monotonic()
    counts = Counts(kind=kind, mode=mode)
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="calls-", dir=memory if memory.is_dir() else None))
    fault, _ = try_at(root, 1_000_000, kind=kind, mode=mode, seed=seed)
    counts.calls = fault.calls
    stride = 1 if most is None else max(1, fault.calls // most)
    n = 1 + random.Random(seed).randrange(stride)
    while fault.hits or counts.stories == 0:  # a fault may lead to more calls: go on until one passes clean
        counts.stories += 1
        try:
            fault, world = try_at(root, n, kind=kind, mode=mode, seed=seed)
        except BaseException as error:  # also what a fault did to the machinery below
            counts.problems.append(f"{kind} {mode} at call {n}, seed {seed}: {_leaves(error)}")
            if len(counts.problems) > 5:
                break
            fault.hits.append("")
        else:
            counts.faults += len(fault.hits)
            counts.errors += world.errors
            keys = [(effect.execution_id, effect.step) for effect in world.effects]
            counts.repeated += len(keys) - len(set(keys))
        n += stride
    shutil.rmtree(root)
    counts.seconds = round(time.monotonic() - begun, 1)
    return counts


def _leaves(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_leaves(each) for each in error.exceptions)
    return f"{type(error).__name__}: {error}"


def main() -> None:
    """Read what is wanted, do it, print what was found; exit 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--most", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at", type=int, help="this call only, and let the error be seen")
    options = parser.parse_args()
    if options.at is not None:
        root = Path(tempfile.mkdtemp(prefix="calls-"))
        fault, _ = try_at(root, options.at, kind=options.kind, mode=options.mode, seed=options.seed)
        print(fault.hits)
        return
    found: Any = msgspec.to_builtins(
        run_failures(options.kind, options.mode, most=options.most, seed=options.seed)
    )
    print(json.dumps(found, indent=1))
    raise SystemExit(bool(found["problems"]))


if __name__ == "__main__":
    main()
