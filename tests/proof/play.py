"""Plays runtimes with random moves, on a file or on a server, each move held against the model.

A program of its own: `python play.py --seed N --count TRANSITIONS [--server URL]` prints what it did as JSON.
The rules are those that hypothesis draws in `test_moves.py`; here a life is long and something is
always going on, so that what a life costs, a store and its processes, is spread over many transitions.
`on_a_server.py` starts a server for it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

import postgres
from modelled_states import ENDS, TAKEN_IN
from shapes import SHAPES
from stage import Stage
from stage_on_server import ServerStage

MOVES: Final = 250  # of one life
UNFINISHED: Final = 3  # executions that are not at an end; with fewer another one is started
FUTILE: Final = 0.15  # how likely a wish is drawn from all there are, and not from what will be taken
RARELY: Final = 0.1
NAMES: Final = ("one", "two")
OFTEN: Final = (10, 8, 2, 0.5)  # a body ends, a command, time passes, a process comes or goes
PASSED: Final = ((1, 3, 30, 2_100), (30, 30, 10, 1))  # moves' time, and how often


class Played(msgspec.Struct, kw_only=True):
    """What was done."""

    lives: int = 0
    moves: int = 0
    transitions: int = 0
    crashes: int = 0
    seconds: float = 0.0


class Player:
    """Whoever makes the moves of one life."""

    def __init__(self, stage: Stage, chance: random.Random) -> None:
        """Play on that stage, which nobody has opened."""
        self.log: list[str] = []
        self._stage = stage
        self._chance = chance
        self._ids = 0

    def play(self, moves: int) -> None:
        """So many moves, then without faults to the end."""
        stage = self._stage
        for name in NAMES[: self._chance.choice((1, 2))]:
            self._do(stage.open, name)
        for _ in range(moves):
            self._move()
        self._do(stage.end)

    def _move(self) -> None:
        stage, chance = self._stage, self._chance
        if not stage.processes:
            self._do(stage.open, chance.choice(NAMES))
        elif sum(model.state not in ENDS for model in stage.models.values()) < UNFINISHED:
            self._start()
        else:
            moves = (self._end_body, self._command, self._pass_time, self._come_or_go)
            chance.choices(moves, OFTEN)[0]()

    def _start(self) -> None:
        """Somebody starts one; now and then under an id there is, which joins it or is refused."""
        if not self._stage.models or self._chance.random() > RARELY:
            self._ids += 1
        self._do(self._stage.start, self._somebody(), self._chance.randrange(len(SHAPES)), f"e{self._ids}")

    def _end_body(self) -> None:
        """A body returns or fails; where none runs, what comes next is waited for."""
        if not self._stage.bodies:
            self._pass_time()
            return
        key = self._chance.choice(sorted(self._stage.bodies))
        self._do(self._stage.end_body, key, output=self._chance.choice((None, 1, 2, 3)))

    def _command(self) -> None:
        """Somebody asks for something, lawful or not, stale or said before, here or from elsewhere."""
        stage, chance = self._stage, self._chance
        id_ = chance.choice(sorted(stage.models))
        state = stage.models[id_].state
        fit = [kind for kind in TAKEN_IN if chance.random() < FUTILE or state in TAKEN_IN[kind]]
        kind = chance.choice(fit or list(TAKEN_IN))
        what: dict[str, Any] = {
            "pause": {"interrupt": chance.random() < 0.5},
            "resume": {"data": {"b": chance.randrange(9)}},
            "update": {"data": {"c": chance.randrange(9)}},
            "restore": {"pick": chance.randrange(9)},
        }.get(kind, {})
        how = {name: chance.random() < RARELY for name in ("guarded", "stale", "again")}
        self._do(stage.command, self._somebody(), id_, kind, **how, **what)

    def _pass_time(self) -> None:
        self._do(self._stage.pass_time, self._chance.choices(*PASSED)[0])

    def _come_or_go(self) -> None:
        """A process is killed, closes in good order, or opens the store beside the other."""
        stage = self._stage
        absent = sorted(set(NAMES) - set(stage.processes))
        if absent and self._chance.random() < 0.5:
            self._do(stage.open, absent[0])
            return
        name = self._somebody()
        is_violent = self._chance.random() < 0.7 and stage.may_crash(name)
        self._do(stage.crash if is_violent else stage.close, name)

    def _somebody(self) -> str:
        return self._chance.choice(sorted(self._stage.processes))

    def _do(self, move: Callable[..., None], *what: Any, **how: Any) -> None:
        self.log.append(f"{move.__name__} {what} {how or ''}")
        move(*what, **how)


def play(seed: int, count: int, stages: Iterator[Stage]) -> Played:
    """Live lives until `count` transitions have been taken. Raises what goes wrong, with the way there."""
    begun = time.perf_counter()
    played = Played()
    for stage in stages:
        life = f"{seed}/{played.lives}"
        player = Player(stage, random.Random(life))
        try:
            player.play(MOVES)
        except Exception as error:
            error.add_note(f"life {life} after\n  " + "\n  ".join(player.log[-12:]))
            raise
        finally:
            stage.leave()
        played.lives += 1
        for what in ("moves", "transitions", "crashes"):
            setattr(played, what, getattr(played, what) + getattr(stage, what))
        if played.transitions >= count:
            break
    played.seconds = round(time.perf_counter() - begun, 1)
    return played


def on_files(seed: int) -> Iterator[Stage]:
    """Stages on files that nobody has used, in memory where there is one."""
    memory = Path("/dev/shm")
    for life in itertools.count():
        with tempfile.TemporaryDirectory(prefix="pd-", dir=memory if memory.is_dir() else None) as folder:
            yield Stage(Path(folder) / "life.db", seed=seed + life)


def on_server(url: str, seed: int) -> Iterator[Stage]:
    """Stages in schemas that nobody has used."""
    for life in itertools.count():
        with postgres.schema(url) as own:
            yield ServerStage(own, seed=seed + life)


def main() -> None:
    """Play, and print what was done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1_000, help="so many transitions")
    parser.add_argument("--server", help="in schemas of a PostgreSQL server there")
    options = parser.parse_args()
    seed = options.seed
    stages = on_files(seed) if options.server is None else on_server(options.server, seed)
    print(json.dumps(msgspec.to_builtins(play(seed, options.count, stages))))


if __name__ == "__main__":
    main()
