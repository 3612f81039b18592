"""A server that is stopped, answers that are lost, runners that are killed: exact results all the same.

A program of its own, which starts a server of its own:

    python server_outages.py stops COUNT [SEED]  stopped with `-m immediate` that often, every few seconds
    python server_outages.py cuts COUNT [SEED]   so many answers to a commit swallowed, and the line cut
    python server_outages.py kills COUNT [SEED]  of three runners one killed every second, so often

What was done is printed as JSON; `wrong` is empty if all is well.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

import postgres
from fleet_kills import run_fleet_kills
from over_postgres import PostgresFleet, Wire

from perdure.runtime import Runtime, Workflow
from perdure.runtime.testing import Acknowledged, check_store
from perdure.store.errors import OutcomeUnknown, StoreUnavailable

BETWEEN: Final = 25  # executions started between two stops: 5,000 under two hundred of them
RUNNERS: Final = 2
PACE_S: Final = 0.5  # of an execution's first step; the others take a tenth of it
UP_S: Final = (0.1, 2.5)  # how long the server lives after the last start was acknowledged
DOWN_S: Final = (0.05, 0.6)
LEASE_S: Final = 2.0
END_S: Final = 300.0
CUSTOMERS: Final = 4  # who start executions at the same time, so that cuts hit batches, too
CUT_EVERY: Final = 3  # commits


def run_stops(count: int, seed: int) -> dict[str, Any]:
    """Stop the server so often while executions are started and performed; all come to their end."""
    chance = random.Random(seed)
    with postgres.Server(fsync="on") as server, _fleet(server.url) as fleet:
        workers = [fleet.worker(lease_s=LEASE_S) for _ in range(RUNNERS)]
        started: list[str] = []
        begun = time.monotonic()
        for _ in range(count):
            ids = [f"e{len(started) + number}" for number in range(BETWEEN)]
            chance.choice(workers).ask(start=ids, pace=PACE_S)
            started += ids
            time.sleep(chance.uniform(*UP_S))
            server.stop("immediate")
            time.sleep(chance.uniform(*DOWN_S))
            server.start()
        spread_s = time.monotonic() - begun
        ended_s = fleet.until(lambda: set(fleet.states().values()) == {"completed"}, seconds=END_S)
        exits = [worker.process.poll() for worker in workers]
        results = fleet.ask(RESULTS)
        wrong = asyncio.run(fleet.wrong(started))
    wrong += [f"a runner has ended with {code}" for code in exits if code is not None]
    wrong += [] if results == [("4", len(started))] else [f"not {len(started)} results of 4: {results}"]
    told = {"spread_s": round(spread_s, 1), "ended_s": round(ended_s, 1)}
    return {"seed": seed, "stops": count, "executions": len(started), **told, "wrong": wrong}


RESULTS: Final = """
SELECT a.output, count(*) FROM workflow_step_executions a
JOIN workflow_executions e ON e.no = a.execution_no
JOIN workflow_steps s ON s.workflow_no = e.workflow_no AND s.no = a.step_no
WHERE s.key = 's3' AND a.is_outcome = 1 GROUP BY a.output
"""


def run_cuts(count: int, seed: int) -> dict[str, Any]:
    """Swallow the answers of so many commits, under executions one after another."""
    with postgres.Server() as server, postgres.schema(server.url) as url:
        return asyncio.run(swallow(server.folder, url, count=count)) | {"seed": seed}


async def swallow(folder: Path, url: str, *, count: int) -> dict[str, Any]:
    """Cut the line between COMMIT and its answer so often; what was executed, and what is wrong with it."""
    wire = Wire(folder)
    with tempfile.TemporaryDirectory() as place:
        async with wire.listening(Path(place)) as host:  # noqa: SIM117  the address is known only inside
            async with Runtime(url.replace(str(folder), host), workflows=[_counting()]) as runtime:
                wire.cut_every = CUT_EVERY
                lines = [_order(runtime, wire, customer, count=count) for customer in range(CUSTOMERS)]
                told = await asyncio.gather(*lines)
                wire.cut_every = 0
                wrong = await check_store(
                    runtime.store,
                    acknowledged=[Acknowledged(execution_id=id_) for ids, _ in told for id_ in ids],
                )
    wrong += [problem for _, problems in told for problem in problems]
    return {"cuts": wire.cuts, "executions": sum(len(ids) for ids, _ in told), "wrong": wrong}


def _counting() -> Workflow:
    workflow = Workflow("counting")

    @workflow.step
    async def first(n: int) -> int:
        return n + 1

    @workflow.step
    async def second(first: int) -> int:
        return first + 1

    return workflow


async def _order(runtime: Runtime, wire: Wire, customer: int, *, count: int) -> tuple[list[str], list[str]]:
    """Start one after another until the line was cut often enough; their ids, and what came out wrong."""
    ids: list[str] = []
    wrong: list[str] = []
    while wire.cuts < count:
        ids.append(f"c{customer}-{len(ids)}")
        execution = await _started(runtime, ids[-1], len(ids))
        outputs = (await execution.result()).outputs
        if outputs != {"first": len(ids) + 1, "second": len(ids) + 2}:
            wrong.append(f"{ids[-1]}: {outputs}")
    return ids, wrong


async def _started(runtime: Runtime, id_: str, n: int) -> Any:
    """Start it, again if nobody can tell whether it was."""
    while True:
        try:
            return await runtime.start("counting", {"n": n}, id=id_)
        except (OutcomeUnknown, StoreUnavailable):
            continue


def run_kills(count: int, seed: int) -> dict[str, Any]:
    """Kill one of three runners every second, so often."""
    with postgres.Server() as server:
        return run_fleet_kills(count, seed, url=server.url)


@contextmanager
def _fleet(url: str) -> Iterator[PostgresFleet]:
    with tempfile.TemporaryDirectory() as folder:
        fleet = PostgresFleet(Path(folder), url)
        try:
            yield fleet
        finally:
            fleet.close()


def main() -> None:
    """Do what is asked for, and print it."""
    what, count, *rest = sys.argv[1:]
    seed = int(rest[0]) if rest else random.SystemRandom().randrange(2**32)
    run = {"stops": run_stops, "cuts": run_cuts, "kills": run_kills}[what]
    print(json.dumps(run(int(count), seed)))


if __name__ == "__main__":
    main()
