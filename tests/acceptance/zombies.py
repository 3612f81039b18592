"""Writes of a runner that was taken over while it was stopped: all of them must be refused.

A program of its own: `python zombies.py COUNT`. A child registers, starts COUNT executions and stops
itself; others bury it, as they do when a lease lapses; when it goes on it tries to move each of its
executions, to renew, to start and to claim. What became of that is printed as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from perdure.store import Store, store_at
from perdure.store.states import State
from perdure.store.writes import (
    Change,
    Claim,
    Delta,
    Deregister,
    Publish,
    PublishStep,
    Register,
    Renew,
    Start,
    Write,
)

BATCH = 200  # writes of one transaction


async def tell(store: Store, writes: list[Write]) -> list[Any]:
    """Write them all, some at a time."""
    answers: list[Any] = []
    for first in range(0, len(writes), BATCH):
        answers += await store.commit(writes[first : first + BATCH])
    return answers


def starting(id_: str, workflow_no: int, runner_no: int) -> Start:
    """An execution in that runner's name."""
    nothing = dict.fromkeys(("triggered_by", "parent_id", "agents", "deadline_at", "remaining_ms"))
    return Start(
        id=id_,
        workflow_no=workflow_no,
        state=State.EXECUTING,
        runner_no=runner_no,
        priority=0,
        trace_id="t",
        context=b"{}",
        at=1,
        delta=Delta(),
        **nothing,
    )


async def be_a_zombie(path: str, count: int) -> None:
    """Own executions, stop, and try to go on as if nothing had happened."""
    store = store_at(path)
    await store.open()
    step = PublishStep(no=0, key="s", level=0, agent="a", needs=())
    words = {"version": None, "description": None, "author": None, "tags": ()}
    publication = Publish(name="w", revision="r", definition=b"{}", steps=(step,), at=1, **words)
    entry = Register(
        id="zombie", pid=os.getpid(), host="h", kind="worker", lock_path=None, doorbell=None, at=1
    )
    workflow_no, runner_no = await tell(store, [publication, entry])
    started = await tell(store, [starting(f"e{n}", workflow_no, runner_no) for n in range(count)])
    os.kill(os.getpid(), signal.SIGSTOP)
    changes: list[Write] = [
        Change(
            execution_no=answer.execution_no,
            execution_id=f"e{n}",
            epoch=1,
            version=1,
            before=State.EXECUTING,
            state=State.COMPLETED,
            at=2,
            delta=Delta(),
        )
        for n, answer in enumerate(started)
    ]
    refused = Counter(type(answer).__name__ for answer in await tell(store, changes))
    first = started[0].execution_no
    others: list[Write] = [
        Renew(runner_no=runner_no, at=2),
        starting("new", workflow_no, runner_no),
        Claim(execution_no=first, execution_id="e0", epoch=2, runner_no=runner_no, at=2),
    ]
    rest = [type(answer).__name__ for answer in await tell(store, others)]
    await store.close()
    print(json.dumps({"changes": refused, "others": rest}))


async def bury(path: str) -> None:
    """Take the stopped runner off the list, as whoever has heard nothing of it for a lease does."""
    store = store_at(path)
    await store.open()
    [runner] = await store.runners()
    heard_at = int(runner.heartbeat_at.timestamp() * 1000)
    [is_buried] = await store.commit([Deregister(runner_no=runner.no, died=True, heard_at=heard_at)])
    assert is_buried == 1
    await store.close()


def run_zombie_writes(count: int, *, location: str | None = None) -> dict[str, Any]:
    """One zombie with that many executions, in a file or there; what each of its writes came to."""
    with tempfile.TemporaryDirectory() as folder:
        path = location or str(Path(folder) / "zombie.db")
        command = [sys.executable, __file__, "--zombie", path, str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as zombie:
            _, status = os.waitpid(zombie.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            asyncio.run(bury(path))
            zombie.send_signal(signal.SIGCONT)
            out, _ = zombie.communicate(timeout=60)
        found: dict[str, Any] = json.loads(out)
        return found


if __name__ == "__main__":
    if sys.argv[1] == "--zombie":
        asyncio.run(be_a_zombie(sys.argv[2], int(sys.argv[3])))
    else:
        print(json.dumps(run_zombie_writes(int(sys.argv[1]))))
