"""The least that any engine could do: asyncio tasks, four rows a step, group commit, and no engine.

It writes what a durable engine cannot do without: where the execution stands, the step's outcome,
and two events. It checks nothing, recovers nothing and can be asked nothing. Whatever an engine
takes beyond this time is the engine's own.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

SYNCHRONOUS: Final = {"power": "FULL", "process": "NORMAL"}

SCHEMA: Final = Path(__file__).with_name("floor.sql")

INSERT_EXECUTION: Final = """
INSERT INTO executions (no, id, state, version, epoch, runner_no, priority, updated_at, created_at, due_at,
    trace_id)
VALUES (?, ?, ?, 1, 1, ?, 0, ?, ?, ?, ?)
"""

UPDATE_EXECUTION: Final = """
UPDATE executions SET state = ?, runner_no = ?, version = version + 1, updated_at = ?
WHERE no = ? AND version = ? AND epoch = 1
"""

TOUCH_EXECUTION: Final = "UPDATE executions SET version = version + 1, updated_at = ? WHERE no = ?"

INSERT_STEP: Final = """
INSERT INTO steps (execution_no, step_no, generation, attempt, state, is_outcome, version, started_at,
    finished_at, output)
VALUES (?, ?, 0, 1, 'completed', 1, ?, ?, ?, ?)
"""

INSERT_EVENT: Final = """
INSERT INTO events (execution_no, version, at, type, step_no, attempt) VALUES (?, ?, ?, ?, ?, ?)
"""

RUNNER: Final = 1  # who owns an execution that has something to do

Statement = tuple[str, tuple[Any, ...]]
Step = Callable[[], Awaitable[dict[str, int]]]
Perform = Callable[[int], Awaitable[dict[str, int]]]  # given the number of the step


class Floor:
    """Group commit over one connection on a thread of its own."""

    def __init__(self, path: Path, *, durability: str) -> None:
        """Open the file; make the tables where there are none."""
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
        if not self._connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            self._connection.executescript(SCHEMA.read_text())
        self._queue: list[tuple[Iterable[Statement], asyncio.Future[None]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._executions = 0

    async def start(self, *, state: str = "executing", due_at: int | None = None) -> int:
        """Make an execution durable and return its number."""
        self._executions += 1
        no, at, owner = self._executions, now_ms(), RUNNER if state == "executing" else None
        execution_id, trace_id = f"01a1fce7-9f39-71fd-8f9f-{no:012}", f"01a1fce79f3971fd8f9f{no:012}"
        await self.write(
            [
                (INSERT_EXECUTION, (no, execution_id, state, owner, at, at, due_at, trace_id)),
                (INSERT_EVENT, (no, 1, at, "workflow_started", None, None)),
            ]
        )
        return no

    async def record(self, no: int, *, version: int, step_no: int, output: Any, is_last: bool) -> None:
        """Make the outcome of a step durable; it follows that `version` of the execution."""
        at = now_ms()
        state, owner = ("completed", None) if is_last else ("executing", RUNNER)
        await self.write(
            [
                (UPDATE_EXECUTION, (state, owner, at, no, version)),
                (INSERT_STEP, (no, step_no, version + 1, at, at, json.dumps(output))),
                (INSERT_EVENT, (no, version + 1, at, "step_started", step_no, 1)),
                (INSERT_EVENT, (no, version + 1, at, "step_completed", step_no, 1)),
            ]
        )

    async def run_chain(self, length: int, step: Step) -> None:
        """An execution of steps one after the other."""
        await self.go_on(await self.start(), 1, length, lambda _: step())

    async def go_on(self, no: int, version: int, length: int, perform: Perform) -> None:
        """Run a chain from wherever it is: version 1 has no outcome yet."""
        for step_no in range(version - 1, length):
            output = await perform(step_no)
            is_last = step_no == length - 1
            await self.record(no, version=step_no + 1, step_no=step_no, output=output, is_last=is_last)

    async def unfinished(self) -> list[tuple[int, int]]:
        """Number and version of every execution that somebody was working on."""
        select = "SELECT no, version FROM executions WHERE runner_no IS NOT NULL"
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: self._connection.execute(select).fetchall())

    async def run_fan(self, width: int, step: Step) -> None:
        """An execution of steps beside each other."""
        no = await self.start()
        settled = 0

        async def perform(step_no: int) -> None:
            nonlocal settled
            output = await step()
            settled += 1
            await self.record(no, version=settled, step_no=step_no, output=output, is_last=settled == width)

        async with asyncio.TaskGroup() as group:
            for step_no in range(width):
                group.create_task(perform(step_no))

    async def touch(self, no: int) -> None:
        """Make one message to an execution durable."""
        at = now_ms()
        await self.write(
            [
                (TOUCH_EXECUTION, (at, no)),
                (INSERT_EVENT, (no, 2, at, "signal_received", None, None)),
            ]
        )

    def write(self, statements: Iterable[Statement]) -> asyncio.Future[None]:
        """Queue a write; the future is done when it is durable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._queue.append((statements, future))
        if self._committing is None:
            self._committing = loop.create_task(self._commit())
        return future

    async def _commit(self) -> None:
        """Commit whatever has queued meanwhile as one transaction, until nothing has."""
        loop = asyncio.get_running_loop()
        while self._queue:
            batch, self._queue = self._queue, []
            await loop.run_in_executor(self._thread, self._apply, [write for write, _ in batch])
            for _, future in batch:
                future.set_result(None)
        self._committing = None

    def _apply(self, writes: list[Iterable[Statement]]) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for statements in writes:
            for sql, values in statements:
                execute(sql, values)
        execute("COMMIT")

    def close(self) -> None:
        """Let go of the thread and the file."""
        self._thread.shutdown()
        self._connection.close()


@asynccontextmanager
async def opened(folder: Path, *, durability: str) -> AsyncIterator[Floor]:
    """A floor in the file of this folder."""
    floor = Floor(folder / "floor.db", durability=durability)
    try:
        yield floor
    finally:
        floor.close()


def now_ms() -> int:
    """The time as the store keeps it."""
    return time.time_ns() // 1_000_000
