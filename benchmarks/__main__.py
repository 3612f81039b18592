"""`python -m benchmarks [W1 W2 …]`: ask the questions, print a table, keep the results as JSON lines."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from itertools import product
from pathlib import Path

from benchmarks import questions, results, table
from benchmarks.question import Case, Effort, Question
from benchmarks.rounds import ours, over_a_server, take_turns
from benchmarks.server import NAME, server

RESULTS = Path("build/benchmarks/results.jsonl")


def ask(
    question: Question, case: Case, durability: str, *, rounds: int | None, url: str | None = None
) -> list[results.Result]:
    """Let everybody answer one case, the runtime over that server too, and return the records."""
    contenders = [ours(name) for name in question.contenders]
    if url is not None and question.asks_servers:
        contenders.append(over_a_server(NAME, url))
    measured = take_turns(
        contenders,
        rounds=rounds or case.rounds,
        code=question.code,
        size=case.size,
        durability=durability,
        on_round=table.progress,
    )
    return results.results_of(question, case, durability, measured)


def is_measured(question: Question, case: Case, durability: str, known: Iterable[results.Result]) -> bool:
    """Whether the case is among the results."""
    wanted = (question.code, case.name, durability)
    return any((each.question, each.case, each.durability) == wanted for each in known)


def ask_all(given: argparse.Namespace, url: str | None) -> None:
    """Ask every question that was given, and keep what comes out."""
    effort = Effort[given.effort.upper()]
    for code in given.questions:
        question = questions.question(code.upper())
        print(table.heading(question))
        missing = [name for name in question.needs if name not in os.environ]
        if missing:
            print(f"  skipped: {', '.join(missing)} is not set")
            continue
        for durability, case in product(question.durabilities, question.cases):
            known = results.read(given.results)
            if case.effort > effort or given.durability not in (None, durability):
                continue
            if given.resume and is_measured(question, case, durability, known):
                continue
            found = ask(question, case, durability, rounds=given.rounds, url=url)
            results.write(given.results, results.merged(known, found))
            print(table.lines(found, reach=case.reach), flush=True)


def main() -> None:
    """Ask what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("questions", nargs="*", default=questions.codes(), metavar="W1")
    parser.add_argument("--effort", choices=[each.name.lower() for each in Effort], default="quick")
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    parser.add_argument("--durability", choices=("power", "process"), help="only this class")
    parser.add_argument("--store", choices=(NAME,), help="W1, W2, W4 and W12 over a server, too")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON lines, kept up to date")
    parser.add_argument("--resume", action="store_true", help="leave out what is in the results already")
    given = parser.parse_args()
    with server() if given.store else nullcontext() as url:
        ask_all(given, url)
    print(f"\nkept in {given.results}", file=sys.stderr)


if __name__ == "__main__":
    main()
