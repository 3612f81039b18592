"""`kill -9` at random moments: nothing that was recorded is lost or repeated."""

from __future__ import annotations

import itertools
import json
import random
import time

import pytest

pytestmark = pytest.mark.e2e

KILLS = 30
STEPS = [f"s{n}" for n in range(6)]
STEP_S = 0.05
START_S = 0.2  # before that a process is still loading, and killing it proves little

CHAIN = "name: chain\nsteps:\n" + "".join(
    f"  - {{key: {key}, agent: slow, prompt: {key}, dependencies: [{need or ''}]}}\n"
    for need, key in zip([None, *STEPS], STEPS, strict=False)
)


def test_thirty_kills_at_random_moments_repeat_at_most_the_step_in_flight(terminal):
    """Each time: same trace, every output, and no step begun again but the one the kill cut."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    terminal.be_slow(STEP_S)
    (terminal.folder / "chain.yaml").write_text(CHAIN)
    fates = [_kill_one(terminal, f"kill-{n}", moments) for n in range(KILLS)]
    print({fate: fates.count(fate) for fate in set(fates)})
    assert "cut" in fates, f"seed {seed}: no kill hit the middle of an execution"


def _kill_one(terminal, id_: str, moments: random.Random) -> str:
    """Start an execution, kill its process, resume it, look at what was done; tell where the kill fell."""
    (terminal.folder / "ledger.txt").unlink(missing_ok=True)
    trace = f"{moments.getrandbits(128):032x}"
    process = terminal.start(
        "run", "chain.yaml", "--id", id_, "--trace-id", trace, "--agents", "agents.py:agents"
    )
    time.sleep(START_S + moments.uniform(0, len(STEPS) * STEP_S * 2))
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
