"""Gates: judged whole, passed, closed in one way or another, judged again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from perdure.actors.instructions.gate import Criterion, Gate, OnNo
from perdure.actors.instructions.plan import Hook, Scheduling
from perdure.actors.instructions.waits import ForApproval, OnReject
from perdure.actors.messages import Pause, Reject, Resume, Retry
from perdure.store.states import State

Make = Callable[..., Any]
BOTH = [{}, {"scheduling": Scheduling.EAGER}]


def gate(*names: str, on_no: OnNo = OnNo.FAIL) -> dict[str, Any]:
    """A step that is a gate: each of those inputs must be true."""
    criteria = tuple(
        Criterion(holds=lambda values, name=name: values.context[name], written=name, reason=f"no {name}")
        for name in names
    )
    return {"gate": Gate(criteria=criteria, on_no=on_no)}


def judged(bench: Any) -> list[Any]:
    """What the log says of each time it was judged."""
    return [msgspec.json.decode(event.data) for _, event in bench.rows.events if event.type == "gate_judged"]


@pytest.mark.parametrize("options", BOTH)
def test_a_gate_whose_criteria_all_hold_completes_with_the_table(make_bench: Make, options: dict[str, Any]):
    """Judged, completed and the next step started: one transition."""
    bench = make_bench(
        [(), (0,)], steps={0: gate("a", "b")}, context={"a": True, "b": True}, **options
    ).start()
    table = {
        "passed": True,
        "criteria": [
            {"when": "a", "reason": "no a", "holds": True},
            {"when": "b", "reason": "no b", "holds": True},
        ],
    }
    assert (bench.state.version, bench.states()) == (1, ["completed", "running"])
    assert (bench.state.output(0), judged(bench)) == (table, [table])


@pytest.mark.parametrize("options", BOTH)
def test_a_closed_gate_fails_and_tells_every_reason(make_bench: Make, options: dict[str, Any]):
    """Not only the first; a retry judges it again."""
    context = {"a": False, "b": True, "c": False}
    bench = make_bench([(), (0,)], steps={0: gate("a", "b", "c")}, context=context, **options).start()
    assert (bench.state.state, bench.states()) == (State.FAILED, ["failed", "pending"])
    error = bench.state.steps[0].error
    assert (error.type, error.message) == ("GateClosed", "gate 's0' is closed: no a; no c")
    assert [each["holds"] for each in judged(bench)[0]["criteria"]] == [False, True, False]
    bench.tell(Retry(id="r", data={"a": True, "c": True}))
    assert bench.states() == ["completed", "running"]


def test_a_gate_may_pause_the_execution_and_is_judged_again_on_resume(make_bench: Make):
    """As often as it takes; what runs beside it ends first."""
    steps = {2: gate("a", on_no=OnNo.PAUSE)}
    eager = {"scheduling": Scheduling.EAGER, "context": {"a": False}}
    bench = make_bench([(), (), (0,), (2,)], steps=steps, **eager).start()
    bench.complete(0)
    assert bench.state.state is State.PAUSING
    bench.complete(1)
    assert (bench.state.state, bench.states()[2]) == (State.PAUSED, "pending")
    assert (bench.rows.fields["paused_by"], bench.rows.fields["pause_reason"]) == ("gate s2", "no a")
    bench.take_up()
    bench.tell(Resume(id="r1"))
    assert bench.state.state is State.PAUSED
    bench.tell(Resume(id="r2", data={"a": True}))
    assert bench.states()[2:] == ["completed", "running"]
    assert [each["passed"] for each in judged(bench)] == [False, False, True]


def test_a_gate_that_compensates_undoes_what_was_done(make_bench: Make):
    """The error stays: it says why."""
    own = gate("a", on_no=OnNo.COMPENSATE)
    bench = make_bench([(), (0,), (1,)], steps={1: own}, context={"a": False}, undo={0: {}}).start()
    bench.complete(0)
    assert (bench.state.state, bench.states()[:3]) == (
        State.COMPENSATING,
        ["completed", "failed", "skipped"],
    )
    bench.complete(3)
    assert (bench.state.state, bench.states()[0]) == (State.ROLLED_BACK, "compensated")
    assert bench.state.rollback_reason == "gate 's1' is closed: no a"


def test_a_gate_that_compensates_fails_where_nothing_was_done(make_bench: Make):
    """There is nothing to undo."""
    bench = make_bench([()], steps={0: gate("a", on_no=OnNo.COMPENSATE)}, context={"a": False}).start()
    assert bench.state.state is State.FAILED


def test_a_rejection_may_compensate_too(make_bench: Make):
    """As if the step had failed."""
    own = {"wait": ForApproval(on_reject=OnReject.COMPENSATE)}
    bench = make_bench([(), (0,), (1,)], steps={1: own}, undo={0: {}}).start()
    bench.complete(0)
    bench.tell(Reject(id="no", step="s1", by="ann", comment="too late"))
    assert (bench.state.state, bench.rows.approvals) == (State.COMPENSATING, {})
    bench.complete(3)
    assert bench.state.state is State.ROLLED_BACK
    assert bench.state.rollback_reason == "step 's1' was rejected by ann: too late"


@pytest.mark.parametrize(
    ("answer", "why"), [(None, "it gave None, not true or false"), ("yes", "it gave 'yes'"), (1, "it gave 1")]
)
def test_what_is_no_verdict_fails_the_gate(make_bench: Make, answer: Any, why: str):
    """Typed, and told which criterion it was; nothing was judged."""
    bench = make_bench([()], steps={0: gate("a", "b")}, context={"a": True, "b": answer}).start()
    error = bench.state.steps[0].error
    assert error.type == "ExpressionError"
    assert error.message.startswith(f"the criterion 2 of step 's0' could not be evaluated: {why}")
    assert judged(bench) == []


def test_a_criterion_that_raises_fails_the_gate(make_bench: Make):
    """Also one that pauses otherwise: a mistake is no verdict."""
    bench = make_bench([()], steps={0: gate("nothing", on_no=OnNo.PAUSE)}).start()
    assert (bench.state.state, bench.state.steps[0].error.type) == (State.FAILED, "ExpressionError")


def test_an_optional_gate_lets_what_follows_run_with_null(make_bench: Make):
    """Like any step that may fail."""
    own = gate("a") | {"is_optional": True}
    bench = make_bench([(), (0,)], steps={0: own}, context={"a": False}).start()
    assert bench.states() == ["failed", "running"]


def test_no_gate_is_judged_while_a_pause_is_pending(make_bench: Make):
    """The resume may bring other inputs."""
    bench = make_bench([(), (0,)], steps={1: gate("a")}, context={"a": False}).start()
    bench.tell(Pause(id="p"))
    bench.complete(0)
    assert judged(bench) == []
    bench.tell(Resume(id="r", data={"a": True}))
    assert bench.states() == ["completed", "completed"]


def test_a_gate_is_left_to_a_runner_that_has_its_code(make_bench: Make):
    """Nothing is judged without it."""
    bench = make_bench([()], steps={0: gate("a")}, context={"a": True}, missing=("python:m:f",)).start()
    assert (bench.state.state, judged(bench)) == (State.SCHEDULING, [])


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("is_optional", [False, True])
def test_what_a_no_undoes_is_undone_because_of_a_failure(make_bench: Make, *, asks: bool, is_optional: bool):
    """Also where the execution would have gone on without the step: its hook is that of a failure."""
    closed: dict[str, Any] = gate("a", on_no=OnNo.COMPENSATE)
    if asks:
        closed = {"wait": ForApproval(on_reject=OnReject.COMPENSATE)}
    bench = make_bench(
        [(), (0,)],
        steps={1: closed | {"is_optional": is_optional}},
        undo={0: {}},
        hooks={Hook.FAILURE: {}, Hook.CANCEL: {}},
        context={"a": False},
        continue_on_error=True,
    ).start()
    bench.complete(0)
    if asks:
        bench.tell(Reject(id="no", step="s1", by="ada"))
    bench.complete(2)
    assert list(bench.bodies) == [3]
    bench.complete(3)
    assert bench.state.state is State.ROLLED_BACK
    assert "step 's1' failed" in bench.state.error.message
