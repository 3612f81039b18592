"""Hooks and compensations as they are written: what is wrong, where, and what they come to."""

from __future__ import annotations

import pytest

from perdure.actors.instructions.plan import Hook, OnFailure
from perdure.runtime import Action, Agents, Workflow
from perdure.runtime.language import DefinitionError, InputError, TemplateError, check_agents, check_context
from perdure.runtime.language.compiling import compile_plan
from perdure.store.states import Role

TEXT = """
name: w
hooks:
  onSuccess: {agent: mail, prompt: '{{a.x}} {{b}} {{execution.state}}'}
  finally: {agent: clean}
steps:
  - {key: a, agent: one, prompt: 'for {{who}}', compensate: {agent: undo-one}}
  - {key: b, agent: two, dependencies: [a], compensate: {agent: undo-two, prompt: '{{b}}'}}
"""


@pytest.mark.parametrize(
    ("line", "told", "place"),
    [
        ("hooks: {onSuccess: {prompt: hi}}", "'agent' is missing", (2, 20)),
        ("hooks: {onDone: {agent: a}}", "unknown field 'onDone'", (2, 9)),
        ("hooks: {finally: {agent: a, prompt: '{{'}}", "'{{' is not closed", (2, 37)),
        ("hooks: {finally: {agent: a, timeoutMs: 0}}", "0 does not fit here", (2, 40)),
        ('hooks: {finally: {agent: "a\\u0007"}}', "is not an agent name", (2, 26)),
        ("config: {onFailure: compensate}", "and no step says how", (2, 21)),
        ("config: {onFailure: retry}", "'retry' does not fit here", (2, 21)),
    ],
)
def test_what_is_wrong_is_told_with_its_place(line: str, told: str, place: tuple[int, int]):
    """File, line and column."""
    with pytest.raises(DefinitionError) as refused:
        Workflow.parse(f"name: w\n{line}\nsteps: [{{key: a, agent: x}}]\n", source="w.yaml")
    (problem,) = refused.value.problems
    assert told in problem.message
    assert (problem.file, problem.line, problem.column) == ("w.yaml", *place)


def test_a_step_that_waits_has_nothing_to_undo():
    """So saying how is a mistake."""
    with pytest.raises(DefinitionError, match="compensate means nothing to it"):
        Workflow.parse("{name: w, steps: [{key: a, sleep: 1s, compensate: {agent: x}}]}")


@pytest.mark.parametrize(
    ("part", "name"),
    [("forEach: {items: 3, as: image}", "image"), ("repeat: {until: iteration > 3}", "previous")],
)
def test_what_undoes_a_step_of_many_parts_has_no_prompt_that_speaks_of_one(part: str, name: str):
    """It is refused when it is read, not at every start."""
    step = f"{{key: a, agent: x, prompt: '{{{{{name}}}}}', {part}, compensate: {{agent: y%s}}}}"
    Workflow.parse(f"{{name: w, steps: [{step % ', prompt: all'}]}}")
    with pytest.raises(DefinitionError, match=f"speaks of '{name}'") as refused:
        Workflow.parse(f"{{name: w, steps: [{step % ''}]}}")
    assert len(refused.value.problems) == 1


def test_an_input_that_is_not_declared_is_a_problem_also_in_a_hook():
    """Steps and `execution` need no declaration."""
    text = TEXT.replace("{{b}} {{execution", "{{who}} {{whom}} {{execution")
    with pytest.raises(DefinitionError, match="whom") as refused:
        Workflow.parse(f"inputs: {{properties: {{who: {{}}}}}}{text}")
    assert len(refused.value.problems) == 1


def test_they_are_numbered_after_the_graph_and_in_no_level():
    """Compensations in the order of their steps, then hooks."""
    agents = Agents()
    for name in ("one", "two", "undo-one", "undo-two", "mail", "clean"):
        agents.add(name, lambda: None)
    plan = compile_plan(Workflow.parse(TEXT).definition, agents=agents, workflow_no=1, revision="r")
    assert [step.key for step in plan.steps] == [
        "a",
        "b",
        "a.compensate",
        "b.compensate",
        "hooks.onSuccess",
        "hooks.finally",
    ]
    assert plan.levels == ((0,), (1,))
    assert (plan.size, plan.hooks) == (2, {Hook.SUCCESS: 4, Hook.FINALLY: 5})
    assert [step.undo for step in plan.steps[:2]] == [2, 3]
    assert [(step.role, step.undoes) for step in plan.steps[2:4]] == [(Role.UNDO, 0), (Role.UNDO, 1)]
    assert plan.on_failure is OnFailure.FAIL
    assert plan.is_performable


def test_an_agent_that_is_missing_is_told_before_anything_runs():
    """Its execution waits for code, as for one of a step."""
    definition = Workflow.parse(TEXT).definition
    problems = check_agents(definition, Agents())
    assert [problem.path for problem in problems] == [
        "steps[0].agent",
        "steps[1].agent",
        "steps[0].compensate.agent",
        "steps[1].compensate.agent",
        "hooks.onSuccess.agent",
        "hooks.finally.agent",
    ]
    plan = compile_plan(definition, agents=Agents(), workflow_no=1, revision="r")
    assert set(plan.missing) == {"one", "two", "undo-one", "undo-two", "mail", "clean"}


def test_inputs_are_checked_at_the_start_also_for_what_runs_last():
    """By templates and by parameters."""
    with pytest.raises(TemplateError, match=r"hooks\.onSuccess.*\{\{whom\}\} is neither"):
        check_context(
            Workflow.parse(TEXT.replace("{{b}} {{e", "{{whom}} {{e")).definition, {"who": 1}, Agents()
        )
    agents = Agents()
    agents.add("clean", lambda folder, execution, a: None)
    with pytest.raises(InputError, match="parameter 'folder' takes the input 'folder'"):
        check_context(Workflow.parse(TEXT).definition, {"who": 1}, agents)
    check_context(Workflow.parse(TEXT).definition, {"who": 1, "folder": "/"}, agents)


def test_a_hook_of_no_known_moment_is_refused_where_it_is_declared():
    """With what there is."""
    with pytest.raises(ValueError, match="there are onSuccess, onFailure, onCancel, finally"):
        Workflow("w").hook("onDone", "mail")  # type: ignore[call-overload]


def test_a_function_that_cannot_be_called_is_a_problem_of_the_definition():
    """Not of the moment at which it is needed."""
    workflow = Workflow("w").agent_step("a", agent="x", compensate=Action(lambda *args: None))
    workflow.hook("finally", lambda *args: None)
    with pytest.raises(DefinitionError) as refused:
        workflow.definition  # noqa: B018
    assert [problem.path for problem in refused.value.problems] == ["steps[0].compensate", "hooks.finally"]


def test_what_a_step_without_output_gives_is_null_in_a_template():
    """Any step may have failed or never run; elsewhere that is an error."""
    agents = Agents()
    for name in ("one", "two", "undo-one", "undo-two", "clean"):
        agents.add(name, lambda: None)
    agents.add("mail", lambda prompt: None)
    plan = compile_plan(Workflow.parse(TEXT).definition, agents=agents, workflow_no=1, revision="r")

    class Nothing:
        """Of a context without inputs and steps without outputs."""

        @property
        def context(self) -> dict[str, object]:
            return {}

        @property
        def execution(self) -> dict[str, object]:
            return {"state": "completed"}

        def output(self, step_no: int) -> object:
            return None

        def state(self, step_no: int) -> str:
            return "skipped"

    assert plan.steps[4].inputs(Nothing()) == {"prompt": "null null completed"}
