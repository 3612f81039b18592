"""Runners in processes of their own over one file: started, fed, stopped, killed, and watched from outside.

A worker (`WORKER`) performs chains of four steps, each of which writes a line into a ledger beside the
database before it sleeps: the first for `pace` seconds, the others for a tenth of that.
Whatever happens to the processes, the ledger and the database tell.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from perdure.runtime.testing import Acknowledged, Effect, check_store
from perdure.store import store_at
from perdure.store.sqlite.locks import writer_of

PATIENCE_S = 30.0  # a loaded machine may be slow; a hang is still found

WORKER = '''
import asyncio, json, logging, os, signal, sys, threading
from perdure.runtime import Runtime, StepContext, Workflow
from perdure.store import store_at
from perdure.store.scripts.apply import APPLY
from perdure.store.errors import StoreLocked
from perdure.store.writes import Change

location = os.environ.get("FLEET_DB", "fleet.db")
logging.basicConfig(level=logging.WARNING)
ledger = os.open("ledger.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
chain = Workflow("chain")


def note(context: StepContext, began: bool = True) -> None:
    line = {"execution_id": context.execution_id, "step": context.step, "generation": context.generation,
            "attempt": context.attempt, "idempotency_key": context.idempotency_key}
    os.write(ledger, (json.dumps(line) + "\\n").encode())


async def rest(context: StepContext, pace: float, done: int) -> int:
    note(context)
    await asyncio.sleep(pace)
    return done + 1


@chain.step
async def s0(context: StepContext, pace: float) -> int:
    return await rest(context, pace, 0)


@chain.step
async def s1(context: StepContext, pace: float, s0: int) -> int:
    return await rest(context, pace / 10, s0)


@chain.step
async def s2(context: StepContext, pace: float, s1: int) -> int:
    return await rest(context, pace / 10, s1)


@chain.step
async def s3(context: StepContext, pace: float, s2: int) -> int:
    return await rest(context, pace / 10, s2)


class Counting(type(store_at(location))):
    """A store that counts what became of claims, and of the changes it was told while `counts` is there."""

    counts = None
    claims = {"won": 0, "lost": 0}

    async def commit(self, writes):
        answers = await super().commit(writes)
        for write, answer in zip(writes, answers):
            if type(write).__name__.startswith("Claim"):
                self.claims["lost" if isinstance(answer, Exception) else "won"] += 1
        if self.counts is not None:
            for write, answer in zip(writes, answers):
                if isinstance(write, Change):
                    word = type(answer).__name__
                    self.counts[word] = self.counts.get(word, 0) + 1
        return answers


halts = []
apply_change = APPLY[Change]


def halting(*given):
    """Apply a change; when told so, be stopped in the middle of it."""
    answer = apply_change(*given)
    if halts:
        halts.clear()
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # this thread, so that it gets no further
    return answer


APPLY[Change] = halting


async def main(kind: str, lease_s: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    store = Counting(location)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    options = {"workflows": [chain], "kind": kind, "lease_s": float(lease_s), "store": store}
    options["crash_budget"] = 1_000  # these processes are killed from outside, which is no step's fault
    async with Runtime(location, **options) as runtime:
        print(json.dumps({"ready": runtime.machine.membership.id}), flush=True)
        while not stop.is_set():
            line = asyncio.ensure_future(reader.readline())
            stopped = asyncio.ensure_future(stop.wait())
            await asyncio.wait([line, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not line.done() or not line.result():
                line.cancel()
                break
            order = json.loads(line.result())
            if "start" in order:
                pace = {"pace": order["pace"]}
                try:
                    await asyncio.gather(*(runtime.start("chain", pace, id=id_) for id_ in order["start"]))
                except StoreLocked as error:
                    print(json.dumps({"locked_by": error.pid, "text": str(error)}), flush=True)
                    continue
            if "halt" in order:
                halts.append(True)
            if "count" in order:
                store.counts = {}
            if "pause" in order:
                await (await runtime.execution(order["pause"])).pause()
            told = {"counts": store.counts, "claims": store.claims, "no": runtime.machine.membership.no}
            print(json.dumps(told), flush=True)


asyncio.run(main(*sys.argv[1:]))
'''


class Worker:
    """One process of the fleet."""

    def __init__(self, folder: Path, *, kind: str, lease_s: float, location: str) -> None:
        """Start it; `arrive` waits until it is on the list."""
        self.words = (folder / f"worker-{time.monotonic_ns()}.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "worker.py", kind, str(lease_s)],
            cwd=folder,
            env=os.environ | {"FLEET_DB": location},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.words,
            text=True,
        )
        self.id = ""

    def arrive(self) -> Worker:
        """Wait until it is on the list."""
        self.id = self.hear()["ready"]
        return self

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def hear(self) -> dict[str, Any]:
        """Its next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said()
        heard: dict[str, Any] = json.loads(line)
        return heard

    def tell(self, **order: Any) -> None:
        """Give it an order and do not wait."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def ask(self, **order: Any) -> dict[str, Any]:
        """Give it an order and wait until it is done."""
        self.tell(**order)
        return self.hear()

    def said(self) -> str:
        """What it has written to stderr, where its log goes."""
        self.words.flush()
        return Path(self.words.name).read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def close(self) -> None:
        """Leave nothing of it behind."""
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with _broken_pipes():
                    stream.close()
        self.process.wait()
        self.words.close()


@contextmanager
def _broken_pipes() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        return


class Fleet:
    """Workers over one database in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        """Nobody works yet."""
        self.folder = folder
        self.workers: list[Worker] = []
        (folder / "worker.py").write_text(WORKER)

    @property
    def path(self) -> str:
        """The database."""
        return str(self.folder / "fleet.db")

    def worker(self, *, kind: str = "worker", lease_s: float = 5.0) -> Worker:
        """One more, on the list."""
        return self.coming(kind=kind, lease_s=lease_s).arrive()

    def coming(self, *, kind: str = "worker", lease_s: float = 5.0) -> Worker:
        """One more, which is on its way."""
        made = Worker(self.folder, kind=kind, lease_s=lease_s, location=self.path)
        self.workers.append(made)
        return made

    def close(self) -> None:
        """End them all."""
        for worker in self.workers:
            worker.close()

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """What the database says, to somebody who only looks."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def stop(self, worker: Worker) -> None:
        """Stop it between two transactions: inside of one it would block the file."""
        worker.signal(signal.SIGSTOP)
        while writer_of(self.path) == worker.pid:
            worker.signal(signal.SIGCONT)
            time.sleep(0.01)
            worker.signal(signal.SIGSTOP)

    def owned(self, worker: Worker) -> int:
        """How many executions it has."""
        query = (
            "SELECT count(*) FROM workflow_executions e JOIN runners r ON r.no = e.runner_no WHERE r.id = "
        )
        return int(self.ask(f"{query}'{worker.id}'")[0][0])

    def done(self) -> int:
        """How many executions have ended."""
        return int(self.ask("SELECT count(*) FROM workflow_executions WHERE finished_at IS NOT NULL")[0][0])

    def states(self) -> dict[str, str]:
        """Where each execution stands."""
        return dict(self.ask("SELECT id, state FROM workflow_executions"))

    def ledger(self) -> list[Effect]:
        """Each time a body has begun, in order."""
        path = self.folder / "ledger.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Effect(**json.loads(line)) for line in lines]

    async def wrong(self, started: Iterable[str]) -> list[str]:
        """What the checker finds wrong with the database, the ledger, and those that were started."""
        store = store_at(self.path)
        await store.open()
        try:
            acknowledged = [Acknowledged(execution_id=id_) for id_ in started]
            return await check_store(store, ledger=self.ledger(), acknowledged=acknowledged)
        finally:
            await store.close()

    def until(self, claim: Callable[[], object], *, seconds: float = PATIENCE_S) -> float:
        """Look again and again until it holds; how long that took."""
        begun = time.monotonic()
        while not claim():
            waited = time.monotonic() - begun
            assert waited < seconds, "\n".join(worker.said() for worker in self.workers)
            time.sleep(0.005)
        return time.monotonic() - begun
