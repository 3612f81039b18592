"""Every command in every state: what the legal ones do, and that the others change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest

from perdure.actors.decider import planner
from perdure.actors.decider.commands import MEANING
from perdure.actors.errors import InvalidContext
from perdure.actors.instructions.plan import RetryPolicy
from perdure.actors.messages import (
    Answer,
    AnyCommand,
    Approve,
    Cancel,
    ChildEnded,
    ChildRested,
    Interrupt,
    Pause,
    PauseMode,
    PlanResume,
    Reject,
    Restore,
    RestorePoint,
    Resume,
    Retry,
    Rollback,
    Signal,
    TakeCheckpoint,
    UpdateContext,
)
from perdure.store.errors import Conflict, IllegalTransition, NotSerializable, PayloadTooLarge
from perdure.store.records import PAYLOAD_BYTES_MAX
from perdure.store.states import State

Make = Callable[..., Any]


RETRY = {"retry": RetryPolicy(max_retries=1, delay_ms=100, jitter=False)}


COMMANDS: dict[type, dict[str, Any]] = {
    Pause: {},
    Resume: {},
    PlanResume: {"at_ms": 10**13},
    Cancel: {},
    Rollback: {"reason": "rain"},
    Signal: {"name": "go"},
    UpdateContext: {"patch": {"b": 2}},
    TakeCheckpoint: {"label": "here"},
    Restore: {"checkpoint": 1},
    Retry: {},
}


DECISIONS = {Approve, Reject}  # they need a step that asks: see test_approving


TOLD = {ChildRested, ChildEnded}  # by children: tests/actors/decider/kinds/test_children.py


# What the written states of this machine are, and how an execution gets there.
WAYS: dict[State, Callable[[Any], None]] = {
    State.EXECUTING: lambda bench: bench.start(),
    State.AWAITING_COMPLETION: lambda bench: (bench.start(), bench.fail(0)),
    State.PAUSING: lambda bench: (bench.start(), bench.tell(Pause(id="w"))),
    State.PAUSED: lambda bench: (bench.start(), bench.tell(Pause(id="w")), bench.complete(0)),
    State.CANCELLING: lambda bench: (bench.start(), bench.tell(Cancel(id="w"))),
    State.COMPLETED: lambda bench: (bench.start(), bench.complete(0, 1)),
    State.FAILED: lambda bench: (bench.start(), bench.complete(0), bench.fail(1)),
    State.CANCELLED: lambda bench: (
        bench.start(),
        bench.complete(0),
        bench.tell(Cancel(id="w")),
        bench.unwind(),
    ),
    State.COMPENSATING: lambda bench: (bench.start(), bench.complete(0, 1), bench.tell(Rollback(id="w"))),
    State.ROLLED_BACK: lambda bench: (
        bench.start(),
        bench.complete(0),
        bench.tell(Rollback(id="w")),
        bench.unwind(),
        bench.complete(2),
    ),
}


@pytest.fixture
def bench_in(make_bench: Make) -> Callable[[State], Any]:
    """An execution of two steps, of which one can be undone, in that state."""

    def make(state: State) -> Any:
        bench = make_bench([(), (0,)], context={"a": 1}, steps={0: RETRY}, undo={0: {}})
        WAYS[state](bench)
        assert bench.state.state is state
        return bench

    return make


def command(kind: type, **options: Any) -> Any:
    """A command of that kind with the least it needs."""
    return kind(**({"id": "c", "by": "tester"} | COMMANDS[kind] | options))


def is_legal(kind: type, state: State) -> bool:
    """What the table says."""
    return state in MEANING[RestorePoint if kind is Restore else kind]


def test_every_command_has_a_meaning_and_a_test():
    """Nobody adds one without saying when it may come."""
    assert set(get_args(AnyCommand)) == set(COMMANDS) | DECISIONS | TOLD
    assert set(MEANING) == set(COMMANDS) - {Restore} | {RestorePoint} | DECISIONS | TOLD


@pytest.mark.parametrize("state", WAYS)
@pytest.mark.parametrize("kind", COMMANDS)
def test_an_illegal_command_is_refused_and_changes_nothing(
    bench_in: Callable[[State], Any], kind: type, state: State
):
    """The refusal names the state, the command and the version."""
    if is_legal(kind, state):
        return
    bench = bench_in(state)
    before = bench.state.describe()
    refusal = bench.tell(command(kind))
    assert isinstance(refusal, IllegalTransition)
    assert (refusal.state, refusal.version) == (state.value, bench.state.version)
    assert bench.state.describe() == before
    assert bench.turn.is_empty


@pytest.mark.parametrize("state", WAYS)
@pytest.mark.parametrize("kind", COMMANDS)
def test_a_legal_command_is_written_with_its_id_and_answered(
    bench_in: Callable[[State], Any], kind: type, state: State
):
    """At once, or once the execution rests; with the version its change has."""
    if not is_legal(kind, state):
        return
    bench = bench_in(state)
    had = bench.state.version
    answer = bench.tell(command(kind))
    ids = [event.command_id for _, event in bench.rows.events]
    fulfilled = (kind, state) in {
        (Pause, State.PAUSED),
        (Pause, State.CANCELLING),
        (Cancel, State.CANCELLING),
        (Rollback, State.COMPENSATING),
    }
    assert ids.count("c") == (not fulfilled)
    assert bench.state.version == had + (not fulfilled)
    if answer is None:
        assert kind in (Pause, Cancel, Rollback)
        assert bench.waiters
        while bench.waiters:
            bench.unwind() if bench.interrupts else bench.complete(*bench.bodies)
    else:
        assert answer == Answer(bench.state.state, bench.state.version)


@pytest.mark.parametrize("state", WAYS)
@pytest.mark.parametrize("kind", COMMANDS)
def test_a_command_for_another_version_is_refused_with_the_current_one(
    bench_in: Callable[[State], Any], kind: type, state: State
):
    """Somebody was faster."""
    bench = bench_in(state)
    before = bench.state.describe()
    refusal = bench.tell(command(kind, expected_version=bench.state.version - 1))
    assert isinstance(refusal, Conflict)
    assert refusal.current == bench.state.version
    assert bench.state.describe() == before


def test_a_command_for_the_current_version_is_taken(bench_in: Callable[[State], Any]):
    """Nobody was faster."""
    bench = bench_in(State.EXECUTING)
    answer = bench.tell(command(Signal, expected_version=bench.state.version))
    assert answer == Answer(State.EXECUTING, bench.state.version)


@pytest.mark.parametrize("kind", [Signal, UpdateContext, TakeCheckpoint, Retry, Resume])
def test_a_command_that_comes_twice_is_applied_once(bench_in: Callable[[State], Any], kind: type):
    """The log knows its id."""
    bench = bench_in({Retry: State.FAILED, Resume: State.PAUSED}.get(kind, State.PAUSED))
    bench.tell(command(kind))
    events = bench.events()
    if kind is Resume:
        bench.complete(1)
        bench.tell(Pause(id="again"))
    bench.tell(command(kind))
    assert bench.events()[: len(events)] == events
    assert [event.command_id for _, event in bench.rows.events].count("c") == 1


def test_a_drain_lets_steps_in_flight_finish_and_starts_nothing_new(make_bench: Make):
    """Two durable states: wished, then settled."""
    bench = make_bench([(), (), (0,)]).start()
    assert bench.tell(command(Pause)) is None
    assert bench.state.state is State.PAUSING
    assert not bench.interrupts
    bench.complete(0)
    assert bench.state.state is State.PAUSING
    bench.complete(1)
    assert (bench.state.state, bench.states()[2]) == (State.PAUSED, "pending")
    assert bench.rows.fields["paused_at"] == bench.now


def test_an_interrupt_cancels_what_runs_and_keeps_its_attempt(make_bench: Make):
    """The wish is durable before a body is touched."""
    bench = make_bench([(), ()]).start()
    bench.tell(command(Pause, mode=PauseMode.INTERRUPT))
    assert bench.interrupts == {0: Interrupt.PAUSE, 1: Interrupt.PAUSE}
    bench.unwind()
    assert (bench.state.state, bench.states()) == (State.PAUSED, ["pending", "pending"])


def test_draining_the_last_step_ends_completed_and_answers_so(make_bench: Make):
    """The end came first."""
    bench = make_bench([()]).start()
    told: list[Any] = []
    bench.tell(command(Pause))
    asker = bench.waiters[0]
    told = asker.reply.answers
    bench.complete(0)
    assert told == [Answer(State.COMPLETED, bench.state.version)]


def test_a_pause_in_a_retry_delay_settles_at_once_and_the_retry_fires_on_resume(
    bench_in: Callable[[State], Any],
):
    """Absolute times stay; what fell due meanwhile starts then."""
    bench = bench_in(State.AWAITING_COMPLETION)
    assert bench.tell(command(Pause)).state is State.PAUSED
    bench.advance(5_000)
    assert not bench.bodies
    bench.tell(Resume(id="r"))
    assert bench.bodies == {0: (0, 2)}


def test_a_resume_during_a_pause_calls_it_off(make_bench: Make):
    """The one who waits for the pause is told where things stand instead."""
    bench = make_bench([(), (), (0,)]).start()
    bench.tell(command(Pause))
    told = bench.waiters[0].reply.answers
    assert bench.tell(Resume(id="r")).state is State.EXECUTING
    assert told == [Answer(State.EXECUTING, bench.state.version)]
    bench.complete(0, 1)
    assert bench.bodies.keys() == {2}


def test_a_step_that_is_still_being_interrupted_starts_again_once_it_has_ended(make_bench: Make):
    """A pause that was called off too late for its body."""
    bench = make_bench([(), ()]).start()
    bench.tell(command(Pause, mode=PauseMode.INTERRUPT))
    bench.tell(Resume(id="r"))
    assert bench.started == [0, 1]
    bench.unwind()
    assert bench.started == [0, 1, 0, 1]


def test_an_interrupt_may_follow_a_drain(make_bench: Make):
    """Patience may end."""
    bench = make_bench([()]).start()
    bench.tell(command(Pause))
    bench.tell(Pause(id="now", mode=PauseMode.INTERRUPT))
    assert bench.state.pause_mode == "interrupt"
    assert len(bench.waiters) == 2
    bench.unwind()
    assert not bench.waiters


def test_resume_merges_its_data_first(bench_in: Callable[[State], Any]):
    """Steps that start now see it."""
    bench = bench_in(State.PAUSED)
    bench.tell(Resume(id="r", data={"b": 2}))
    assert bench.state.context == {"a": 1, "b": 2}
    assert bench.state.resume_count == 1


def test_a_resume_whose_data_is_refused_resumes_nothing(bench_in: Callable[[State], Any]):
    """All or nothing."""
    bench = bench_in(State.PAUSED)
    before = bench.state.describe()
    assert isinstance(bench.tell(Resume(id="r", data={"s1": 0})), InvalidContext)
    assert bench.state.describe() == before
    assert bench.turn.is_empty


def test_a_pause_before_the_first_step_begins_nothing(make_bench: Make):
    """It starts when it is resumed, with its time limit whole, and begins once."""
    bench = make_bench([()]).enqueue(remaining_ms=500)
    bench.take_up(launches=False)
    bench.tell(command(Pause))
    assert (bench.state.state, bench.started) == (State.PAUSED, [])
    bench.now += 10_000
    bench.tell(Resume(id="r"))
    assert bench.bodies.keys() == {0}
    assert bench.state.deadline_at == bench.now + 500
    assert bench.events().count("workflow_started") == 1


def test_a_cancel_reaches_what_runs_and_what_waits(make_bench: Make):
    """Every step that had begun is cancelled; the rest never ran."""
    bench = make_bench([(), (), (0,)], steps={1: RETRY}).start()
    bench.fail(1)
    assert bench.tell(command(Cancel)) is None
    assert bench.interrupts == {0: Interrupt.CANCEL}
    bench.unwind()
    assert bench.states() == ["cancelled", "cancelled", "pending"]
    assert bench.state.state is State.CANCELLED
    assert not bench.rows.timers


def test_a_cancel_overtakes_a_pause_and_answers_both(make_bench: Make):
    """A body that was being interrupted for the pause is cancelled now."""
    bench = make_bench([()]).start()
    bench.tell(command(Pause, mode=PauseMode.INTERRUPT))
    told = bench.waiters[0].reply.answers
    bench.tell(Cancel(id="c2"))
    bench.unwind()
    assert bench.states() == ["cancelled"]
    assert told == [Answer(State.CANCELLED, bench.state.version)]


@pytest.mark.parametrize("mode", PauseMode)
def test_nothing_is_left_of_a_pause_that_an_end_overtook(make_bench: Make, mode: PauseMode):
    """Neither by a cancel nor by the last step; so a retry does not say who paused before."""
    cancelled, completed = make_bench([()]).start(), make_bench([()]).start()
    for bench in (cancelled, completed):
        bench.tell(Pause(id="p", mode=mode, by="ada", reason="stocktaking"))
        assert bench.rows.fields["paused_by"] == "ada"
    cancelled.tell(Cancel(id="x"))
    cancelled.unwind()
    completed.complete(0)
    cancelled.tell(Retry(id="r"))
    for bench in (cancelled, completed):
        fields = bench.rows.fields
        assert (fields["pause_mode"], fields["paused_by"], fields["pause_reason"]) == (None, None, None)


def test_a_failure_that_races_with_a_cancel_does_not_make_it_failed(make_bench: Make):
    """What was asked for is what it ends as; the failure is recorded with its step."""
    bench = make_bench([(), ()], steps={0: RETRY}).start()
    bench.tell(command(Cancel))
    bench.fail(0)
    bench.fail(1)
    assert bench.states() == ["failed", "failed"]
    assert (bench.state.state, bench.state.error) == (State.CANCELLED, None)


def test_a_cancel_of_a_paused_execution_ends_at_once(bench_in: Callable[[State], Any]):
    """Nothing is in flight."""
    bench = bench_in(State.PAUSED)
    assert bench.tell(command(Cancel)) == Answer(State.CANCELLED, bench.state.version)
    assert bench.rows.fields["paused_at"] is None


def test_a_context_may_not_take_the_name_of_a_step(bench_in: Callable[[State], Any]):
    """Templates could not tell them apart."""
    bench = bench_in(State.EXECUTING)
    refusal = bench.tell(command(UpdateContext, patch={"s0": 1}))
    assert isinstance(refusal, InvalidContext)
    assert bench.turn.is_empty


@pytest.mark.parametrize("room", [0, 10, 40, 300])
@pytest.mark.parametrize("kind", [Signal, UpdateContext, Resume, TakeCheckpoint])
def test_what_the_log_cannot_keep_is_refused_before_it_is_tried(
    bench_in: Callable[[State], Any], kind: type, room: int
):
    """A store that refuses a commit would crash the actor instead of the command."""
    text = "x" * (PAYLOAD_BYTES_MAX - room)
    options = {
        Signal: {"payload": text},
        UpdateContext: {"patch": {"b": text}},
        Resume: {"data": {"b": text}},
        TakeCheckpoint: {"label": text},
    }
    bench = bench_in(State.PAUSED)
    answer = bench.tell(command(kind, **options[kind]))
    assert isinstance(answer, PayloadTooLarge if room < 40 else Answer | PayloadTooLarge)


@pytest.mark.parametrize("value", [float("nan"), object(), "\ud800"])
def test_what_is_no_json_is_refused(bench_in: Callable[[State], Any], value: Any):
    """It could not be read back."""
    bench = bench_in(State.EXECUTING)
    assert isinstance(bench.tell(command(Signal, payload={"v": value})), NotSerializable)
    assert bench.turn.is_empty


def test_a_checkpoint_counts_what_is_done(make_bench: Make):
    """Steps completed and all, and the size of their outputs."""
    bench = make_bench([(), (), (0,)]).start()
    bench.complete(0, output=b'"12345"')
    bench.tell(command(TakeCheckpoint))
    checkpoint = bench.turn.delta().checkpoint
    assert (checkpoint.steps_completed, checkpoint.steps_total, checkpoint.size_bytes) == (1, 3, 7)


def test_a_command_from_the_inbox_is_answered_in_its_row(bench_in: Callable[[State], Any]):
    """In the same transaction as what it did."""
    bench = bench_in(State.EXECUTING)
    bench.tell(command(Signal), message_no=5)
    assert msgspec.json.decode(bench.rows.applied[5]) == {
        "state": "executing",
        "version": bench.state.version,
    }


def test_a_pause_from_the_inbox_is_applied_at_once_and_answered_later(make_bench: Make):
    """It is not applied again after a crash, and still answered."""
    bench = make_bench([(), (0,)]).start()
    bench.tell(command(Pause), message_no=5)
    assert bench.rows.applied == {5: None}
    bench.complete(0)
    assert msgspec.json.decode(bench.rows.applied[5]) == {"state": "paused", "version": bench.state.version}


def test_a_refusal_for_the_inbox_is_ordered_and_changes_nothing(bench_in: Callable[[State], Any]):
    """It names the condition and its fields, for a sender in another process."""
    bench = bench_in(State.EXECUTING)
    bench.tell(command(Retry), message_no=5)
    assert bench.turn.is_empty
    refusal = msgspec.json.decode(bench.refused[0].answer)
    assert refusal["refused"] == "IllegalTransition"
    assert refusal["fields"]["state"] == "executing"


def test_pausing_a_paused_execution_from_the_inbox_is_answered_with_its_new_version(
    bench_in: Callable[[State], Any],
):
    """The answer itself is a change."""
    bench = bench_in(State.PAUSED)
    bench.tell(command(Pause), message_no=5)
    assert msgspec.json.decode(bench.rows.applied[5])["version"] == bench.state.version


def test_a_command_behind_a_shutdown_starts_nothing(make_bench: Make):
    """It is applied and answered; the next owner acts on it."""
    bench = make_bench([(), (0,)]).start()
    bench.tell(Pause(id="p"))
    bench.complete(0)
    bench.shut_down()
    answer = bench.tell(Resume(id="r"))
    assert isinstance(answer, Answer)
    assert not bench.bodies
    assert planner.may_park(bench.turn, linger_ms=0, is_closing=True)
    bench.take_up()
    assert bench.bodies.keys() == {1}


def test_who_waits_for_a_rest_waits_on_when_another_command_comes_twice(make_bench: Make):
    """What a turn would have told him is told only once the turn is durable."""
    bench = make_bench([()]).start()
    bench.tell(Pause(id=bench.id()))
    bench.tell(Resume(id="twice"))
    bench.tell(Pause(id=bench.id()))
    told = bench.waiters[0].reply.answers
    bench.tell(Resume(id="twice"))
    assert bench.state.state is State.PAUSING
    assert told == []
    bench.complete(0)
    assert [answer.state for answer in told] == [State.COMPLETED]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_a_cancel_leaves_does_not_depend_on_which_body_ends_first(make_bench: Make, order: Any):
    """What had not begun stays as it is: nothing enters a level, not even to be skipped."""
    bench = make_bench([(), (), (0,)]).start()
    bench.tell(Cancel(id=bench.id()))
    for step_no in order:
        if step_no:
            bench.complete(step_no)
        else:
            bench.unwind(step_no)
    assert bench.states() == ["cancelled", "completed", "pending"]
