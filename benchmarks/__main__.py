"""`python -m benchmarks [W1 W2 …]`: ask the questions, print a table, keep the results as JSON lines."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks import questions, results, table
from benchmarks.question import Case, Question
from benchmarks.rounds import ours, take_turns

RESULTS = Path("build/benchmarks/results.jsonl")


def ask(question: Question, case: Case, durability: str, *, rounds: int | None) -> list[results.Result]:
    """Let everybody answer one case and return the records."""
    measured = take_turns(
        [ours(name) for name in question.contenders],
        rounds=rounds or case.rounds,
        code=question.code,
        size=case.size,
        durability=durability,
        on_round=table.progress,
    )
    return results.results_of(question, case, durability, measured)


def main() -> None:
    """Ask what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("questions", nargs="*", default=questions.codes(), metavar="W1")
    parser.add_argument("--full", action="store_true", help="also the cases that take minutes")
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    parser.add_argument("--durability", choices=("power", "process"), help="only this class")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON lines, kept up to date")
    given = parser.parse_args()
    for code in given.questions:
        question = questions.question(code.upper())
        print(table.heading(question))
        missing = [name for name in question.needs if name not in os.environ]
        if missing:
            print(f"  skipped: {', '.join(missing)} is not set")
            continue
        for durability in question.durabilities:
            if given.durability not in (None, durability):
                continue
            for case in question.cases:
                if case.is_quick or given.full:
                    found = ask(question, case, durability, rounds=given.rounds)
                    results.write(given.results, results.merged(results.read(given.results), found))
                    print(table.lines(found, reach=case.reach), flush=True)
    print(f"\nkept in {given.results}", file=sys.stderr)


if __name__ == "__main__":
    main()
