"""The long run: every proof with new seeds, slice after slice, until each has reached its figure.

    make torture MINUTES=60

Whatever was reached is kept in a results file, a line for each slice, so that the run may be ended
at any time and goes on where it was. `--page` writes what the file says as a page.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from exercises import EXERCISES, HERE, ROOT, Counted, Exercise

RESULTS: Final = ROOT / "docs" / "reliability.jsonl"
PAGE: Final = ROOT / "docs" / "reliability.md"
FIRST_SEED: Final = 1_000  # below it lie the seeds of the short run
SLICE_S_MAX: Final = 1_200  # a slice that takes longer hangs, which is a failure


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
        ran = _ended(command, environment)
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


def _ended(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What came of a command; nothing it has started outlives it. Raises TimeoutExpired."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=ROOT, start_new_session=True
    ) as process:
        try:
            said, complained = process.communicate(timeout=SLICE_S_MAX)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, said, complained)


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
    """What went wrong first, in a line; the first failure of a slice is how to see it again."""
    failure = one.failures[1] if len(one.failures) > 1 else "it gave no reason"
    if isinstance(failure, dict) and failure.get("problems"):
        seed = f"{failure['seed']}: " if "seed" in failure else ""
        failure = f"{seed}{failure['problems'][0]}"
    lines = str(failure).strip().splitlines() or ["it said nothing"]
    return lines[-1][:200].replace("|", "/")


def main() -> None:
    """Read what is wanted and do it; exit 1 when a slice failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", nargs="*", default=(), help="exercises whose name has one of these words")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", action="store_true", help="write the page, run nothing")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the slice is ended, too
    failed = 0
    if not options.page:
        failed = torture(minutes=options.minutes, results=options.results, only=options.only)
    if options.results == RESULTS:
        PAGE.write_text(page(_slices(RESULTS)), "utf-8")
        print(f"the page: {PAGE.relative_to(ROOT)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
