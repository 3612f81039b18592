"""What was measured, as records: one JSON line for each figure of each contender."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks.figures import Spread, shares
from benchmarks.question import Case, Figure, Question
from benchmarks.rounds import Figures, Measured

FLOOR = "floor"


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One figure of one contender, and how much of the floor's speed it is."""

    question: str
    case: str
    contender: str
    durability: str
    figure: str
    unit: str
    spread: Spread
    rounds: int
    more_is_better: bool = False
    of_floor: Spread | None = None
    foreign_cpu: float | None = None
    at: str
    python: str
    sqlite: str
    perdure: str
    cpus: int

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What makes two results comparable."""
        return (self.question, self.case, self.contender, self.durability, self.figure)


def results_of(question: Question, case: Case, durability: str, measured: Measured) -> list[Result]:
    """The records of one case."""
    floors = measured.rounds.get(FLOOR)
    return [
        Result(
            question=question.code,
            case=case.name,
            contender=contender,
            durability=durability,
            figure=figure.name,
            unit=figure.unit,
            more_is_better=figure.more_is_better,
            spread=Spread.of(_column(rounds, figure)),
            rounds=len(rounds),
            of_floor=None if contender == FLOOR else _of_floor(rounds, floors, figure),
            foreign_cpu=None if measured.foreign_cpu is None else round(measured.foreign_cpu, 3),
            at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
            python=platform.python_version(),
            sqlite=sqlite3.sqlite_version,
            perdure=version("perdure"),
            cpus=os.cpu_count() or 1,
        )
        for contender, rounds in measured.rounds.items()
        for figure in question.figures
        if figure.name in rounds[0]
    ]


def _of_floor(rounds: Sequence[Figures], floors: Sequence[Figures] | None, figure: Figure) -> Spread | None:
    if floors is None or not figure.is_speed or figure.name not in floors[0]:
        return None
    return shares(_column(rounds, figure), _column(floors, figure), more_is_better=figure.more_is_better)


def _column(rounds: Sequence[Figures], figure: Figure) -> list[float]:
    return [each[figure.name] for each in rounds]


def read(path: Path) -> list[Result]:
    """The records of a file; none where there is no file."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Result) for line in path.read_bytes().splitlines()]


def merged(old: Iterable[Result], new: Iterable[Result]) -> Iterator[Result]:
    """All of them, sorted; a new result takes the place of the old one with its key."""
    by_key = {result.key: result for result in (*old, *new)}
    yield from sorted(by_key.values(), key=lambda result: (int(result.question[1:]), *result.key[1:]))


def write(path: Path, results: Iterable[Result]) -> None:
    """Keep them as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(msgspec.json.encode(result) + b"\n" for result in results))
