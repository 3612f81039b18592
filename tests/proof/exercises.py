"""What the long run runs: each kind of proof with its figure, and the program that reaches a slice of it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from lives import LIVES

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
ON_A_SERVER: Final = "on_a_server.py"  # starts one for the program that follows

PAIRED: Final = ("diamond", "pause", "retries_later", "elsewhere", "forked", "migrated", "webhooks", "slots",
                 "circuit", "family", "rollback", "approvals")  # fmt: skip
SERVED: Final = ("chain", "diamond", "wide", "retries_later", "timeouts", "optional_failure", "pause",
                 "interrupt", "restore", "waits", "blocking", "elsewhere", "transaction")  # fmt: skip
FAILURES: Final = tuple((kind, mode) for kind in ("ioerr", "full", "cantopen", "busy")
                        for mode in ("once", "outage", "restart"))  # fmt: skip


class Counted(msgspec.Struct, frozen=True):
    """What one slice has reached, and what went wrong in it."""

    count: int
    failures: list[Any]
    more: dict[str, Any] = {}


class Exercise(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of proof: what a slice with a seed runs, and how its output is read."""

    name: str
    promise: str
    target: int
    command: Callable[[int], list[str]]
    read: Callable[[str], Counted]
    environment: dict[str, str] = {}


def _program(name: str, *options: str) -> list[str]:
    return [sys.executable, str(HERE / name), *options]


def _acceptance(name: str, *options: str) -> list[str]:
    return [sys.executable, str(ROOT / "tests" / "acceptance" / name), *options]


def _tests(path: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / path), *options]


def _json(key: str, *more: str, wrong: str = "failures") -> Callable[[str], Counted]:
    def read(said: str) -> Counted:
        found = json.loads(said)
        return Counted(found[key], found.get(wrong, []), {name: found.get(name) for name in more})

    return read


def _line(pattern: str) -> Callable[[str], Counted]:
    """The number in a line of a test run; without it the run has failed."""

    def read(said: str) -> Counted:
        found = re.search(pattern, said)
        passed = re.search(r"\d+ passed", said) and not re.search(r"\d+ (failed|error)", said)
        if found is None or not passed:
            return Counted(0, [said[-4_000:]])
        return Counted(int(found[1].replace(",", "")), [])

    return read


def _life(seed: int) -> str:
    """The name of a reference workflow."""
    return tuple(LIVES)[seed % len(LIVES)]


def _server(what: str, count: int) -> Callable[[int], list[str]]:
    """What is done to a PostgreSQL server, or over one."""
    return lambda seed: _acceptance("server_outages.py", what, str(count), str(seed))


def _zombies(said: str) -> Counted:
    found = json.loads(said)
    refused = found["changes"].get("LeaseLost", 0)
    taken = {kind: count for kind, count in found["changes"].items() if kind != "LeaseLost"}
    return Counted(refused, [taken] if taken else [], {"others": found["others"]})


def _cold_kills(said: str) -> Counted:
    found = json.loads(said)
    return Counted(sum(found["kills"].values()), found["wrong"], found["kills"])


EXERCISES: Final = (
    Exercise(
        name="kill points, one interleaving",
        promise="killed at every named fault point of each reference workflow: the same end, nothing twice",
        target=5_000,
        command=lambda seed: _program("crash_points.py", _life(seed)),
        read=_json("kills", "life", "points"),
    ),
    Exercise(
        name="kill points, shuffled interleavings",
        promise="forked, killed and recovered: no acknowledged write lost, no outcome recorded twice",
        target=10_000,
        command=lambda seed: _program(
            "crash_points.py", _life(seed), "--shuffle", "--most", "40", "--seed", str(seed)
        ),
        read=_json("kills", "life"),
    ),
    Exercise(
        name="pairs of kills",
        promise="the second crash falls into the recovery from the first",
        target=5_000,
        command=lambda seed: _program(
            "crash_points.py",
            PAIRED[seed % len(PAIRED)],
            "--most",
            "1",
            "--pairs",
            "60",
            "--seed",
            str(seed),
        ),
        read=_json("lives", "life"),
    ),
    Exercise(
        name="cold kills",
        promise="a process killed at any moment and another started: each recorded step done once",
        target=1_000,
        command=lambda seed: _acceptance("cold_kills.py", "25", str(seed)),
        read=_cold_kills,
    ),
    Exercise(
        name="runners killed under load",
        promise="of three runners at work one is killed every second: nothing lost, nothing twice",
        target=1_000,
        command=lambda seed: _acceptance("fleet_kills.py", "60", str(seed)),
        read=_json("kills", "executions", "begun_again", "ended_s", wrong="wrong"),
    ),
    Exercise(
        name="power-loss images",
        promise="FULL: no acknowledged row is missing, and every image opens and folds",
        target=200_000,
        command=lambda seed: _program("power_loss.py", "--seed", str(seed), "--count", "2500"),
        read=_json("images", "commits", "with_unanswered", wrong="problems"),
    ),
    Exercise(
        name="failing system calls",
        promise="each call of the database fails, once or for good: a typed error, nothing lost",
        target=4_000,
        command=lambda seed: _program(
            "failing_calls.py", *FAILURES[seed % len(FAILURES)], "--seed", str(seed // len(FAILURES))
        ),
        read=_json("faults", "kind", "mode", "errors", wrong="problems"),
    ),
    Exercise(
        name="simulated days",
        promise="a whole cluster in virtual time under faults, each seed twice with the same history",
        target=10_000,
        command=lambda seed: _program("simulate.py", "--seeds", f"{seed * 40}..{seed * 40 + 39}", "--twice"),
        read=_json("seeds", "virtual_hours"),
    ),
    Exercise(
        name="plain transitions",
        promise="commands in any order against a model: every state, answer and refusal as it says",
        target=20_000_000,
        command=lambda seed: _program("moves.py", "--seed", str(seed), "--count", "400000"),
        read=_json("transitions", "lives"),
    ),
    Exercise(
        name="hypothesis transitions",
        promise="the same rules drawn by hypothesis, with crashes, a second runner and stale commands",
        target=1_000_000,
        command=lambda _seed: _tests("tests/proof/test_moves.py", "-k", "hypothesis_finds"),
        read=_line(r"hypothesis transitions with crashes ([\d,]+)"),
        environment={"PERDURE_PROOF_SCALE": "1"},
    ),
    Exercise(
        name="compare-and-swap races",
        promise="two callers and the machine: one wins, the others are told who did",
        target=50_000,
        command=lambda seed: _program("races.py", "--seed", str(seed), "--count", "4000"),
        read=_json("races", "callers_won", "machine_won"),
    ),
    Exercise(
        name="zombie writes",
        promise="a runner that was taken for dead comes back: each of its writes is refused",
        target=10_000,
        command=lambda _seed: _acceptance("zombies.py", "1000"),
        read=_zombies,
    ),
    Exercise(
        name="transitions on a server",
        promise="PostgreSQL: two processes, killed, closed and opened, do as the model of the others says",
        target=50_000,
        command=lambda seed: _program(ON_A_SERVER, "play.py", "--seed", str(seed * 1_000), "--count", "1000"),
        read=_json("transitions", "lives", "crashes"),
    ),
    Exercise(
        name="kill points on a server",
        promise="PostgreSQL: killed at every named fault point of 13 workflows: the same end, nothing twice",
        target=950,
        command=lambda seed: _program(ON_A_SERVER, "crash_points.py", SERVED[seed % len(SERVED)]),
        read=_json("kills", "life", "points"),
    ),
    Exercise(
        name="races on a server",
        promise="PostgreSQL: two callers and the machine: one wins, the others are told who did",
        target=2_000,
        command=lambda seed: _program(ON_A_SERVER, "races.py", "--seed", str(seed), "--count", "400"),
        read=_json("races", "callers_won", "machine_won"),
    ),
    Exercise(
        name="server stopped",
        promise="PostgreSQL, stopped at once every few seconds, 25 executions begun between: exact results",
        target=200,
        command=_server("stops", 40),
        read=_json("stops", "executions", "ended_s", wrong="wrong"),
    ),
    Exercise(
        name="answers cut off",
        promise="PostgreSQL: the line is cut between COMMIT and its answer; what was written is found out",
        target=5_000,
        command=_server("cuts", 1_000),
        read=_json("cuts", "executions", wrong="wrong"),
    ),
    Exercise(
        name="runners killed on a server",
        promise="of three runners one is killed every second for two minutes: nothing lost, nothing twice",
        target=120,
        command=_server("kills", 120),
        read=_json("kills", "executions", "begun_again", "killed_s", wrong="wrong"),
    ),
)
