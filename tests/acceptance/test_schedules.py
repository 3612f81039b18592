"""A schedule of one second, kept by two workers that are killed at random: each moment fires exactly once."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

SECONDS = 8 * float(os.environ.get("PERDURE_PROOF_SCALE", "1"))
WORKERS = 2
TICK = """\
name: tick
schedule: [{every: 1s, missed: all, overlap: allow}]
steps: [{key: first, agent: note, prompt: "tick {{of}}"}]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills processes with signals")
def test_no_moment_is_lost_or_doubled_by_kills(terminal: Any):
    """From the first to the last: one decision, one execution, which ends completed."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    text = TICK.replace("missed: all", "missed: all, input: {of: the clock}")
    (Path(terminal.folder) / "tick.yaml").write_text(text)
    terminal.run("run", "tick.yaml", "-i", "of=hand", "--agents", "agents.py:agents")

    workers = [start(terminal) for _ in range(WORKERS)]
    kills = kill_for(SECONDS, terminal, workers, chance)
    end = datetime.now().astimezone()
    terminal.wait_until(lambda: newest(terminal) >= end)
    firings = ask(terminal, "schedule", "history", "tick", "-n", "1000")
    moments = sorted(datetime.fromisoformat(one["due_at"]) for one in firings)
    begun = sorted(one["execution_id"] for one in firings)
    terminal.wait_until(lambda: {one["status"] for one in up_to(begun[-1], terminal)} == {"completed"})
    print(f"{kills} kills, {len(moments)} moments")
    assert kills >= SECONDS / 2
    assert moments == [moments[0] + timedelta(seconds=no) for no in range(len(moments))]
    assert {(one["decision"], one["count"]) for one in firings} == {("started", 1)}
    assert begun == sorted(one["id"] for one in up_to(begun[-1], terminal))
    assert len(moments) >= SECONDS
    assert terminal.ledger.count("tick the clock") >= len(moments)


def start(terminal: Any) -> Any:
    """A worker of its own process."""
    with (Path(terminal.folder) / "workers.log").open("a") as log:
        return terminal.start("worker", "--agents", "agents.py:agents", stdout=log, stderr=log)


def kill_for(seconds: float, terminal: Any, workers: list[Any], chance: random.Random) -> int:
    """Kill one of them at random moments and start another; how often."""
    end, kills = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        time.sleep(chance.uniform(0.1, 1.2))
        no = chance.randrange(len(workers))
        workers[no].kill()
        workers[no].wait()
        workers[no] = start(terminal)
        kills += 1
    return kills


def newest(terminal: Any) -> datetime:
    """The last moment that has been decided."""
    firings = ask(terminal, "schedule", "history", "tick", "-n", "1")
    return datetime.fromisoformat(firings[0]["due_at"]) if firings else datetime.fromtimestamp(0, UTC)


def up_to(last: str, terminal: Any) -> list[dict[str, Any]]:
    """The executions that the schedule has started for moments up to that of `last`."""
    found = ask(terminal, "history", "--workflow", "tick")
    return [one for one in found if one["id"].startswith("tick.") and one["id"] <= last]


def ask(terminal: Any, *tokens: str) -> list[dict[str, Any]]:
    """What a command says, as data."""
    said = json.loads(terminal.run(*tokens, "--format", "json"))
    assert isinstance(said, list)
    return said
