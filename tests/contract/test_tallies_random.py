"""Random histories with tallies in between: what statistics say is what a look at every row says."""

from __future__ import annotations

from typing import Any

import pytest
from ended import ERROR, LATE, views_agree
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from playing import StoreMachine, play

from perdure.store.scripts.compaction import Compact
from perdure.store.scripts.retention import Prune
from perdure.store.scripts.tallies import BLOCK, Tally
from perdure.store.scripts.versions import MigrateExecution
from perdure.store.states import TERMINAL, State, StepState, can_become
from perdure.store.writes import AttemptWrite, DeleteExecution, Delta, EventWrite, Release, UpdateExecution

IDS = st.sampled_from([f"e{number}" for number in range(4)])
TIMES = st.none() | st.integers(1, 50)
BEGINNINGS = [state for state in State if can_become(State.IDLE, state)]
ENDS = (StepState.COMPLETED, StepState.FAILED, StepState.SKIPPED)
EVER = 2**50
ORDERS = ("r1", "r2")  # revisions of one workflow, between which executions move
BACK = ((0, 2), (1, None), (2, 0))  # what becomes of the numbers of its steps then


class Histories(StoreMachine):
    """Everything that changes what statistics tell."""

    @initialize()
    def open(self) -> None:
        """An empty store with two workflows, one of them in two revisions."""
        self.open_store()
        self.other = self.do(self.book.publish("other"))
        self.orders = [self.do(self.book.publish(revision=revision)) for revision in ORDERS]
        self.runner_no = self.do(self.book.register())
        self.block = 0
        self.count = 0

    @rule(
        id_=IDS,
        state=st.sampled_from(BEGINNINGS) | st.sampled_from(sorted(TERMINAL)),
        is_order=st.booleans(),
        step_no=st.integers(0, 2),
        times=st.tuples(TIMES, TIMES),
    )
    def start(
        self, id_: str, state: State, step_no: int, times: tuple[int | None, int | None], *, is_order: bool
    ) -> None:
        """One begins, or is imported as it has ended, with an attempt that may tell no times; or is there."""
        ended = {}
        if state in TERMINAL:
            failed = self._attempt(step_no, StepState.FAILED, times)
            log = (EventWrite("workflow_imported"),)
            ended = {"imported_at": self.book.now, "finished_at": self.book.tick()}
            ended |= {"delta": Delta(attempts=(failed,), events=log), "error": LATE}
        workflow_no = self.orders[0] if is_order else self.other
        self.do(self.book.answer_to(self.book.starting(id_, state=state, workflow_no=workflow_no, **ended)))

    @rule(
        id_=IDS,
        pick=st.integers(0, 99),
        step_no=st.integers(0, 2),
        end=st.sampled_from(ENDS),
        times=st.tuples(TIMES, TIMES),
    )
    def move(self, id_: str, pick: int, step_no: int, end: StepState, times: Any) -> None:
        """An execution goes anywhere it may go, also out of its end; a step of it comes to something."""
        execution = self.do(self.store.execution(id_))
        lawful = [] if execution is None else [to for to in State if can_become(execution.state, to)]
        if not lawful:
            return
        state = lawful[pick % len(lawful)]
        fields: dict[str, Any] = {"finished_at": None, "error": None}
        if state in TERMINAL:
            fields = {"started_at": self.book.now, "finished_at": self.book.tick()}
            fields["error"] = LATE if state is State.FAILED else None
        self.do(
            self.book.move(execution, state, attempts=(self._attempt(step_no, end, times),), fields=fields)
        )

    def _attempt(self, step_no: int, state: StepState, times: tuple[int | None, int | None]) -> AttemptWrite:
        """An attempt like no other."""
        self.count += 1
        error = ERROR if state is StepState.FAILED else None
        started_at, finished_at = times
        return self.book.attempt(
            step_no,
            state,
            generation=self.count,
            attempt=1 + self.count % 2,
            is_outcome=state is not StepState.FAILED or self.count % 3 == 0,
            error=error,
            started_at=started_at,
            finished_at=finished_at,
        )

    @rule(id_=IDS)
    def claim(self, id_: str) -> None:
        """Somebody takes it up and gives it up again, also when it has ended."""
        execution = self.do(self.store.execution(id_))
        if execution is not None:
            self.do(self.book.write(self.book.claim(execution, self.runner_no)))
            self.do(self.book.write(Release(execution_no=execution.no, epoch=execution.epoch + 1)))

    @rule(id_=IDS)
    def prioritize(self, id_: str) -> None:
        """Its priority changes, which may be asked at any time."""
        self.do(self.book.answer_to(UpdateExecution(execution_id=id_, priority=1, at=self.book.tick())))

    @rule(id_=IDS)
    def migrate(self, id_: str) -> None:
        """It moves to the other revision, where it may, and its steps with it."""
        execution = self.do(self.store.execution(id_))
        if execution is None or execution.workflow_no not in self.orders:
            return
        self.count += 1
        move = MigrateExecution(
            execution_id=id_,
            version=execution.version,
            workflow_no=next(no for no in self.orders if no != execution.workflow_no),
            numbers=BACK,
            by=None,
            command_id=f"move-{self.count}",
            data=b"{}",
            at=self.book.tick(),
        )
        self.do(self.book.answer_to(move))

    @rule(id_=IDS)
    def delete(self, id_: str) -> None:
        """It goes, if it has ended; that is how an import is taken back, too."""
        self.do(self.book.answer_to(DeleteExecution(execution_id=id_)))

    @rule(limit=st.integers(1, 3), keep_failed=st.booleans())
    def prune(self, limit: int, *, keep_failed: bool) -> None:
        """The oldest go, into the roll-ups."""
        self.do(self.book.write(Prune(before=EVER, limit=limit, keep_failed=keep_failed)))

    @rule()
    def compact(self) -> None:
        """Logs lose what repeats."""
        self.do(self.book.write(Compact(before=EVER, limit=2)))

    @rule(leaps=st.booleans(), back=st.integers(1, 3))
    def tally(self, back: int, *, leaps: bool) -> None:
        """A block that is full is counted, be it empty; what starts after a leap is of the next one."""
        if leaps:
            self.block += 1
            self.do(self.book.skip_to(self.block * BLOCK))
        if back <= self.block:
            self.do(self.book.write(Tally(block=self.block - back)))

    @invariant()
    def statistics_are_what_the_rows_say(self) -> None:
        """At any moment, of everything."""
        if hasattr(self, "store"):
            self.do(views_agree(self.book))


@pytest.mark.parametrize(("kind", "examples"), [("memory", 80), ("postgres", 8)])
def test_statistics_with_tallies_are_those_from_scratch_after_any_history(
    book_of: Any, empty_on: Any, kind: str, examples: int
):
    """Starts, ends, reopenings, moves, claims, deletions and prunings, in any order."""
    play(Histories, book_of=book_of, empty=empty_on(kind), examples=examples, steps=40)
