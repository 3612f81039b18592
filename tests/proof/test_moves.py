"""Whatever is asked of an execution in whatever order, it does what the model says."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from moves import KINDS, Life
from play import on_server, play
from shapes import SHAPES
from stage import Stage
from stage_on_server import ServerStage

DRIVER = Path(__file__).parent / "moves.py"
TRANSITIONS = 500_000  # at scale 1; four fifths from fixed seeds
JOBS = 2
PURE_EXAMPLES = 2_900  # some 50,000 transitions
EXAMPLES = 120
SERVER_EXAMPLES = 12  # each with a schema of its own, and round trips
SERVER_TRANSITIONS = 200
STEPS = 50  # of one life

SEED = st.integers(0, 2**20)

pytestmark = pytest.mark.integration


def test_half_a_million_plain_moves_are_as_the_model_says(
    say: Callable[[str, str], None], scale: float, fresh_seed: int
) -> None:
    """The pure machine over rows in memory, two processes at a time."""
    begun = time.monotonic()
    share = int(TRANSITIONS * scale / JOBS)
    jobs = [_drive(seed, int(share * 0.8)) for seed in range(JOBS)]
    reached = sum(_finish(job) for job in jobs)
    jobs = [_drive(fresh_seed + job, int(share * 0.2)) for job in range(JOBS)]
    reached += sum(_finish(job) for job in jobs)
    say("plain", f"plain transitions {reached:,} in {time.monotonic() - begun:.0f} s")
    assert reached >= int(share * 0.8) * JOBS


def _drive(seed: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(DRIVER), "--seed", str(seed), "--count", str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(job: subprocess.Popen[str]) -> int:
    """How many transitions it has made."""
    said, wrong = job.communicate()
    assert job.returncode == 0, wrong[-4_000:]
    return json.loads(said)["transitions"]


class PureMoves(RuleBasedStateMachine):
    """One execution of the pure machine; hypothesis draws what happens, a number draws the details."""

    transitions = 0

    @initialize(seed=SEED)
    def begin(self, seed: int) -> None:
        """A workflow, and its start."""
        self.life = Life(str(seed))
        self.life.begin()

    def teardown(self) -> None:
        """Without faults it comes to its end."""
        if hasattr(self, "life"):
            self.life.finish()
            PureMoves.transitions += self.life.bench.rows.version

    @rule(kind=st.sampled_from([*KINDS, Life.end_body, Life.command]), seed=SEED)
    def move(self, kind: Callable[[Life], None], seed: int) -> None:
        """A body ends, time passes, somebody asks, the process dies or shuts down."""
        self.life.chance.seed(seed)
        self.life.do(kind)


def test_hypothesis_finds_no_life_that_the_model_does_not_foretell(
    say: Callable[[str, str], None], scale: float
) -> None:
    """The pure machine again; a life that is wrong is shrunk to the shortest one."""
    begun = time.monotonic()
    examples = max(10, int(PURE_EXAMPLES * scale))
    run_state_machine_as_test(PureMoves, settings=settings(max_examples=examples, stateful_step_count=STEPS))
    seconds = time.monotonic() - begun
    say("hypothesis", f"hypothesis transitions with crashes {PureMoves.transitions:,} in {seconds:.0f} s")


IDS = st.sampled_from(["e1", "e2", "e3"])
NAMES = st.sampled_from(["one", "two"])
PICK = st.integers(0, 99)
RARELY = st.sampled_from([False] * 5 + [True])


class Moves(RuleBasedStateMachine):
    """Two processes on one store, three executions; a test binds the rest."""

    set_up: Callable[[int], Stage]  # a stage with a store of its own, from a seed
    tally: Counter[str]

    @initialize(seed=st.integers(0, 999), two=st.booleans())
    def begin(self, seed: int, two: bool) -> None:  # noqa: FBT001
        """One process, or two."""
        self.stage = type(self).set_up(seed)
        self.stage.open("one")
        if two:
            self.stage.open("two")

    def teardown(self) -> None:
        """Without faults everything comes to its end."""
        if not hasattr(self, "stage"):
            return
        try:
            self.stage.end()
            for what in ("moves", "transitions", "crashes"):
                self.tally[what] += getattr(self.stage, what)
        finally:
            self.stage.leave()

    def somebody(self, pick: int) -> str:
        """One of the processes that are open."""
        names = sorted(self.stage.processes)
        return names[pick % len(names)]

    @property
    def is_open(self) -> bool:
        """Whether anybody is there to be asked."""
        return hasattr(self, "stage") and bool(self.stage.processes)

    @precondition(lambda self: self.is_open)
    @rule(id_=IDS, shape=st.integers(0, len(SHAPES) - 1), pick=PICK, joins=RARELY)
    def start(self, id_: str, shape: int, pick: int, joins: bool) -> None:  # noqa: FBT001
        """Start, or now and then join what has that id already."""
        if joins or id_ not in self.stage.models:
            self.stage.start(self.somebody(pick), shape, id_)

    @precondition(lambda self: self.is_open and self.stage.bodies)
    @rule(pick=PICK, output=st.none() | st.integers(0, 9) | st.integers(0, 9))
    def end_body(self, pick: int, output: int | None) -> None:
        """A body returns or fails."""
        keys = sorted(self.stage.bodies)
        self.stage.end_body(keys[pick % len(keys)], output=output)

    @precondition(lambda self: self.is_open and self.stage.models)
    @rule(
        pick=PICK,
        wish=st.sampled_from(
            [
                ("pause", {"interrupt": False}),
                ("pause", {"interrupt": True}),
                ("resume", {"data": {"b": 1}}),
                ("resume", {"data": {"b": 2}}),
                ("cancel", {}),
                ("retry", {}),
                ("signal", {}),
                ("update", {"data": {"c": 1}}),
                ("checkpoint", {}),
                ("restore", {"pick": 0}),
                ("restore", {"pick": 1}),
            ]
        ),
        guarded=st.booleans(),
        stale=RARELY,
        again=RARELY,
    )
    def command(self, pick: int, wish: tuple[str, dict[str, Any]], **how: bool) -> None:
        """Somebody asks for something, lawful or not, stale or said before, here or from elsewhere."""
        ids = sorted(self.stage.models)
        self.stage.command(self.somebody(pick // 10), ids[pick % len(ids)], wish[0], **dict(wish[1]), **how)

    @rule(moves=st.sampled_from([1, 3, 30, 2_100]))
    def tick(self, moves: int) -> None:
        """Time passes, whoever is open."""
        self.stage.pass_time(moves)

    @precondition(lambda self: self.is_open)
    @rule(pick=PICK, violently=st.booleans(), really=RARELY)
    def leave(self, pick: int, violently: bool, really: bool) -> None:  # noqa: FBT001
        """A process is killed, or closes in good order."""
        name = self.somebody(pick)
        if really and violently and self.stage.may_crash(name):
            self.stage.crash(name)
        elif really:
            self.stage.close(name)

    @precondition(lambda self: hasattr(self, "stage") and len(self.stage.processes) < 2)
    @rule(name=NAMES, really=RARELY)
    def open(self, name: str, really: bool) -> None:  # noqa: FBT001
        """A process opens the file, as the first one or as the second."""
        if name not in self.stage.processes and (really or not self.stage.processes):
            self.stage.open(name)


def test_whatever_is_asked_of_runtimes_they_do_as_the_model_says(
    say: Callable[[str, str], None], scale: float, fast_folder: Path
) -> None:
    """Two processes, killed, closed and opened; hypothesis looks for the shortest life that is wrong."""
    paths = (fast_folder / f"{life}.db" for life in itertools.count())
    begun = time.monotonic()
    tally = _play(lambda seed: Stage(next(paths), seed=seed), examples=int(EXAMPLES * scale))
    say("runtimes", f"hypothesis over runtimes: {_told(tally, time.monotonic() - begun)}")


def test_on_a_server_they_do_as_the_same_model_says(
    say: Callable[[str, str], None], scale: float, postgres_server: str, postgres: ModuleType
) -> None:
    """The same rules on PostgreSQL, each life in a schema of its own."""
    with ExitStack() as schemas:

        def set_up(seed: int) -> Stage:
            schemas.close()
            return ServerStage(schemas.enter_context(postgres.schema(postgres_server)), seed=seed)

        begun = time.monotonic()
        tally = _play(set_up, examples=int(SERVER_EXAMPLES * scale))
        say("server", f"hypothesis over runtimes on a server: {_told(tally, time.monotonic() - begun)}")


def test_on_a_server_long_lives_go_as_the_model_says(
    say: Callable[[str, str], None], scale: float, fresh_seed: int, postgres_server: str
) -> None:
    """The same moves from a seed: many transitions for each schema and each process that is opened."""
    played = play(fresh_seed, int(SERVER_TRANSITIONS * scale), on_server(postgres_server, fresh_seed))
    say("played", f"played on a server: {_told(Counter(msgspec.structs.asdict(played)), played.seconds)}")


def _play(set_up: Callable[[int], Stage], *, examples: int) -> Counter[str]:
    """Live so many lives, each in a store of its own; what was done in all of them."""
    tally: Counter[str] = Counter()
    bound = type("BoundMoves", (Moves,), {"set_up": staticmethod(set_up), "tally": tally})
    how = settings(
        max_examples=max(10, examples),
        stateful_step_count=STEPS,
        phases=[Phase.explicit, Phase.generate],
    )
    run_state_machine_as_test(bound, settings=how)
    return tally


def _told(tally: Counter[str], seconds: float) -> str:
    counts = ", ".join(f"{tally[what]:,} {what}" for what in ("moves", "transitions", "crashes"))
    return f"{counts} in {seconds:.0f} s"
