"""Steps that ask people: asked, decided by enough of them, rejected, out of time, in any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.actors.errors import DecisionRefused, FormMismatch, NotAnApprover
from perdure.actors.instructions.plan import DependenciesPolicy, Scheduling
from perdure.actors.instructions.waits import ForApproval, OnReject, OnUndecided
from perdure.actors.messages import Approve, Cancel, Pause, Reject, Restore, Resume, Retry, TakeCheckpoint
from perdure.store.errors import IllegalTransition, NotFound, PayloadTooLarge
from perdure.store.records import PAYLOAD_BYTES_MAX
from perdure.store.states import State

Make = Callable[..., Any]
BOTH = [{}, {"scheduling": Scheduling.EAGER}]


def asks(**options: Any) -> dict[str, Any]:
    """A step that asks people."""
    return {"wait": ForApproval(**options)}


def approve(bench: Any, by: str | None = "ann", *, step: str = "s0", data: Any = None) -> Any:
    """Somebody approves."""
    return bench.tell(Approve(id=bench.id(), step=step, by=by, data=data))


def reject(bench: Any, by: str = "ann", *, step: str = "s0", comment: str | None = None) -> Any:
    """Somebody rejects."""
    return bench.tell(Reject(id=bench.id(), step=step, by=by, comment=comment))


def told(bench: Any, kind: str) -> list[Any]:
    """What the log's lines of one type say."""
    return [msgspec.json.decode(event.data) for _, event in bench.rows.events if event.type == kind]


@pytest.mark.parametrize("options", BOTH)
def test_an_approval_completes_the_step_and_says_who_decided_what(make_bench: Make, options: dict[str, Any]):
    """Decided, completed and the next step started: one transition."""
    bench = make_bench([(), (0,)], steps={0: asks(message=lambda _: "Ship?")}, **options).start()
    assert (bench.state.state, bench.states()) == (State.AWAITING_COMPLETION, ["waiting", "pending"])
    assert told(bench, "step_waiting") == [
        {"for": "approval", "message": "Ship?", "approvers": [], "quorum": 1, "due_at_ms": None}
    ]
    approve(bench, data={"limit": 3})
    assert bench.states() == ["completed", "running"]
    assert bench.state.version == 2
    decision = {"by": "ann", "verdict": "approve", "at": "1970-01-01T00:16:40Z", "data": {"limit": 3}}
    assert bench.state.output(0) == {
        "approved": True,
        "reason": "quorum",
        "data": {"limit": 3},
        "decisions": [decision | {"comment": None}],
    }
    assert bench.events()[2:4] == ["approval_decided", "step_completed"]
    assert bench.rows.approvals == {}


def test_it_waits_for_as_many_different_people_as_the_quorum_says(make_bench: Make):
    """One person has one voice; another decision of theirs is refused and changes nothing."""
    bench = make_bench([()], steps={0: asks(quorum=2)}).start()
    approve(bench)
    version = bench.state.version
    again = approve(bench)
    assert isinstance(again, DecisionRefused)
    assert "ann has approved step 's0' at 1970-01-01 00:16:40Z, and that stands" in str(again)
    assert isinstance(reject(bench), DecisionRefused)
    assert (bench.state.version, bench.states()) == (version, ["waiting"])
    approve(bench, "bob")
    assert bench.state.state is State.COMPLETED
    assert [each["by"] for each in bench.state.output(0)["decisions"]] == ["ann", "bob"]


def test_a_decision_that_comes_twice_under_one_id_is_one(make_bench: Make):
    """However often it comes; who asks again is told that it was decided, and looks it up by its id."""
    bench = make_bench([()], steps={0: asks(quorum=2)}).start()
    for _ in range(3):
        bench.tell(Approve(id="once", step="s0", by="ann"))
    assert len(bench.state.approvals[0].decisions) == 1


REJECTED = {
    OnReject.SKIP: (["skipped", "skipped", "running"], State.EXECUTING),
    OnReject.CONTINUE: (["completed", "running", "running"], State.EXECUTING),
    OnReject.FAIL: (["failed", "skipped", "running"], State.EXECUTING),
}


@pytest.mark.parametrize("options", BOTH)
@pytest.mark.parametrize("on_reject", REJECTED)
def test_one_rejection_rejects_and_what_follows_is_said_by_the_step(
    make_bench: Make, on_reject: OnReject, options: dict[str, Any]
):
    """Whoever runs whatever became of it can read the decisions, unless the step has failed."""
    later = {"dependencies": DependenciesPolicy.ALL_DONE}
    own = asks(quorum=3, on_reject=on_reject)
    steps = {0: own, 2: later}
    bench = make_bench([(), (0,), (0,)], steps=steps, continue_on_error=True, **options).start()
    approve(bench, "bob")
    reject(bench, comment="not now")
    assert (bench.states(), bench.state.state) == REJECTED[on_reject]
    if on_reject is OnReject.FAIL:
        error = bench.state.steps[0].error
        assert (error.type, error.message) == (
            "ApprovalRejected",
            "step 's0' was rejected by ann: not now",
        )
        return
    output = bench.state.output(0)
    assert (output["approved"], output["reason"], len(output["decisions"])) == (False, "rejected", 2)


def test_only_those_who_are_asked_may_decide(make_bench: Make):
    """The refusal names them."""
    bench = make_bench([()], steps={0: asks(approvers=("ann", "bob"))}).start()
    for refused in (approve(bench, "eve"), reject(bench, "eve")):
        assert isinstance(refused, NotAnApprover)
        assert str(refused) == "eve may not decide on step 's0': asked are ann, bob"
    assert isinstance(approve(bench, None), DecisionRefused)
    assert bench.state.version == 1
    approve(bench, "bob")
    assert bench.states() == ["completed"]


@pytest.mark.parametrize("options", BOTH)
def test_who_is_asked_may_be_found_out_when_the_step_asks(make_bench: Make, options: dict[str, Any]):
    """From then on it stays so, whatever the context becomes; before, nobody can decide."""
    owners = ["ann", ["bob", "ann"]]
    bench = make_bench([(), (0,)], steps={1: asks(approvers=lambda _: owners, quorum=2)}, **options).start()
    early = approve(bench, "ann", step="s1")
    assert isinstance(early, DecisionRefused)
    assert "step 's1' does not ask yet, and who may decide is found out when it does" in str(early)
    bench.complete(0)
    assert told(bench, "step_waiting")[0]["approvers"] == ["ann", "bob"]
    owners.clear()
    bench.take_up()
    assert isinstance(approve(bench, "eve", step="s1"), NotAnApprover)
    approve(bench, "ann", step="s1")
    approve(bench, "bob", step="s1")
    assert bench.state.state is State.COMPLETED
    assert isinstance(approve(bench, "ann", step="s1"), IllegalTransition)


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ([[]], "they are 0: at least 1 have to approve, at most 100 are asked"),
        ([[str(no) for no in range(101)]], "they are 101"),
        ([["ann", 7]], "7 is no name"),
        ([{"ann": True}], "{'ann': True} is no name"),
        ([""], "'' is no name"),
    ],
)
def test_a_step_fails_that_finds_nobody_to_ask(make_bench: Make, who: Any, why: str):
    """Never would it ask anyone instead."""
    bench = make_bench([()], steps={0: asks(approvers=lambda _: who)}).start()
    assert bench.state.state is State.FAILED
    assert bench.state.steps[0].error.type == "ExpressionError"
    assert why in bench.state.steps[0].error.message


def test_who_is_asked_next_is_found_out_then(make_bench: Make):
    """When the time of the first is up."""
    others: list[str] = []
    asked = asks(
        approvers=("ann",),
        timeout_ms=1_000,
        on_timeout=OnUndecided.ESCALATE,
        escalate_to=lambda _: others,
    )
    bench = make_bench([()], steps={0: asked}).start()
    others.append("eve")
    bench.advance(1_000)
    approve(bench, "eve")
    assert bench.state.state is State.COMPLETED


def test_what_cannot_be_decided_is_refused_and_says_what_can(make_bench: Make):
    """No such step, one that asks nothing, one that is settled, an execution that has ended."""
    bench = make_bench([(), ()], steps={0: asks()}).start()
    assert str(approve(bench, step="s7")) == "no step 's7': steps that ask for one: s0"
    assert isinstance(approve(bench, step="s7"), NotFound)
    assert str(approve(bench, step="s1")) == "step 's1' asks for no approval; steps that ask for one: s0"
    approve(bench)
    assert "step 's0' is completed already" in str(approve(bench, "bob"))
    bench.complete(1)
    assert isinstance(approve(bench, "bob"), IllegalTransition)


def test_an_execution_that_is_being_stopped_takes_no_decision(make_bench: Make):
    """The refusal says so."""
    bench = make_bench([(), ()], steps={0: asks()}).start()
    bench.tell(Cancel(id="c"))
    for refused in (approve(bench), reject(bench)):
        assert isinstance(refused, IllegalTransition)
        assert "a step of execution x: it is cancelling" in str(refused)


def test_the_data_of_an_approval_is_what_the_form_asks_for(make_bench: Make):
    """A rejection needs none."""

    def misfit(data: Any) -> str | None:
        return None if data == {"n": 1} else "$.n: missing"

    bench = make_bench([(), ()], steps={0: asks(misfit=misfit), 1: asks(misfit=misfit)}).start()
    refused = approve(bench, data={})
    assert isinstance(refused, FormMismatch)
    assert str(refused) == "the data does not fit the form of step 's0': $.n: missing"
    approve(bench, data={"n": 1})
    reject(bench, step="s1")
    assert bench.states() == ["completed", "skipped"]


def test_decisions_that_are_too_much_together_are_refused(make_bench: Make):
    """Before anything is written: they are kept in one row."""
    bench = make_bench([()], steps={0: asks(quorum=3)}).start()
    half = "x" * (PAYLOAD_BYTES_MAX // 2)
    approve(bench, "ann", data=half)
    assert isinstance(approve(bench, "bob", data=half), PayloadTooLarge)
    assert bench.state.version == 2


@pytest.mark.parametrize("options", BOTH)
def test_a_decision_that_comes_before_the_step_asks_is_kept_and_counts_then(
    make_bench: Make, options: dict[str, Any]
):
    """Also for an owner who finds it in the store."""
    bench = make_bench([(), (0,), (1,)], steps={1: asks(quorum=2)}, **options).start()
    approve(bench, step="s1")
    assert isinstance(approve(bench, step="s1"), DecisionRefused)
    bench.take_up(died=True)
    bench.complete(0)
    assert bench.states() == ["completed", "waiting", "pending"]
    approve(bench, "bob", step="s1")
    assert bench.states() == ["completed", "completed", "running"]


def test_enough_decisions_that_came_early_need_no_wait(make_bench: Make):
    """The step is asked and answered in the transition that lets it in."""
    bench = make_bench([(), (0,), (1,)], steps={1: asks(timeout_ms=50)}).start()
    approve(bench, step="s1")
    assert "approved already" in str(reject(bench, "bob", step="s1"))
    bench.complete(0)
    assert bench.states() == ["completed", "completed", "running"]
    assert not bench.rows.timers


def test_what_is_decided_while_paused_is_kept_and_counts_on_resume(make_bench: Make):
    """A pause decides nothing; what was decided first is what counts."""
    bench = make_bench([(), (0,)], steps={0: asks()}).start()
    bench.tell(Pause(id="p"))
    approve(bench)
    assert (bench.state.state, bench.states()) == (State.PAUSED, ["waiting", "pending"])
    assert "step 's0' is approved already: that counts when the execution goes on" in str(
        reject(bench, "bob")
    )
    bench.take_up()
    assert bench.states() == ["waiting", "pending"]
    bench.tell(Resume(id="r"))
    assert bench.states() == ["completed", "running"]


def test_a_pause_that_is_called_off_lets_count_what_was_decided_meanwhile(make_bench: Make):
    """It was not at rest yet."""
    bench = make_bench([(), (), (0,)], steps={0: asks()}, scheduling=Scheduling.EAGER).start()
    bench.tell(Pause(id="p"))
    approve(bench)
    assert (bench.state.state, bench.states()[0]) == (State.PAUSING, "waiting")
    bench.tell(Resume(id="r"))
    assert bench.states() == ["completed", "running", "running"]


ENDS = {
    OnUndecided.FAIL: ("failed", "skipped", State.FAILED),
    OnUndecided.SKIP: ("skipped", "skipped", State.COMPLETED),
    OnUndecided.REJECT: ("skipped", "skipped", State.COMPLETED),
    OnUndecided.APPROVE: ("completed", "running", State.EXECUTING),
}


@pytest.mark.parametrize("options", BOTH)
@pytest.mark.parametrize("on_timeout", ENDS)
def test_what_is_not_decided_in_time_ends_as_the_step_says(
    make_bench: Make, on_timeout: OnUndecided, options: dict[str, Any]
):
    """Fail, skip, or as if somebody had decided."""
    own = asks(timeout_ms=100, on_timeout=on_timeout, quorum=2)
    bench = make_bench([(), (0,)], steps={0: own}, continue_on_error=True, **options).start()
    approve(bench)
    bench.advance(100)
    first, second, state = ENDS[on_timeout]
    assert (bench.states(), bench.state.state) == ([first, second], state)
    if on_timeout is OnUndecided.FAIL:
        error = bench.state.steps[0].error
        assert error.type == "WaitTimeout"
        assert "waited 0.1 s for approval (1 of 2 given), which did not come" in error.message
        return
    output = bench.state.output(0)
    assert (output["approved"], output["reason"]) == (on_timeout is OnUndecided.APPROVE, "timeout")
    assert [each["by"] for each in output["decisions"]] == ["ann"]


def test_a_timeout_that_rejects_may_fail_the_step(make_bench: Make):
    """As a rejection would."""
    own = asks(timeout_ms=100, on_timeout=OnUndecided.REJECT, on_reject=OnReject.FAIL)
    bench = make_bench([()], steps={0: own}).start()
    bench.advance(100)
    assert bench.state.steps[0].error.message == "step 's0' was decided in time by nobody, which rejects it"


def test_who_does_not_decide_in_time_is_followed_by_others_who_are_asked_anew(make_bench: Make):
    """The next attempt, with the same quorum and as much time; what was given before does not count."""
    own = asks(
        approvers=("ann", "bob"),
        quorum=2,
        timeout_ms=100,
        on_timeout=OnUndecided.ESCALATE,
        escalate_to=("eve", "dan"),
    )
    bench = make_bench([(), (0,)], steps={0: own}).start()
    approve(bench)
    bench.advance(100)
    assert (bench.states()[0], bench.state.steps[0].attempt) == ("waiting", 2)
    assert [each["approvers"] for each in told(bench, "step_waiting")] == [["ann", "bob"], ["eve", "dan"]]
    assert bench.rows.timers == {("wait", 0): bench.now + 100}
    assert isinstance(approve(bench, "bob"), NotAnApprover)
    bench.take_up(died=True)
    approve(bench, "eve")
    approve(bench, "dan")
    assert bench.states() == ["completed", "running"]
    assert [each["by"] for each in bench.state.output(0)["decisions"]] == ["eve", "dan"]


def test_who_is_asked_last_and_does_not_decide_lets_the_step_fail(make_bench: Make):
    """There is nobody else."""
    own = asks(timeout_ms=100, on_timeout=OnUndecided.ESCALATE, escalate_to=("eve",))
    bench = make_bench([()], steps={0: own}).start()
    bench.advance(100)
    bench.advance(100)
    assert (bench.states(), bench.state.state) == (["failed"], State.FAILED)
    assert "approval by eve (0 of 1 given)" in bench.state.steps[0].error.message
    bench.tell(Retry(id="r"))
    assert (bench.states(), bench.state.steps[0].attempt) == (["waiting"], 1)
    assert bench.state.approvals[0].approvers == ()


def test_nobody_decides_after_the_time_was_up_though_a_pause_puts_it_off(make_bench: Make):
    """What fell due fires when the execution is resumed."""
    own = asks(timeout_ms=100, on_timeout=OnUndecided.SKIP, quorum=2)
    bench = make_bench([()], steps={0: own}).start()
    approve(bench)
    bench.tell(Pause(id="p"))
    bench.advance(150)
    assert "the time to decide on step 's0' was up at 1970-01-01 00:16:40Z" in str(approve(bench, "bob"))
    bench.tell(Resume(id="r"))
    assert bench.states() == ["skipped"]


def test_what_was_decided_in_time_counts_before_what_fell_due_later(make_bench: Make):
    """Both while it was paused."""
    own = asks(timeout_ms=100, on_timeout=OnUndecided.SKIP)
    bench = make_bench([()], steps={0: own}).start()
    bench.tell(Pause(id="p"))
    approve(bench)
    bench.advance(150)
    bench.tell(Resume(id="r"))
    assert bench.states() == ["completed"]


@pytest.mark.parametrize("message", [lambda _: 7, lambda _: 1 / 0], ids=["a number", "an error"])
def test_a_message_that_cannot_be_had_fails_the_step(make_bench: Make, message: Any):
    """Typed, like a moment that is none."""
    bench = make_bench([()], steps={0: asks(message=message)}).start()
    assert bench.state.steps[0].error.type == "ExpressionError"
    assert "the message of step 's0'" in bench.state.steps[0].error.message


def test_a_cancel_and_a_failure_elsewhere_end_the_question(make_bench: Make):
    """Nothing is left of it; a retry asks anew."""
    bench = make_bench([(), ()], steps={0: asks(timeout_ms=100)}).start()
    approve_before = bench.rows.approvals.keys()
    assert approve_before == {0}
    bench.fail(1)
    assert (bench.state.state, bench.states(), bench.rows.approvals) == (
        State.FAILED,
        ["cancelled", "failed"],
        {},
    )
    bench.tell(Retry(id="r"))
    bench.complete(1)
    bench.tell(Cancel(id="c"))
    assert (bench.state.state, bench.rows.approvals) == (State.CANCELLED, {})


def test_a_restore_asks_anew_and_what_was_decided_before_counts_no_more(make_bench: Make):
    """It may be about something else now."""
    bench = make_bench([(), (0,)], steps={0: asks(quorum=2)}).start()
    bench.tell(TakeCheckpoint(id="t", label="here"))
    point = bench.state.version
    approve(bench)
    approve(bench, "bob")
    bench.fail(1)
    bench.tell(Restore(id="b", checkpoint=point))
    bench.tell(Resume(id="r"))
    assert bench.states() == ["waiting", "pending"]
    assert bench.state.approvals[0].decisions == ()


def test_a_query_says_what_is_asked_and_what_was_decided(make_bench: Make):
    """For people to see."""
    own = asks(
        message=lambda _: "Ship?", approvers=("ann", "bob"), quorum=2, timeout_ms=100, form={"type": "null"}
    )
    bench = make_bench([()], steps={0: own}).start()
    approve(bench)
    step = bench.state.describe()["steps"]["s0"]
    assert step["waits"] | {"decisions": len(step["waits"]["decisions"])} == {
        "for": "approval",
        "form": {"type": "null"},
        "message": "Ship?",
        "approvers": ["ann", "bob"],
        "quorum": 2,
        "decisions": 1,
    }
    assert (step["started_at_ms"], step["due_at_ms"]) == (bench.now, bench.now + 100)


def test_an_approval_that_comes_while_the_runtime_closes_leaves_something_to_claim(make_bench: Make):
    """Asleep without a timer nobody would look at it again."""
    bench = make_bench([(), (0,)], steps={0: asks()}).start()
    bench.shut_down()
    approve(bench)
    assert bench.state.state is State.SCHEDULING
    bench.take_up()
    assert bench.states() == ["completed", "running"]


MOVES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["approve", "reject"]), st.sampled_from(["ann", "bob", "dan", "eve"])),
        st.tuples(st.sampled_from(["pause", "resume", "die"]), st.none()),
        st.tuples(st.just("pass"), st.integers(1, 120)),
    ),
    max_size=14,
)


@settings(deadline=None, max_examples=150)
@given(moves=MOVES, on_timeout=st.sampled_from(list(OnUndecided)), quorum=st.integers(1, 3))
def test_whatever_happens_what_was_acknowledged_is_what_decides(
    make_bench: Make, moves: list[tuple[str, Any]], on_timeout: OnUndecided, quorum: int
):
    """The first rejection, or the approval that was missing, of those that were taken, in their order."""
    people = ("ann", "bob", "dan")
    own = asks(
        approvers=people,
        quorum=quorum,
        timeout_ms=300,
        on_timeout=on_timeout,
        escalate_to=people,
        on_reject=OnReject.CONTINUE,
    )
    bench = make_bench([(), (0,)], steps={0: own}).start()
    taken: list[tuple[str, str]] = []
    for what, detail in moves:
        if bench.states()[0] != "waiting" or bench.state.steps[0].attempt > 1:
            break
        if what in {"approve", "reject"}:
            answer = (approve if what == "approve" else reject)(bench, detail)
            if not isinstance(answer, Exception):
                taken.append((what, detail))
        elif what == "pass":
            bench.advance(detail)
        elif what == "die":
            bench.take_up(died=True)
        else:
            bench.tell({"pause": Pause, "resume": Resume}[what](id=bench.id()))
    assert len({by for _, by in taken}) == len(taken)
    assert {by for _, by in taken} <= set(people)
    rejections = [number for number, (what, _) in enumerate(taken) if what == "reject"]
    enough = quorum - 1 if len(taken) >= quorum else None
    decided = min([*rejections, *([] if enough is None else [enough])], default=None)
    assert decided in (None, len(taken) - 1), "something was taken after it had been decided"
    if bench.states()[0] == "completed" and bench.state.output(0)["reason"] != "timeout":
        output = bench.state.output(0)
        assert decided is not None
        assert output["approved"] is (not rejections)
        assert [each["by"] for each in output["decisions"]] == [by for _, by in taken]
    elif decided is not None:
        assert bench.state.state in {State.PAUSED, State.PAUSING}, "decided, and it waits on"
