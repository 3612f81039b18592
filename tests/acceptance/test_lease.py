"""Several processes over one file: what a dead, a stopped and a leaving one had goes on elsewhere."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter

import pytest
from fleet import Fleet, Worker
from zombies import run_zombie_writes

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform == "win32", reason="stops processes with signals"),
]

LEASE_S = 3.0  # a process on a loaded machine may say nothing for a second and more
MANY = 100
ZOMBIE_WRITES = 100


def pair(fleet: Fleet, *, pace: float, count: int = MANY) -> tuple[Worker, Worker]:
    """Two workers, the first with executions whose steps take that long."""
    first, second = fleet.worker(lease_s=LEASE_S), fleet.worker(lease_s=LEASE_S)
    first.ask(start=[f"e{number}" for number in range(count)], pace=pace)
    assert fleet.owned(first) == count
    return first, second


def check_all_is_done(fleet: Fleet, *, moves: int = 0) -> None:
    """Every execution comes to its end; a body begins once, and once more for each move, under one key."""
    fleet.until(lambda: set(fleet.states().values()) == {"completed"})
    [(twice,)] = fleet.ask(
        "SELECT count(*) FROM (SELECT 1 FROM workflow_step_executions WHERE is_outcome = 1 "
        "GROUP BY execution_no, step_no HAVING count(*) > 1)"
    )
    assert twice == 0
    begun = Counter((effect.execution_id, effect.step) for effect in fleet.ledger())
    assert len(begun) == 4 * len(fleet.states())
    assert max(begun.values()) <= 1 + moves
    assert len({(e.execution_id, e.step, e.idempotency_key) for e in fleet.ledger()}) == len(begun)


def test_what_a_killed_process_had_is_claimed_within_a_second(fleet: Fleet):
    """By the lock that its kernel lets go of, and the line that breaks off: nobody polls."""
    first, second = pair(fleet, pace=LEASE_S)
    first.signal(signal.SIGKILL)
    took_s = fleet.until(lambda: fleet.owned(second) == MANY)
    print(f"{MANY} executions claimed {took_s * 1000:.0f} ms after the kill")
    assert took_s < 1
    check_all_is_done(fleet, moves=1)


def test_what_a_stopped_process_had_is_taken_over_and_what_it_writes_is_refused(fleet: Fleet):
    """Within two leases; when it comes back it writes nothing, says why, and is of use again."""
    begun = time.monotonic()
    first, second = pair(fleet, pace=2.5 * LEASE_S)
    first.ask(count=True)
    fleet.stop(first)
    took_s = fleet.until(lambda: fleet.owned(second) == MANY)
    print(f"{MANY} executions taken over {took_s / LEASE_S:.2f} leases after the stop")
    assert took_s < 2 * LEASE_S
    time.sleep(max(0.2, begun + 3 * LEASE_S - time.monotonic()))  # by then its bodies have all ended
    first.signal(signal.SIGCONT)
    fleet.until(lambda: fleet.ask(f"SELECT 1 FROM runners WHERE id = '{first.id}'"))
    fleet.until(lambda: "lease_lost" in first.said())
    assert fleet.owned(first) == 0
    counts = first.ask()["counts"]
    assert set(counts) <= {"LeaseLost"}, counts
    assert first.said().count("lease_lost") == 1
    assert "runner_silent" in second.said()
    second.signal(signal.SIGTERM)
    fleet.until(lambda: fleet.owned(first) == MANY)
    check_all_is_done(fleet, moves=2)


def test_every_write_of_a_runner_that_was_taken_over_is_refused():
    """All of them, whatever it writes, also where nobody has claimed what it had."""
    found = run_zombie_writes(ZOMBIE_WRITES)
    assert found == {"changes": {"LeaseLost": ZOMBIE_WRITES}, "others": ["NotFound"] * 3}


def test_a_process_that_was_stopped_alone_just_goes_on(fleet: Fleet):
    """A laptop that slept: nobody took anything over, so nothing begins again."""
    only = fleet.worker(lease_s=LEASE_S)
    only.ask(start=["e"], pace=LEASE_S)
    fleet.stop(only)
    time.sleep(2.5 * LEASE_S)
    only.signal(signal.SIGCONT)
    check_all_is_done(fleet)
    assert "lease_lost" not in only.said()


def test_processes_that_were_stopped_together_take_nothing_from_each_other(fleet: Fleet):
    """A laptop that slept with both of them: what they slept through is nobody's silence."""
    first, second = pair(fleet, pace=4 * LEASE_S, count=5)
    time.sleep(LEASE_S)
    for worker in (first, second):
        fleet.stop(worker)
    time.sleep(3 * LEASE_S)
    second.signal(signal.SIGCONT)
    time.sleep(LEASE_S / 4)
    first.signal(signal.SIGCONT)
    check_all_is_done(fleet)
    said = first.said() + second.said()
    assert "lease_lost" not in said
    assert "runner_silent" not in said


def test_what_a_leaving_process_had_goes_on_elsewhere_at_once(fleet: Fleet):
    """No attempt is used up, nothing counts as a death."""
    first, second = pair(fleet, pace=LEASE_S)
    first.signal(signal.SIGTERM)
    took_s = fleet.until(lambda: fleet.owned(second) == MANY)
    print(f"{MANY} executions handed over {took_s * 1000:.0f} ms after the signal")
    assert took_s < 1
    assert first.process.wait(timeout=10) == 0
    check_all_is_done(fleet, moves=1)
    assert fleet.ask("SELECT max(deaths), max(attempt) FROM workflow_step_executions") == [(0, 1)]


def test_a_stopped_process_is_told_from_outside_by_whoever_wants_something_of_it(fleet: Fleet):
    """Nobody else works here: a client that asks takes the execution over, and has its answer."""
    first = fleet.worker(lease_s=LEASE_S)
    first.ask(start=["e"], pace=20.0)
    fleet.stop(first)
    client = fleet.worker(kind="client", lease_s=LEASE_S)
    begun = time.monotonic()
    client.ask(pause="e")
    took_s = time.monotonic() - begun
    assert took_s < 2 * LEASE_S + 1  # where nobody answers it looks once a second
    assert fleet.states() == {"e": "paused"}
    first.signal(signal.SIGCONT)
    fleet.until(lambda: "lease_lost" in first.said())
    assert fleet.states() == {"e": "paused"}
