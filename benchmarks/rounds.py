"""Contenders take turns, round after round, each in a process of its own: A B A B, never A A B B."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.question import HOSTED, OURS
from benchmarks.server import STORE

ROOT: Final = Path(__file__).resolve().parent.parent
ROUND_S: Final = 900.0  # a million executions take a few minutes; what takes longer hangs
BUSY: Final = (1, 2, 3, 6, 7, 8)  # user, nice, system, irq, softirq, steal in the first line of /proc/stat

HOST: Final = "PERDURE_BENCH_HOST"  # set where the process is one of `perdure` itself

Figures = dict[str, float]


class RoundFailed(Exception):
    """A contender did not get through a round; what it said last is in the message."""


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who can be asked: a command that takes code, size and durability and prints its figures."""

    name: str
    command: tuple[str, ...]
    sizes: Mapping[str, int] = {}  # instead of the case's own, for who would take too long
    environment: Mapping[str, str] = {}
    is_optional: bool = False  # one that fails is left out, and the others go on

    def answer(self, code: str, size: int, durability: str) -> Figures:
        """One round in a new process. Raises RoundFailed."""
        command = [*self.command, code, str(self.sizes.get(code, size)), durability]
        environment = {**os.environ, **self.environment}
        try:
            ended = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=ROUND_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RoundFailed(f"{self.name}, {code} at {size}: not done in {ROUND_S:.0f} s") from error
        if ended.returncode != 0:
            raise RoundFailed(f"{self.name}, {code} at {size}:\n{ended.stderr[-2_000:]}")
        figures: Figures = json.loads(ended.stdout.splitlines()[-1])
        return figures


def ours(name: str) -> Contender:
    """The floor or the runtime, in this environment; `HOSTED` is the runtime as `perdure worker` runs it."""
    if name == HOSTED:
        return msgspec.structs.replace(ours(OURS), name=HOSTED, environment={HOST: "1"})
    return Contender(name=name, command=(sys.executable, "-m", "benchmarks.worker", name))


def over_a_server(name: str, url: str) -> Contender:
    """The runtime over a PostgreSQL server."""
    command = (sys.executable, "-m", "benchmarks.worker", OURS)
    return Contender(name=name, command=command, environment={STORE: url})


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What all rounds yielded, in order, by contender; and how busy others kept the machine meanwhile."""

    rounds: Mapping[str, Sequence[Figures]]
    foreign_cpu: float | None


def take_turns(
    contenders: Sequence[Contender],
    *,
    rounds: int,
    code: str,
    size: int,
    durability: str,
    on_round: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Ask everybody once in each round. Raises RoundFailed, but for a contender that is optional."""
    answers: dict[str, list[Figures]] = {contender.name: [] for contender in contenders}
    with foreign_cpu() as foreign:
        for number in range(1, rounds + 1):
            for contender in contenders:
                if contender.name not in answers:
                    continue
                on_round(f"{code} {size:,} {durability}: round {number} of {rounds}, {contender.name}")
                try:
                    answers[contender.name].append(contender.answer(code, size, durability))
                except RoundFailed as failed:
                    if not contender.is_optional:
                        raise
                    print(f"left out: {failed}", file=sys.stderr)
                    del answers[contender.name]
    return Measured(rounds=answers, foreign_cpu=foreign())


@contextmanager
def foreign_cpu() -> Iterator[Callable[[], float | None]]:
    """Watch how much of the machine others use; the function tells the share when the block is left."""
    began, busy, own = time.perf_counter(), _busy_s(), _own_s()
    share: float | None = None
    yield lambda: share
    if busy is not None:
        foreign = (_busy_s() or busy) - busy - (_own_s() - own)
        share = max(0.0, foreign / (time.perf_counter() - began) / (os.cpu_count() or 1))


def _busy_s() -> float | None:
    """The seconds all processors have been busy since the machine started; None where nothing tells."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()
    except OSError:
        return None
    return sum(int(fields[field]) for field in BUSY) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    """The seconds this process and those it has waited for have used."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
