"""Steps that ask people, as they are written."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perdure.runtime import DefinitionError, Workflow
from perdure.runtime.language.approvals import compile_approval
from perdure.runtime.language.waits import performer_of


@pytest.mark.parametrize(
    ("approval", "told", "path"),
    [
        ("{quorum: 0}", "expected a whole number, 1 to 100", "quorum"),
        ("{approvers: [ann, ann]}", "'ann' is there twice", "approvers[1]"),
        ("{approvers: ['{{a}}'], quorum: 2}", "is the output of step 'a' itself", "approvers[0]"),
        ("{escalateTo: [ann, '{{b'], timeout: 1s, onTimeout: escalate}", "is not closed by", "escalateTo[1]"),
        ("{approvers: [ann], quorum: 2}", "step 'a' needs 2 approvals, and approvers has 1", "quorum"),
        (
            "{quorum: 2, timeout: 1d, onTimeout: escalate, escalateTo: [eve]}",
            "step 'a' needs 2 approvals, and escalateTo has 1",
            "quorum",
        ),
        ("{onTimeout: skip}", "step 'a' has onTimeout and no timeout", "onTimeout"),
        ("{timeout: 1d, onTimeout: escalate}", "step 'a' escalates to nobody: say escalateTo", "onTimeout"),
        ("{escalateTo: [eve]}", "has escalateTo, and its onTimeout is not escalate", "escalateTo"),
        ("{onReject: explode}", "'explode' does not fit here", "onReject"),
        ("{form: {type: thing}}", "not a JSON Schema", "form.type"),
    ],
)
def test_what_is_no_sound_approval_is_a_problem_with_its_place(
    refused: Callable[..., DefinitionError], approval: str, told: str, path: str
):
    """Told when it is read."""
    error = refused(f"name: w\nsteps:\n  - {{key: a, approval: {approval}}}\n")
    (problem,) = error.problems
    assert told in str(error)
    assert (problem.path, problem.line) == (f"steps[0].approval.{path}", 3)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("'{{ok.'", "is not closed by"),
        ("'{{a}}'", "is the output of step 'a' itself"),
        ("'{{b}}'", "the message looks up 'b', which need not run before 'a'"),
    ],
)
def test_a_message_is_a_template_of_what_comes_before(
    refused: Callable[..., DefinitionError], message: str, told: str
):
    """As a prompt is."""
    error = refused(
        f"name: w\nsteps:\n  - {{key: a, approval: {{message: {message}}}}}\n  - {{key: b, sleep: 1s}}\n"
    )
    assert told in str(error)
    assert error.problems[0].line == 3


def test_a_form_tells_all_that_is_wrong_with_the_data():
    """Each with its place, in one sentence."""
    form = {
        "type": "object",
        "required": ["limit"],
        "properties": {"limit": {"type": "integer"}, "why": {"maxLength": 3}},
    }
    step = Workflow("w").approval_step("ok", form=form).definition.steps[0]
    assert step.approval is not None
    misfit = compile_approval(step.approval, step="ok", numbers={}).misfit
    assert misfit is not None
    assert misfit({"limit": 3, "why": "yes"}) is None
    said = misfit({"limit": "3", "why": "because"})
    assert said is not None
    assert said.split("; ") == [
        '$.limit: "3" is not of type "integer"',
        '$.why: "because" is longer than 3 characters',
    ]
    many = misfit({str(no): 1 for no in range(3)} | {"limit": "x"})
    assert many == '$.limit: "x" is not of type "integer"'


def test_python_and_yaml_say_the_same():
    """One canonical form, one revision, printed and read back."""
    python = (
        Workflow("w")
        .approval_step("any")
        .approval_step(
            "ok",
            message="Ship {{what}}?",
            form={"type": "object"},
            approvers=["ann", "bob"],
            quorum=2,
            timeout=86_400,
            on_timeout="escalate",
            escalate_to=["eve", "dan"],
            on_reject="continue",
            optional=True,
            after="any",
        )
    )
    text = """
name: w
steps:
  - {key: any, approval: {}}
  - key: ok
    dependencies: [any]
    optional: true
    approval:
      message: Ship {{what}}?
      form: {type: object}
      approvers: [ann, bob]
      quorum: 2
      timeout: 1d
      onTimeout: escalate
      escalateTo: [eve, dan]
      onReject: continue
"""
    assert Workflow.parse(text).revision == python.revision
    assert Workflow.parse(python.to_yaml()).revision == python.revision
    assert Workflow.parse(python.to_json(), format="json").revision == python.revision
    assert [performer_of(step) for step in python.definition.steps] == ["approval", "approval"]


def test_names_that_are_looked_up_are_the_same_in_python_and_in_a_file():
    """And so is the revision."""
    text = "name: w\nsteps:\n  - {key: a, approval: {approvers: ['{{owners}}', bob]}}\n"
    workflow = Workflow("w").approval_step("a", approvers=["{{owners}}", "bob"])
    assert Workflow.parse(text).revision == workflow.revision
    assert Workflow.parse(workflow.to_yaml()).revision == workflow.revision
