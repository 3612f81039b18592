"""The long run: every proof with new seeds, slice after slice, until each has reached its figure.

    make torture MINUTES=60

Whatever was reached is kept in a results file, a line for each slice, so that the run may be ended
at any time and goes on where it was. `--page` writes what the file says as a page.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from lives import LIVES

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
RESULTS: Final = ROOT / "docs" / "reliability.jsonl"
PAGE: Final = ROOT / "docs" / "reliability.md"
FIRST_SEED: Final = 1_000  # below it lie the seeds of the short run
ON_A_SERVER: Final = "on_a_server.py"
SLICE_S_MAX: Final = 1_200  # a slice that takes longer hangs, which is a failure

PAIRED: Final = ("diamond", "pause", "retries_later", "elsewhere", "forked", "migrated", "webhooks", "slots",
                 "circuit", "family", "rollback", "approvals")  # fmt: skip
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


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the results file."""

    exercise: str
    seed: int
    count: int
    seconds: float
    failures: list[Any]
    more: dict[str, Any]
    commit: str
    at: str


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


def torture(*, minutes: float, results: Path, only: Iterable[str] = ()) -> int:
    """Run slices until the time is up or everything is reached; answer how many failed."""
    ends = time.monotonic() + minutes * 60
    chosen = [one for one in EXERCISES if not only or any(word in one.name for word in only)]
    failed = 0
    while time.monotonic() < ends:
        reached = _reached(_slices(results))
        open_ = [one for one in chosen if reached.get(one.name, 0) < one.target]
        if not open_:
            break
        behind = min(open_, key=lambda one: reached.get(one.name, 0) / one.target)
        done = _run(behind, seed=_next_seed(_slices(results), behind))
        with results.open("a") as file:
            file.write(msgspec.json.encode(done).decode() + "\n")
        failed += bool(done.failures)
        total = reached.get(behind.name, 0) + done.count
        state = "FAILED" if done.failures else "ok"
        print(f"{state}  {behind.name}: {total:,} of {behind.target:,} ({done.seconds:.0f} s)", flush=True)
    return failed


def _run(exercise: Exercise, *, seed: int) -> Slice:
    """One slice; whatever it says and cannot be read is a failure."""
    begun = time.monotonic()
    command = exercise.command(seed)
    environment = {**_environment(), "PERDURE_PROOF_SEED": str(seed), **exercise.environment}
    try:
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=SLICE_S_MAX,
            env=environment,
            cwd=ROOT,
        )
        counted = exercise.read(ran.stdout)
        if ran.returncode != 0 and not counted.failures:
            counted = Counted(0, [ran.stderr[-4_000:]])
    except subprocess.TimeoutExpired:
        counted = Counted(0, [f"no end within {SLICE_S_MAX} s"])
    except (json.JSONDecodeError, KeyError) as error:
        counted = Counted(0, [f"{error!r}: {ran.stdout[-2_000:]} {ran.stderr[-2_000:]}"])
    again = [{"again": _as_typed(command), "seed": seed}] if counted.failures else []
    return Slice(
        exercise=exercise.name,
        seed=seed,
        count=counted.count,
        seconds=round(time.monotonic() - begun, 1),
        failures=[*again, *counted.failures],
        more=counted.more,
        commit=_commit(),
        at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    )


def _as_typed(command: list[str]) -> str:
    """What somebody would type at the root of the project."""
    return " ".join(["python", *(part.removeprefix(f"{ROOT}{os.sep}") for part in command[1:])])


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")}


def _commit() -> str:
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    return asked.stdout.strip() or "unknown"


def _slices(results: Path) -> list[Slice]:
    if not results.exists():
        return []
    return [msgspec.json.decode(line, type=Slice) for line in results.read_bytes().splitlines() if line]


def _reached(slices: Iterable[Slice]) -> dict[str, int]:
    """How much of each exercise has been done, what went wrong included."""
    reached: dict[str, int] = {}
    for one in slices:
        reached[one.exercise] = reached.get(one.exercise, 0) + one.count
    return reached


def _next_seed(slices: Iterable[Slice], exercise: Exercise) -> int:
    return max((one.seed + 1 for one in slices if one.exercise == exercise.name), default=FIRST_SEED)


FRAME: Final = (HERE / "torture.md.txt").read_text("utf-8")


def page(slices: list[Slice]) -> str:
    """What the results file says, as a page. Nothing in it is written by hand but the frame."""
    rows = []
    for exercise in EXERCISES:
        mine = [one for one in slices if one.exercise == exercise.name]
        done, seconds = sum(one.count for one in mine), sum(one.seconds for one in mine)
        wrong = sum(bool(one.failures) for one in mine)
        share = f"{min(1.0, done / exercise.target):.0%}"
        found = "none" if not wrong else f"{wrong} slices, see below"
        rows.append(
            f"| {exercise.name} | {exercise.promise} | {done:,} | {exercise.target:,} | {share} "
            f"| {seconds / 60:,.0f} | {found} |"
        )
    failures = [
        f"- {one.at}, commit `{one.commit}`, {one.exercise}, seed {one.seed}: {_first_line(one)}"
        for one in slices
        if one.failures
    ]
    span = f"{slices[0].at} to {slices[-1].at}" if slices else "not begun"
    commits = ", ".join(f"`{commit}`" for commit in dict.fromkeys(one.commit for one in slices))
    return FRAME.format(
        table="\n".join(rows), failures="\n".join(failures) or "None.", span=span, commits=commits or "none"
    )


def _first_line(one: Slice) -> str:
    told = [failure for failure in one.failures if not (isinstance(failure, dict) and "again" in failure)]
    text = str(told[0]) if told else "it gave no reason"
    return text.strip().splitlines()[-1][:200].replace("|", "/") if text.strip() else "it said nothing"


def main() -> None:
    """Read what is wanted and do it; exit 1 when a slice failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", nargs="*", default=(), help="exercises whose name has one of these words")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", action="store_true", help="write the page, run nothing")
    options = parser.parse_args()
    failed = 0
    if not options.page:
        failed = torture(minutes=options.minutes, results=options.results, only=options.only)
    PAGE.write_text(page(_slices(options.results)), "utf-8")
    print(f"the page: {PAGE.relative_to(ROOT)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
