"""Three runners over one store, one of them killed every second: nothing is lost, nothing done twice.

A program of its own: `python fleet_kills.py KILLS [SEED]`. Chains are started all the time; each
second a worker drawn from the seed is killed and another put in its place. In the end everything
that was acknowledged has come to its end, and the checker finds nothing in store and ledger that must
not be. What was done is printed as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from fleet import Fleet
from over_postgres import PostgresFleet

RUNNERS = 3
BATCH = 10  # executions started between two kills
PACE_S = 0.4  # of the first step; a chain takes 1.3 times as long
LEASE_S = 2.0
END_S = 120.0  # what was cut twice is tried alone, one after another


def run_fleet_kills(kills: int, seed: int, *, url: str | None = None) -> dict[str, Any]:
    """Kill so often, a second or more apart; let everything come to its end; `wrong`: what is not well.

    `url`: they share a PostgreSQL server, and not a file.
    """
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder)) if url is None else PostgresFleet(Path(folder), url)
        try:
            workers = [fleet.worker(lease_s=LEASE_S) for _ in range(RUNNERS)]
            started: list[str] = []
            begun = time.monotonic()
            for kill in range(1, kills + 1):
                coming = fleet.coming(lease_s=LEASE_S)
                ids = [f"e{len(started) + number}" for number in range(BATCH)]
                chance.choice(workers).ask(start=ids, pace=PACE_S)
                started += ids
                time.sleep(max(0.0, begun + kill - time.monotonic()))
                victim = workers.pop(chance.randrange(RUNNERS))
                victim.signal(signal.SIGKILL)
                workers.append(coming.arrive())
            killed_s = time.monotonic() - begun
            ended_s = fleet.until(lambda: set(fleet.states().values()) == {"completed"}, seconds=END_S)
        finally:
            fleet.close()
        wrong = asyncio.run(fleet.wrong(started))
        begun_per_step = Counter((effect.execution_id, effect.step) for effect in fleet.ledger())
        return {
            "seed": seed,
            "kills": kills,
            "executions": len(started),
            "begun_again": sum(count - 1 for count in begun_per_step.values()),
            "killed_s": round(killed_s, 1),
            "ended_s": round(ended_s, 1),
            "wrong": wrong,
        }


if __name__ == "__main__":
    given = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
    print(json.dumps(run_fleet_kills(int(sys.argv[1]), given)))
