"""Processes that share a PostgreSQL server: whatever dies, what was acknowledged stays and goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from over_postgres import PostgresFleet
from server_outages import swallow
from zombies import run_zombie_writes

from perdure.runtime import Runtime, Workflow

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform == "win32", reason="stops processes with signals"),
]

LEASE_S = 3.0  # a process on a loaded machine may say nothing for a second and more
MANY = 60
SHARED_OUT = 300
ZOMBIE_WRITES = 100
OUTAGES = int(os.environ.get("PERDURE_POSTGRES_OUTAGES", "5"))
KILLS = int(os.environ.get("PERDURE_POSTGRES_KILLS", "6"))
CUTS = int(os.environ.get("PERDURE_POSTGRES_CUTS", "100"))


@pytest.fixture
def fleet(tmp_path: Path, postgres_url: str) -> Iterator[PostgresFleet]:
    """Room for workers over one schema."""
    made = PostgresFleet(tmp_path, postgres_url)
    yield made
    made.close()


def ids(count: int, prefix: str = "e") -> list[str]:
    """Names for executions."""
    return [f"{prefix}{number}" for number in range(count)]


def check_all_is_done(fleet: PostgresFleet, *, seconds: float = 60.0) -> Counter[tuple[str, str]]:
    """Every execution comes to its end, with one outcome for each step; how often each body began."""
    try:
        fleet.until(lambda: set(fleet.states().values()) == {"completed"}, seconds=seconds)
    except AssertionError as error:
        others = {id_: state for id_, state in fleet.states().items() if state != "completed"}
        why = fleet.ask("SELECT id, error FROM workflow_executions WHERE error IS NOT NULL")
        raise AssertionError(f"{others}\n{why}\n{error}") from None
    twice = fleet.ask(
        "SELECT 1 FROM workflow_step_executions WHERE is_outcome = 1 "
        "GROUP BY execution_no, step_no HAVING count(*) > 1"
    )
    assert twice == []
    begun = Counter((effect.execution_id, effect.step) for effect in fleet.ledger())
    assert len(begun) == 4 * len(fleet.states())
    assert len({(e.execution_id, e.step, e.idempotency_key) for e in fleet.ledger()}) == len(begun)
    return begun


def test_what_a_killed_process_had_goes_on_elsewhere_within_a_second(fleet: PostgresFleet):
    """On one machine the line that breaks off tells at once."""
    first, second = fleet.worker(lease_s=LEASE_S), fleet.worker(lease_s=LEASE_S)
    first.ask(start=ids(MANY), pace=3.0)
    assert fleet.owned(first) == MANY
    first.signal(signal.SIGKILL)
    took_s = fleet.until(lambda: fleet.owned(second) == MANY)
    print(f"{MANY} executions claimed {took_s * 1000:.0f} ms after the kill")
    assert took_s < 2
    assert max(check_all_is_done(fleet).values()) <= 2


def test_what_a_stopped_process_had_is_taken_over_and_its_writes_are_refused(fleet: PostgresFleet):
    """Within two leases; when it comes back every change it had in hand is lost."""
    first, second = fleet.worker(lease_s=LEASE_S), fleet.worker(lease_s=LEASE_S)
    begun = time.monotonic()
    first.ask(start=ids(MANY), pace=3 * LEASE_S)
    first.ask(count=True)
    fleet.stop(first)
    took_s = fleet.until(lambda: fleet.owned(second) == MANY)
    print(f"{MANY} executions taken over {took_s / LEASE_S:.2f} leases after the stop")
    assert took_s < 2.5 * LEASE_S
    time.sleep(max(0.2, begun + 3.5 * LEASE_S - time.monotonic()))  # by then its bodies have all ended
    first.signal(signal.SIGCONT)
    fleet.until(lambda: "lease_lost" in first.said())
    counts = first.ask()["counts"]
    assert set(counts) <= {"LeaseLost"}, counts
    check_all_is_done(fleet)


def test_what_was_paused_from_outside_is_resumed_although_its_process_was_killed(fleet: PostgresFleet):
    """By another client, in another runner; the step that was interrupted begins again."""
    first = fleet.worker(lease_s=LEASE_S)
    first.ask(start=["e0"], pace=4.0)
    fleet.until(fleet.ledger)
    asyncio.run(commanded(fleet.url, "pause"))
    assert fleet.states() == {"e0": "paused"}
    first.signal(signal.SIGKILL)
    fleet.worker(lease_s=LEASE_S)
    asyncio.run(commanded(fleet.url, "resume"))
    assert sorted(check_all_is_done(fleet).values()) == [1, 1, 1, 2]


def test_three_runners_that_sweep_at_the_same_time_lose_no_race(fleet: PostgresFleet):
    """Three hundred executions of a process that was killed, shared out among them."""
    runners = [fleet.worker(lease_s=30.0) for _ in range(3)]
    first = fleet.worker(lease_s=30.0)
    first.ask(start=ids(SHARED_OUT), pace=2.0)
    assert fleet.owned(first) == SHARED_OUT
    first.signal(signal.SIGKILL)
    took_s = fleet.until(lambda: sum(map(fleet.owned, runners)) + fleet.done() == SHARED_OUT)
    check_all_is_done(fleet)
    claims = [runner.ask()["claims"] for runner in runners]
    print(f"{SHARED_OUT} executions claimed in {took_s * 1000:.0f} ms by 3 runners: {claims}")
    assert sum(one["lost"] for one in claims) == 0


def test_what_a_leaving_process_had_in_hand_goes_on_elsewhere_at_once_and_loses_no_attempt(
    fleet: PostgresFleet,
):
    """A deploy: the bodies are called off, no death is counted and no try is used up."""
    first, second = fleet.worker(lease_s=30.0), fleet.worker(lease_s=30.0)
    first.ask(start=ids(MANY), pace=2.0)
    assert fleet.owned(first) == MANY
    first.signal(signal.SIGTERM)
    took_s = fleet.until(lambda: fleet.owned(second) == MANY)
    print(f"{MANY} executions handed over {took_s * 1000:.0f} ms after the signal")
    assert took_s < 2
    assert max(check_all_is_done(fleet).values()) <= 2
    assert fleet.ask("SELECT max(deaths), max(attempt) FROM workflow_step_executions") == [(0, 1)]
    assert first.process.wait(10) == 0


async def commanded(url: str, command: str) -> None:
    """Pause or resume the execution from a process that performs nothing."""
    async with Runtime(url, kind="client") as client:
        handle = await client.execution("e0")
        await (handle.pause(mode="interrupt") if command == "pause" else handle.resume())


def test_every_write_of_a_runner_that_was_taken_over_is_refused(postgres_url: str):
    """All of them, whatever it writes, also where nobody has claimed what it had."""
    found = run_zombie_writes(ZOMBIE_WRITES, location=postgres_url)
    assert found == {"changes": {"LeaseLost": ZOMBIE_WRITES}, "others": ["NotFound"] * 3}


def test_of_three_runners_one_is_killed_every_second_and_nothing_is_lost(fleet: PostgresFleet):
    """Another one takes its place; each body begins again only where its runner was killed."""
    runners = [fleet.worker(lease_s=LEASE_S) for _ in range(3)]
    feeder = fleet.worker(kind="client", lease_s=LEASE_S)
    for kill in range(KILLS):
        runners[kill % 3].tell(start=ids(20, f"round{kill}-"), pace=1.0)
        time.sleep(1)
        runners[kill % 3].signal(signal.SIGKILL)
        runners[kill % 3] = fleet.worker(lease_s=LEASE_S)
    assert feeder.process.poll() is None
    assert fleet.states()
    check_all_is_done(fleet)


def test_the_server_is_stopped_again_and_again_and_the_results_are_exact(tmp_path: Path, postgres: Any):
    """No good-bye, sessions cut in the middle: work waits, and goes on by itself when the server is back."""
    with postgres.Server(fsync="on") as server:
        fleet = PostgresFleet(tmp_path, server.url)
        try:
            workers = [fleet.worker(lease_s=LEASE_S), fleet.worker(lease_s=LEASE_S)]
            for outage in range(OUTAGES):
                for at, worker in enumerate(workers):
                    worker.ask(start=ids(20, f"o{outage}w{at}-"), pace=0.5)
                time.sleep(0.2)
                server.stop("immediate")
                time.sleep(0.3)
                server.start()
            check_all_is_done(fleet)
            assert all(worker.process.poll() is None for worker in workers)
            assert len(fleet.states()) == OUTAGES * 40
        finally:
            fleet.close()


@pytest.mark.anyio
async def test_a_command_reaches_a_runner_whose_socket_cannot_be_seen(postgres_url: str, monkeypatch):
    """As from another machine: the database rings, long before anybody would look by itself."""
    monkeypatch.delattr(asyncio, "start_unix_server")
    resting = Workflow("resting")

    @resting.step
    async def rest() -> None:
        await asyncio.sleep(60)

    async with (
        Runtime(postgres_url, workflows=[resting], kind="worker") as worker,
        Runtime(postgres_url, kind="client") as client,
    ):
        assert worker.machine.membership.id != client.machine.membership.id
        handle = await client.start("resting", detach=True)
        async with asyncio.timeout(10):
            while (await client.store.summary(handle.id)).steps_running == 0:  # noqa: ASYNC110  another process
                await asyncio.sleep(0.01)
        begun = time.monotonic()
        await handle.pause(mode="interrupt")
        took_s = time.monotonic() - begun
        print(f"paused after {took_s * 1000:.0f} ms")
        assert took_s < 4  # the safety net alone would take up to five seconds


@pytest.mark.anyio
async def test_a_commit_whose_answer_is_lost_is_read_back(postgres_server: str, postgres_url: str):
    """The line is cut between COMMIT and its answer, at every third commit, until it has happened often."""
    folder = Path(postgres_server.partition("host=")[2].partition("&")[0])
    async with asyncio.timeout(120):
        told = await swallow(folder, postgres_url, count=CUTS)
    print(f"{told['cuts']} answers swallowed over {told['executions']} executions")
    assert told["cuts"] >= CUTS
    assert told["wrong"] == []
