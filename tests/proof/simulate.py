"""Simulates seeds and tells what came of them, as JSON.

A program of its own: `python simulate.py --seeds 0..99 [--twice] [--jobs 2] [--seconds S]`.
`--trace FILE` writes the whole history of each seed, for whoever wants to see what happened.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
from leaks import Base
from simulation.run import SeedResult, run_seed

_bases: list[Base] = []  # of this process, once it has run a seed


def simulate(seed: int, *, twice: bool) -> SeedResult:
    """Run a seed; with `twice` once more, to see that it does the same again."""
    result = run_seed(seed)
    if twice and (again := run_seed(seed)).trace_hash != result.trace_hash:
        result.problems.append(f"two runs differ: {result.trace_hash} and {again.trace_hash}")
    if not _bases:
        gc.freeze()  # what the first seed has loaded stays, and need not be looked through again
        _bases.append(Base())
    result.problems += _bases[0].left()
    return result


def _simulate(job: tuple[int, bool]) -> bytes:
    return msgspec.json.encode(simulate(job[0], twice=job[1]))


def campaign(seeds: list[int], *, twice: bool, jobs: int, seconds: float | None = None) -> dict[str, Any]:
    """Run the seeds, `jobs` at a time, for at most `seconds`; answers the counts and the failures."""
    begun = time.monotonic()
    results: list[SeedResult] = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        for encoded in pool.map(_simulate, [(seed, twice) for seed in seeds]):
            results.append(msgspec.json.decode(encoded, type=SeedResult))
            if seconds is not None and time.monotonic() - begun > seconds:
                pool.shutdown(cancel_futures=True)
                break
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(result.counts)
    return {
        "seeds": len(results),
        "next_seed": None if len(results) == len(seeds) else seeds[len(results)],
        "runs": len(results) * (1 + twice),
        "virtual_hours": round(sum(result.virtual_hours for result in results)),
        "fewest_hours": min((result.virtual_hours for result in results), default=0),
        "calm_hours_max": max((result.calm_hours for result in results), default=0),
        "seconds": round(time.monotonic() - begun, 1),
        "counts": dict(sorted(counts.items())),
        "failures": [
            {"seed": result.seed, "again": command(result.seed), "problems": result.problems}
            for result in results
            if result.problems
        ],
    }


def command(seed: int) -> str:
    """The one line that shows a failing seed again."""
    return f"python tests/proof/simulate.py --seeds {seed}"


def seeds_in(text: str) -> list[int]:
    """`3`, `0..99`, or several of them with commas."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("..")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def main() -> None:
    """Read what is wanted, do it, print what was found; exit 1 if something was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=seeds_in, required=True, help="such as 7 or 0..99 or 3,5,10..20")
    parser.add_argument("--twice", action="store_true", help="run each twice and compare the histories")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="begin no further seed after so long")
    parser.add_argument("--trace", type=Path, help="write the history there")
    options = parser.parse_args()
    if options.trace is not None:
        with options.trace.open("w") as file:
            for seed in options.seeds:
                result = run_seed(seed, log=file.write)
                print(msgspec.json.format(msgspec.json.encode(result)).decode())
        return
    found = campaign(options.seeds, twice=options.twice, jobs=options.jobs, seconds=options.seconds)
    print(json.dumps(found, indent=1))
    sys.exit(bool(found["failures"]))


if __name__ == "__main__":
    main()
