"""Gates through the whole runtime, in CEL and in Python, with the store checked after."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import DefinitionError, ExecutionFailed, Runtime, State, Workflow


def release(on_no: Any = "fail", scheduling: Any = "level") -> Workflow:
    """Tests, a gate over their result and an input, and what comes after it."""
    workflow = Workflow("release", scheduling=scheduling)

    @workflow.step
    async def test() -> dict[str, int]:
        return {"failed": 0, "coverage": 71}

    workflow.gate_step(
        "ready",
        criteria=[
            ("steps.test.output.failed == 0", "tests fail"),
            (lambda test, floor: test["coverage"] >= floor, "too little is covered"),
            (lambda frozen=False: not frozen, "nothing is released these days"),
        ],
        on_no=on_no,
        after="test",
    )

    @workflow.step
    async def ship(ready: dict[str, Any]) -> int:
        return len(ready["criteria"])

    return workflow


@pytest.mark.parametrize("scheduling", ["level", "eager"])
def test_a_gate_judges_conditions_in_cel_and_in_python(scheduling: str):
    """Its output is the table of the verdicts."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(release(scheduling=scheduling), {"floor": 70})
        result = await execution.result()
        assert result.outputs["ship"] == 3
        verdicts = result.outputs["ready"]["criteria"]
        assert verdicts[0] == {"when": "steps.test.output.failed == 0", "reason": "tests fail", "holds": True}
        closed = await runtime.start(release(scheduling=scheduling), {"floor": 80, "frozen": True})
        why = "GateClosed: gate 'ready' is closed: too little is covered; nothing is released these days"
        with pytest.raises(ExecutionFailed, match=why):
            await closed.result()

    virtually(scenario)


def test_a_gate_that_pauses_says_why_and_is_judged_again_on_resume():
    """Cold while it rests."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(release("pause"), {"floor": 80})
        await anyio.sleep(10)
        assert runtime.machine.executions.is_idle
        summary = await execution.status()
        assert (summary.state, summary.paused_by, summary.pause_reason) == (
            State.PAUSED,
            "gate ready",
            "too little is covered",
        )
        assert await execution.resume() is State.PAUSED
        await execution.resume(data={"floor": 60})
        assert (await execution.result()).outputs["ship"] == 3

    virtually(scenario)


@pytest.mark.parametrize("asks", [False, True], ids=["gate", "approval"])
def test_a_no_may_undo_what_was_done(asks: bool):  # noqa: FBT001
    """Of a gate, and of people: in the same words of what is left in the end."""
    acts: list[str] = []
    workflow = Workflow("order")

    async def release() -> None:
        acts.append("released")

    @workflow.step(compensate=release)
    async def reserve() -> int:
        acts.append("reserved")
        return 1

    if asks:
        workflow.approval_step("ok", on_reject="compensate", after="reserve")
    else:
        workflow.gate_step(
            "ok", criteria=[("inputs.go", "nobody said go")], on_no="compensate", after="reserve"
        )

    @workflow.step(after=["ok"])
    async def ship() -> None:
        acts.append("shipped")

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow, {"go": False})
        if asks:
            await execution.reject("ok", by="ann", comment="too dear")
        result = await execution.result(check=False)
        assert (result.status.value, acts) == ("rolled_back", ["reserved", "released"])
        (undone,) = [event async for event in execution.events() if event.type == "workflow_rolled_back"]
        why = "step 'ok' was rejected by ann: too dear" if asks else "gate 'ok' is closed: nobody said go"
        assert undone.data["reason"] == why

    virtually(scenario)


@pytest.mark.parametrize(
    ("gate", "told", "path"),
    [
        ("{criteria: []}", "criteria has 0 items", "criteria"),
        ("{criteria: [{when: 'inputs.a'}]}", "'reason' is missing", "criteria[0]"),
        ("{criteria: [{when: 'inputs.a +', reason: r}]}", "not a condition", "criteria[0].when"),
        ("{criteria: [{when: 'size(inputs)', reason: r}]}", "it gives INT, not true", "criteria[0].when"),
        (
            "{criteria: [{when: 'true', reason: r}, {when: 'steps.b.output', reason: r}]}",
            "the criterion looks up 'b', which need not run before 'a'",
            "criteria[1].when",
        ),
        ("{criteria: [{when: 'true', reason: r}], onNo: skip}", "'skip' does not fit here", "onNo"),
    ],
)
def test_what_is_no_sound_gate_is_a_problem_with_its_place(gate: str, told: str, path: str):
    """Told when it is read."""
    text = f"name: w\nsteps:\n  - key: a\n    gate: {gate}\n  - {{key: b, sleep: 1s}}\n"
    with pytest.raises(DefinitionError) as refused:
        _ = Workflow.parse(text).definition
    assert told in str(refused.value)
    (problem,) = refused.value.problems
    assert (problem.path, problem.line) == (f"steps[0].gate.{path}", 4)


def has_room(free: int) -> bool:
    """A criterion that a file can name."""
    return free > 0


def test_python_and_yaml_say_the_same():
    """One canonical form, one revision, printed and read back."""
    python = Workflow("w").gate_step(
        "ready", criteria=[("inputs.a", "no a"), (has_room, "no room")], on_no="compensate"
    )
    text = f"""
name: w
steps:
  - key: ready
    gate:
      criteria:
        - {{when: inputs.a, reason: no a}}
        - {{when: "python:{__name__}:has_room", reason: no room}}
      onNo: compensate
"""
    assert Workflow.parse(text).revision == python.revision
    assert Workflow.parse(python.to_yaml()).revision == python.revision


def test_each_function_of_a_gate_has_a_name_of_its_own_and_its_parameters_are_dependencies():
    """Though lambdas of one place share theirs."""
    workflow = release()
    (_, ready, _) = workflow.definition.steps
    assert ready.gate is not None
    names = [criterion.when for criterion in ready.gate.criteria]
    assert len(set(names)) == 3
    assert set(names[1:]) < set(workflow.functions)
    assert ready.dependencies == ("test",)
