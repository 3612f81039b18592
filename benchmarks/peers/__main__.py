"""`python -m benchmarks.peers [W1 …]`: ask other engines the same, in turns with ours and the floor.

What is in the results file already is not measured again, so that a run that was cut short goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from benchmarks import questions, results, table
from benchmarks.peers.environments import make
from benchmarks.peers.registry import PEERS, Peer
from benchmarks.results import Result
from benchmarks.rounds import ours, take_turns

RESULTS = Path("build/benchmarks/peers.jsonl")
QUESTIONS = ("W1", "W2", "W3", "W4")
ROUNDS = 3
CLASSES = {peer.name: peer.durability for peer in PEERS}


def ask(code: str, peers: list[Peer], *, rounds: int, size: int | None) -> list[Result]:
    """Let everybody answer the question's first case; `size` for a trial that measures nothing."""
    question = questions.question(code)
    case = question.cases[0]
    contenders = [ours("floor"), ours("perdure"), *(peer.contender for peer in peers if code in peer.sizes)]
    if size is not None:
        contenders = [msgspec.structs.replace(each, sizes={code: size}) for each in contenders]
    measured = take_turns(
        contenders, rounds=rounds, code=code, size=case.size, durability="power", on_round=table.progress
    )
    return [
        msgspec.structs.replace(each, durability=CLASSES.get(each.contender, each.durability))
        for each in results.results_of(question, case, "power", measured)
    ]


def main() -> None:
    """Make the environments and ask what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("questions", nargs="*", default=list(QUESTIONS), metavar="W1")
    parser.add_argument("--peers", nargs="*", metavar="NAME", help="only these, by the start of their names")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--size", type=int, help="the same few executions for everybody: does it run at all?")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    names = tuple(name.lower() for name in given.peers or [""])
    peers = [peer for peer in PEERS if peer.name.lower().startswith(names)]
    make(peers)
    known = results.read(given.results)
    for code in given.questions:
        print(table.heading(questions.question(code)))
        asked = {peer.name for peer in peers if code in peer.sizes}
        if given.size is None and asked <= {each.contender for each in known if each.question == code}:
            print(f"  measured already: see {given.results}")
            continue
        found = ask(code, peers, rounds=given.rounds, size=given.size)
        print(table.lines(found, reach={}), flush=True)
        if given.size is None:
            known = list(results.merged(known, found))
            results.write(given.results, known)


if __name__ == "__main__":
    main()
