"""The config of a workflow: refused at its place where it cannot be, the same in Python and as text."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perdure.runtime import Workflow

STEP = "steps: [{key: a, agent: one, usage: {cost: 0.5, tokens: 10}}]"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("limits: {}", "'concurrency' is missing"),
        ("limits: {concurrency: 0}", "config.limits.concurrency: 0 does not fit here"),
        ("limits: {concurrency: 1, key: same}", "the key is the same for every execution"),
        ("limits: {concurrency: 1, key: '{{a.b}}'}", "the key looks up step 'a', which has not run yet"),
        ("limits: {concurrency: 1, key: '{{'}", "is not closed"),
        ("circuitBreaker: {}", "'errors' is missing"),
        ("circuitBreaker: {errors: 0}", "config.circuitBreaker.errors: 0 does not fit here"),
        ("circuitBreaker: {errors: 3, window: soon}", "config.circuitBreaker.window: 'soon'"),
        (
            "circuitBreaker: {errors: 3, onTrip: shout}",
            "config.circuitBreaker.onTrip: 'shout' does not fit here",
        ),
        ("budget: {}", "config.budget: the budget limits nothing"),
        ("budget: {cost: 0}", "w.yaml:2:25: config.budget.cost: 0.0 does not fit here"),
        ("budget: {onExceeded: stop, cost: 1}", "w.yaml:2:31: config.budget.onExceeded"),
    ],
)
def test_what_a_config_cannot_be_is_refused_at_its_place(refused, config: str, problem: str):
    """With the file, the line and the column."""
    told = str(refused(f"name: w\nconfig: {{{config}}}\n{STEP}\n"))
    assert "w.yaml:2:" in told
    assert problem in told


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({"limits": {"concurrency": 3, "key": "{{tenant}}"}}, "limits: {concurrency: 3, key: '{{tenant}}'}"),
        (
            {"circuit_breaker": {"errors": 3, "window": "2m", "latency": timedelta(seconds=1)}},
            "circuitBreaker: {errors: 3, window: 120000, latency: 1s}",
        ),
        ({"budget": {"cost": 2.5, "onExceeded": "fail"}}, "budget: {cost: 2.5, onExceeded: fail}"),
    ],
)
def test_python_and_text_say_the_same(options: dict[str, Any], config: str):
    """One revision, whichever way it is written and read."""
    workflow = Workflow("w", **options)
    workflow.agent_step("a", agent="one", usage={"cost": 0.5, "tokens": 10})
    text = Workflow.parse(f"name: w\nconfig: {{{config}}}\n{STEP}\n")
    assert workflow.revision == text.revision == Workflow.parse(workflow.to_yaml()).revision
