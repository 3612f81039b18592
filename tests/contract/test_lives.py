"""Random lives: whatever is asked of the store in whatever order, it stays what the model says.

The model is a few dictionaries. Every rule asks for something that may be stale, foreign or unlawful,
foretells the answer, and the invariants then compare the whole store with the model.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from playing import StoreMachine, play

from perdure.store.errors import Conflict, DuplicateCommand, IllegalTransition, LeaseLost, NotFound
from perdure.store.records import Loaded
from perdure.store.scripts.verify import MAY_RUN
from perdure.store.states import SETTLED_STEP, TERMINAL, State, StepState, can_become
from perdure.store.writes import (
    AnswerMessage,
    AttemptWrite,
    Changed,
    DeleteExecution,
    Deregister,
    EventWrite,
    MessageWrite,
    Release,
    Started,
)

IDS = ("e1", "e2", "e3")
STEPS = (0, 1, 2)
SLIPS = st.sampled_from([0] * 8 + [1, -1])  # how far the caller's belief is off
BEGINNINGS = [state for state in State if can_become(State.IDLE, state)]


@dataclasses.dataclass
class Step:
    """The newest attempt of one step."""

    state: StepState
    generation: int = 0
    deaths: int = 0


@dataclasses.dataclass
class Life:
    """One execution as it must be in the store."""

    no: int
    state: State
    runner_no: int | None
    version: int = 1
    epoch: int = 0
    steps: dict[int, Step] = dataclasses.field(default_factory=dict)
    outcomes: set[tuple[int, int]] = dataclasses.field(default_factory=set)
    commands: set[str] = dataclasses.field(default_factory=set)
    messages: dict[int, tuple[int | None, bytes | None]] = dataclasses.field(default_factory=dict)


class Lives(StoreMachine):
    """A store beside its model."""

    runners = Bundle("runners")
    posted = Bundle("posted")

    @initialize()
    def open(self) -> None:
        """An empty store with one workflow of three steps."""
        self.open_store()
        self.do(self.book.publish())
        self.lives: dict[str, Life] = {}
        self.registered: set[int] = set()
        self.count = 0

    def ask(self, write: Any) -> Any:
        """The store's answer."""
        return self.do(self.book.answer_to(write))

    @rule(target=runners)
    def register(self) -> int:
        """A process joins."""
        self.count += 1
        no = self.do(self.book.register(f"runner-{self.count}"))
        self.registered.add(no)
        return no

    @rule(runner_no=consumes(runners), died=st.sampled_from([True, True, False]))
    def deregister(self, runner_no: int, *, died: bool) -> None:
        """A process leaves, or is found dead: what it owned is free, what it ran counts a death."""
        assert self.ask(Deregister(runner_no=runner_no, died=died)) == 1
        self.registered.discard(runner_no)
        for life in self.lives.values():
            if life.runner_no == runner_no:
                life.runner_no = None
                life.epoch += died
                for step in life.steps.values():
                    step.deaths += died and step.state is StepState.RUNNING

    @rule(id_=st.sampled_from(IDS), state=st.sampled_from([*BEGINNINGS, *State]), owner=st.none() | runners)
    def start(self, id_: str, state: State, owner: int | None) -> None:
        """Begin or join; not every state is one to begin in."""
        answer = self.ask(self.book.starting(id_, state=state, runner_no=owner))
        if id_ in self.lives:
            assert answer == Started(self.lives[id_].no, joined=True, first_event_id=0)
        elif not can_become(State.IDLE, state):
            assert isinstance(answer, IllegalTransition)
        else:
            assert answer.joined is False
            life = Life(no=answer.execution_no, state=state, runner_no=owner, epoch=0 if owner is None else 1)
            self.lives[id_] = life

    @rule(
        id_=st.sampled_from(IDS),
        unlawful=st.none() | st.sampled_from(State),
        pick=st.integers(0, 99),
        version=SLIPS,
        epoch=SLIPS,
        moves=st.sets(st.sampled_from(STEPS)),
        settles=st.booleans(),
        command=st.none() | st.sampled_from(["c1", "c2"]),
        releases=st.booleans(),
    )
    def change(self, id_: str, pick: int, version: int, epoch: int, **wish: Any) -> None:
        """Move an execution and some of its steps, perhaps from a wrong idea of where it is."""
        life = self.lives.get(id_)
        if life is None:
            return
        lawful = [state for state in State if can_become(life.state, state)]
        after = wish["unlawful"] or (lawful or list(State))[pick % len(lawful or State)]
        attempts, steps = self._moves(life, after, wish["moves"], settles=wish["settles"])
        execution = self.do(self.book.execution(id_))
        change = self.book.change(
            execution,
            after,
            version=life.version + version,
            epoch=life.epoch + epoch,
            attempts=attempts,
            events=(EventWrite("noted", command_id=wish["command"]),),
            fields={"runner_no": None} if wish["releases"] else {},
        )
        answer = self.ask(change)
        expected = self._refusal(life, after, version=version, epoch=epoch, command=wish["command"])
        assert type(answer) is expected
        if expected is Changed:
            life.state, life.version, life.steps = after, life.version + 1, steps
            life.outcomes |= {
                (no, step.generation) for no, step in steps.items() if step.state in SETTLED_STEP
            }
            life.commands |= {wish["command"]} - {None}
            life.runner_no = None if wish["releases"] else life.runner_no
            assert answer.version == life.version

    def _refusal(self, life: Life, after: State, *, version: int, epoch: int, command: str | None) -> type:
        """What the answer must be; where several things are wrong, the one a caller must know first."""
        if epoch:
            return LeaseLost
        if version:
            return Conflict
        if not can_become(life.state, after):
            return IllegalTransition
        return DuplicateCommand if command in life.commands else Changed

    def _moves(
        self, life: Life, after: State, moves: set[int], *, settles: bool
    ) -> tuple[tuple[AttemptWrite, ...], dict[int, Step]]:
        """Lawful moves of those steps; where nothing may run, what runs goes back to pending."""
        steps = {no: dataclasses.replace(step) for no, step in life.steps.items()}
        attempts = []
        for no in STEPS:
            step = steps.get(no)
            if step is not None and step.state is StepState.RUNNING and after not in MAY_RUN:
                goal, before = StepState.PENDING, step.state
            elif no not in moves:
                continue
            elif step is None or step.state in SETTLED_STEP:
                goal, before = StepState.PENDING, None
                steps[no] = step = Step(goal, 0 if step is None else step.generation + 1)
            elif step.state is StepState.PENDING:
                goal, before = (StepState.RUNNING if after in MAY_RUN else StepState.SKIPPED), step.state
            else:
                goal, before = (StepState.COMPLETED if settles else StepState.FAILED), step.state
            step.state = goal
            settled = goal in SETTLED_STEP
            attempts.append(AttemptWrite(no, step.generation, 1, 0, before, goal, is_outcome=settled))
        return tuple(attempts), steps

    @rule(id_=st.sampled_from(IDS), step_no=st.sampled_from(STEPS))
    def settle_twice(self, id_: str, step_no: int) -> None:
        """A second outcome of a generation is refused, and the change with it."""
        life = self.lives.get(id_)
        if life is None or not can_become(life.state, life.state):
            return
        step = life.steps.get(step_no)
        if step is None or (step_no, step.generation) not in life.outcomes:
            return
        second = AttemptWrite(step_no, step.generation, 2, 0, None, StepState.FAILED, is_outcome=True)
        execution = self.do(self.book.execution(id_))
        assert "unique" in str(self.ask(self.book.change(execution, attempts=(second,)))).lower()

    @rule(id_=st.sampled_from(IDS), runner_no=runners, slip=SLIPS)
    def claim(self, id_: str, runner_no: int, slip: int) -> None:
        """Take it over; with another epoch in mind one comes too late."""
        life = self.lives.get(id_)
        if life is None:
            return
        execution = self.do(self.book.execution(id_))
        claim = self.book.claim(execution, runner_no)
        claim = type(claim)(**{**_fields(claim), "epoch": claim.epoch + slip})
        answer = self.ask(claim)
        if slip:
            assert isinstance(answer, Conflict)
            return
        assert isinstance(answer, Loaded)
        life.epoch, life.runner_no = life.epoch + 1, runner_no

    @rule(id_=st.sampled_from(IDS), slip=SLIPS)
    def release(self, id_: str, slip: int) -> None:
        """Give it up; with an old epoch nothing happens."""
        life = self.lives.get(id_)
        if life is None:
            return
        assert self.ask(Release(execution_no=life.no, epoch=life.epoch + slip)) is None
        life.runner_no = life.runner_no if slip else None

    @rule(id_=st.sampled_from(IDS))
    def delete(self, id_: str) -> None:
        """Only what has ended."""
        answer = self.ask(DeleteExecution(execution_id=id_))
        if id_ not in self.lives:
            assert isinstance(answer, NotFound)
        elif self.lives[id_].state in TERMINAL:
            assert answer is None
            del self.lives[id_]
        else:
            assert isinstance(answer, IllegalTransition)

    @rule(target=posted, id_=st.sampled_from(IDS), command=st.sampled_from(["m1", "m2"]))
    def post(self, id_: str, command: str) -> Any:
        """A message; the same command again is the same message."""
        answer = self.ask(self.book.post(id_, command_id=command))
        if id_ not in self.lives:
            assert isinstance(answer, NotFound)
            return multiple()
        self.lives[id_].messages.setdefault(answer, (None, None))
        return (id_, answer)

    @rule(message=posted, answer=st.none() | st.just(b'"done"'))
    def apply_message(self, message: tuple[str, int], answer: bytes | None) -> None:
        """The change that applies it, and perhaps answers it."""
        id_, no = message
        life = self.lives.get(id_)
        if life is None or no not in life.messages or not can_become(life.state, life.state):
            return
        if life.state not in MAY_RUN and any(step.state is StepState.RUNNING for step in life.steps.values()):
            return
        execution = self.do(self.book.execution(id_))
        self.ask(self.book.change(execution, messages=(MessageWrite(no, answer),)))
        life.version += 1
        applied, answered = life.messages[no]
        life.messages[no] = (applied or life.version, answered or answer)

    @rule(message=posted)
    def answer_message(self, message: tuple[str, int]) -> None:
        """An answer without a change; the first one stays."""
        id_, no = message
        life = self.lives.get(id_)
        answer = self.ask(AnswerMessage(message_no=no, answer=b'"late"'))
        if life is None or no not in life.messages:
            assert isinstance(answer, NotFound)
            return
        applied, answered = life.messages[no]
        life.messages[no] = (applied or life.version, answered or b'"late"')

    @invariant()
    def every_execution_is_as_the_model_says(self) -> None:
        """State, version, epoch, owner, steps, deaths and messages."""
        if not hasattr(self, "lives"):
            return
        assert set(self.do(self.store.find(""))) == set(self.lives)
        owners = {runner.id: runner.no for runner in self.do(self.store.runners())}
        assert set(owners.values()) == self.registered
        for id_, life in self.lives.items():
            loaded = self.do(self.store.load(id_))
            execution = loaded.execution
            assert (execution.state, execution.version, execution.epoch) == (
                life.state,
                life.version,
                life.epoch,
            )
            assert owners.get(execution.runner or "") == life.runner_no
            newest = {attempt.step_no: attempt for attempt in loaded.attempts}
            assert {no: (a.state, a.generation, a.deaths) for no, a in newest.items()} == {
                no: (step.state, step.generation, step.deaths) for no, step in life.steps.items()
            }
            outcomes = [(a.step_no, a.generation) for a in loaded.attempts if a.is_outcome]
            assert sorted(outcomes) == sorted(life.outcomes)
            for no, (applied, answered) in life.messages.items():
                message = self.do(self.store.message(no))
                assert (message.applied_version, message.answer) == (applied, answered)

    @invariant()
    def every_version_is_in_the_log_once_and_in_order(self) -> None:
        """Each change of this test writes one event."""
        for id_, life in getattr(self, "lives", {}).items():
            versions = [event.version for event in self.do(self.store.events(execution_id=id_))]
            assert versions == list(range(1, life.version + 1))

    @invariant()
    def verify_finds_nothing(self) -> None:
        """Nothing that the store has let through is damage."""
        if hasattr(self, "lives"):
            assert self.do(self.store.verify()) == []


def _fields(write: Any) -> dict[str, Any]:
    return {name: getattr(write, name) for name in write.__struct_fields__}


@pytest.mark.parametrize(("kind", "examples"), [("memory", 100), ("postgres", 12)])
def test_the_store_stays_what_its_model_says_over_random_lives(
    book_of: Any, empty_on: Any, kind: str, examples: int
):
    """Starts, changes, claims, deaths, messages and deletions, in any order."""
    play(Lives, book_of=book_of, empty=empty_on(kind), examples=examples, steps=50)
