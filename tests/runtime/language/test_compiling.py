"""Plans: levels, policies, and closures that pick up arguments and call functions."""

from __future__ import annotations

import inspect
import pickle

import pytest

from perdure.actors.instructions.context import StepContext
from perdure.actors.instructions.plan import Mode, Plan, Scheduling
from perdure.runtime.agents import Agents, InputError, UnknownAgent
from perdure.runtime.language import OutputMismatch, Workflow, compile_plan


def plan_of(workflow: Workflow, agents: Agents | None = None) -> Plan:
    """Compile a workflow with its own functions registered."""
    registry = Agents() if agents is None else agents
    for name, function in workflow.functions.items():
        registry.add(name, function)
    return compile_plan(workflow.definition, agents=registry, workflow_no=7, revision=workflow.revision)


def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


def test_the_graph_is_laid_out_by_numbers():
    """Levels, needs and dependents; steps keep the order they are written in."""
    workflow = (
        Workflow("w", scheduling="eager", parallelism=3, continue_on_error=True, timeout=9)
        .agent_step("d", agent="x", after=["b", "c"])
        .agent_step("a", agent="x")
        .agent_step("b", agent="x", after=["a"])
        .agent_step("c", agent="x", after=["a"])
    )
    plan = plan_of(workflow)
    assert plan.levels == ((1,), (2, 3), (0,))
    assert [step.no for step in plan.steps] == [0, 1, 2, 3]
    assert [step.needs for step in plan.steps] == [(2, 3), (), (1,), (1,)]
    assert [step.dependents for step in plan.steps] == [(), (2, 3), (0,), (0,)]
    assert (plan.scheduling, plan.parallelism, plan.continue_on_error) == (Scheduling.EAGER, 3, True)
    assert (plan.workflow, plan.workflow_no, plan.timeout_ms) == ("w", 7, 9_000)


def test_retries_come_from_the_step_else_from_the_workflow():
    """A step with a policy of its own does not inherit the number."""
    workflow = Workflow.parse(
        "name: w\nconfig: {maxRetries: 4}\nsteps:\n- {key: a, agent: x}\n"
        "- {key: b, agent: x, retryPolicy: {retryDelayMs: 5}}\n"
    )
    a, b = plan_of(workflow).steps
    assert (a.retry.max_retries, a.retry.delay_ms, a.retry.max_delay_ms) == (4, 1_000, 60_000)
    assert (b.retry.max_retries, b.retry.delay_ms) == (0, 5)


@pytest.mark.anyio
async def test_steps_are_performed_with_what_their_parameters_name(seen):
    """Outputs of dependencies, inputs, defaults, the context object, the rendered prompt."""
    agents = Agents()
    context = object.__new__(StepContext)

    @agents.agent("writer")
    async def write(prompt: str, first_part: list[int], title: str = "none", *, step: StepContext) -> tuple:
        return prompt, first_part, title, step is context

    workflow = Workflow.parse(
        "name: w\nsteps:\n- {key: first-part, agent: writer}\n"
        "- {key: b, agent: writer, dependencies: [first-part], prompt: 'Sum {{first-part}} of {{file}}'}\n"
    )
    step = plan_of(workflow, agents).steps[1]
    values = seen({"file": "f.py"}, {0: [1, 2]})
    assert step.mode is Mode.ASYNC
    assert await step.perform(context, step.inputs(values)) == ("Sum [1,2] of f.py", [1, 2], "none", True)
    values = seen({"file": "f.py", "title": "T"}, {0: [1, 2]})
    assert step.inputs(values)["title"] == "T"


def test_plain_functions_run_in_threads_and_processes(seen):
    """The call into a process can be pickled; the function travels by name."""
    workflow = Workflow("w")
    workflow.step(key="thread")(double)
    workflow.step(key="process", process=True)(double)
    thread, process = plan_of(workflow).steps
    assert (thread.mode, process.mode) == (Mode.THREAD, Mode.PROCESS)
    assert thread.perform(None, thread.inputs(seen({"number": 2}))) == 4
    call = pickle.loads(pickle.dumps(process.perform))
    assert len(pickle.dumps(process.perform)) < 200
    assert call.__call__.__func__ is type(process.perform).__call__


def test_a_definition_can_ask_for_a_process_only_where_that_works():
    """An async agent in a process: the step fails with the reason."""
    agents = Agents()

    @agents.agent("x")
    async def x() -> None: ...

    workflow = Workflow.parse("name: w\nsteps: [{key: a, agent: x, process: true}]")
    (step,) = plan_of(workflow, agents).steps
    assert step.mode is Mode.ASYNC
    with pytest.raises(Exception, match="no event loop"):
        step.perform(None, {}).send(None)


def test_agents_that_are_not_here_are_missing_and_say_so_when_performed():
    """A plan can be made without them; it is not performable."""
    agents = Agents()
    agents.add("writer", double)
    workflow = Workflow.parse("name: w\nsteps: [{key: a, agent: writr}, {key: b, agent: writer}]")
    plan = plan_of(workflow, agents)
    assert plan.missing == ("writr",)
    assert not plan.is_performable
    body = plan.steps[0].perform(None, plan.steps[0].inputs(None))
    assert inspect.iscoroutine(body)
    with pytest.raises(UnknownAgent, match="did you mean 'writer'"):
        body.send(None)


def test_inputs_that_do_not_fit_fail_with_step_parameter_and_both_types(seen):
    """Missing or of another type."""
    workflow = Workflow("w")
    workflow.step(double)
    (step,) = plan_of(workflow).steps
    with pytest.raises(
        InputError, match=r"step 'double': parameter 'number' .* cannot take 'two': Expected `int`"
    ):
        step.inputs(seen({"number": "two"}))
    with pytest.raises(InputError, match="takes the input 'number'"):
        step.inputs(seen())


def test_outputs_are_checked_against_the_schema_with_the_place_of_the_fault():
    """The step, the path and why."""
    schema = {"type": "object", "properties": {"findings": {"items": {"required": ["line"]}}}}
    workflow = Workflow("w").agent_step("scan", agent="x", output_schema=schema)
    (step,) = plan_of(workflow).steps
    assert step.check_output is not None
    step.check_output({"findings": [{"line": 1}]})
    with pytest.raises(OutputMismatch, match=r"step 'scan' .* at \$\.findings\[1\]: \"line\" is a required"):
        step.check_output({"findings": [{"line": 1}, {}]})


def test_a_graph_of_fifty_thousand_steps_is_compiled():
    """Chains do not recurse."""
    workflow = Workflow("long")
    for no in range(50_000):
        workflow.agent_step(f"t{no}", agent="x", after=[f"t{no - 1}"] if no else [])
    assert len(plan_of(workflow).levels) == 50_000
