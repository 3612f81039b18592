"""`kill -9` at random moments, then a cold start: nothing that was recorded is lost or repeated.

A program of its own: `python cold_kills.py COUNT [SEED]`. Each time an execution is started from the
command line, its process is killed at a moment drawn from the seed, and another one goes on with it.
Where the kills fell is printed as JSON; what must not be ends the program.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from perdure.runtime.testing import check_store
from perdure.store import store_at

STEPS = [f"s{n}" for n in range(6)]
STEP_S = 0.05
LOADING = 1 / 3  # of a whole run: before that a process is still loading, and killing it proves little

CHAIN = "name: chain\nsteps:\n" + "".join(
    f"  - {{key: {key}, agent: slow, prompt: {key}, dependencies: [{need or ''}]}}\n"
    for need, key in zip([None, *STEPS], STEPS, strict=False)
)


def run_cold_kills(terminal: Any, *, count: int, seed: int) -> Counter[str]:
    """Kill and go on that often; how many kills fell before, into and after the execution."""
    moments = random.Random(seed)
    terminal.be_slow(STEP_S)
    (terminal.folder / "chain.yaml").write_text(CHAIN)
    begun = time.monotonic()
    terminal.run(*_command("whole"))
    whole_s = time.monotonic() - begun
    return Counter(_kill_one(terminal, f"kill-{n}", moments, whole_s=whole_s) for n in range(count))


def _command(id_: str) -> tuple[str, ...]:
    return "run", "chain.yaml", "--id", id_, "--agents", "agents.py:agents"


def _kill_one(terminal: Any, id_: str, moments: random.Random, *, whole_s: float) -> str:
    """Start an execution, kill its process, resume it, look at what was done; tell where the kill fell."""
    (terminal.folder / "ledger.txt").unlink(missing_ok=True)
    trace = f"{moments.getrandbits(128):032x}"
    process = terminal.start(*_command(id_), "--trace-id", trace)
    time.sleep(whole_s * moments.uniform(LOADING, 1))
    process.kill()
    process.communicate()

    resumed = terminal.start("resume", id_, "--format", "json")
    out, err = resumed.communicate(timeout=terminal.patience_s)
    if resumed.returncode in {3, 6}:  # killed before anything was acknowledged
        assert terminal.ledger == []
        return "before"
    if resumed.returncode == 5:  # it had ended before the kill
        status = json.loads(terminal.run("status", id_, "--format", "json"))["execution"]["status"]
        assert status == "completed"
        return "after"
    assert resumed.returncode == 0, err
    assert json.loads(out)["outputs"] == {key: key for key in STEPS}

    begun = [line.removeprefix("begin ") for line in terminal.ledger if line.startswith("begin ")]
    assert [key for key, _ in itertools.groupby(begun)] == STEPS
    assert len(begun) - len(STEPS) <= 1
    events = terminal.run("events", id_, "--format", "jsonl").splitlines()
    assert {json.loads(event)["trace_id"] for event in events} == {trace}
    return "cut"


async def _check(path: Path) -> list[str]:
    store = store_at(str(path))
    await store.open()
    try:
        return await check_store(store)
    finally:
        await store.close()


if __name__ == "__main__":
    from conftest import Terminal

    given = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
    with tempfile.TemporaryDirectory() as folder:
        opened = Terminal(Path(folder))
        fates = run_cold_kills(opened, count=int(sys.argv[1]), seed=given)
        opened.close()
        wrong = asyncio.run(_check(Path(folder) / "perdure.db"))
    print(json.dumps({"seed": given, "kills": fates, "wrong": wrong}))
