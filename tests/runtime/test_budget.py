"""Budgets through the whole runtime: reported, paused, raised, failed, by the command line and plans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scenarios import virtually

from perdure.runtime import DefinitionError, ForEach, Retry, Runtime, State, StepContext, Workflow
from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.cli import run_command
from perdure.runtime.language.estimating import estimate
from perdure.store.usage import StepHistory, Usage

BOTH = pytest.mark.parametrize("scheduling", ["level", "eager"])


def calls(scheduling: Any = "level", *, thrifty: bool = True, **budget: Any) -> Workflow:
    """Two paid calls, one after the other, each in two reports; the first in a thread."""
    workflow = Workflow("calls", scheduling=scheduling, budget=budget or None)

    @workflow.step
    def draft(context: StepContext) -> str:
        context.usage(cost=0.3, tokens=100)
        context.usage(tokens=50)
        return "draft"

    @workflow.step(usage={"cost": 0.3} if thrifty else None)
    async def polish(context: StepContext, draft: str) -> str:
        context.usage(cost=0.1)
        context.usage(cost=0.1)
        return f"{draft}, polished"

    return workflow


@BOTH
def test_items_of_a_step_ask_the_budget_one_by_one(scheduling: str):
    """It pauses in the middle of them, and goes on there with more."""
    workflow = Workflow("many", scheduling=scheduling, budget={"cost": 1})

    @workflow.step(for_each=ForEach(items=10, max_concurrency=3), usage={"cost": 0.25})
    async def each(item: int, context: StepContext) -> int:
        context.usage(cost=0.25)
        return item

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        async for event in execution.events(follow=True):
            if event.type == "workflow_paused":
                break
        query = await execution.query()
        assert (query["usage"]["cost"], query["steps"]["each"]["items"]["completed"]) == (1, 4)
        await execution.resume(budget={"cost": 2.5})
        assert (await execution.result()).outputs == {"each": list(range(10))}

    virtually(scenario)


@BOTH
def test_an_execution_pauses_before_its_budget_is_exceeded_and_goes_on_with_more(scheduling: str):
    """Also when it was given up meanwhile: what was used is in the store."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(calls(scheduling, cost=0.5))
        async for event in execution.events(follow=True):
            if event.type == "workflow_paused":
                break
        query = await execution.query()
        assert (query["state"], query["usage"]) == ("paused", {"cost": 0.3, "tokens": 150})
        assert (await execution.status()).paused_by == "budget"
        assert await execution.resume() is State.PAUSED
        assert await execution.resume(budget={"cost": 0.6}) is State.EXECUTING
        assert (await execution.result()).outputs["polish"] == "draft, polished"
        assert [attempt.usage for attempt in await execution.attempts()] == [
            Usage(cost=0.3, tokens=150),
            Usage(cost=0.2),
        ]

    virtually(scenario)


@BOTH
def test_an_execution_may_fail_for_its_budget_and_be_retried_with_more(scheduling: str):
    """The error names the step and what it would have taken."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(calls(scheduling, cost=0.5, onExceeded="fail"))
        result = await execution.result(check=False)
        assert result.error is not None
        assert "has used 0.3 and 150 tokens of 0.5 and declares to use 0.3" in result.error.message
        await execution.retry(budget={"cost": 5, "tokens": 1_000})
        assert (await execution.result()).outputs["polish"] == "draft, polished"

    virtually(scenario)


def test_a_step_that_would_be_tried_again_is_refused_when_the_budget_is_used_up():
    """It has begun before, and ends without another attempt."""
    workflow = Workflow("w", budget={"cost": 0.1, "onExceeded": "fail"})

    @workflow.step(retry=Retry(max_retries=5, delay=1))
    async def paid(context: StepContext) -> None:
        context.usage(cost=0.1)
        raise OSError("no answer")

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        assert (await execution.result(check=False)).status.value == "failed"
        assert [attempt.state.value for attempt in await execution.attempts()] == ["failed", "failed"]

    virtually(scenario)


def test_a_body_that_fails_after_it_has_paid_has_paid():
    """The usage is in the same transaction as the failure."""
    workflow = Workflow("w")

    @workflow.step
    async def paid(context: StepContext) -> None:
        context.usage(cost=0.25)
        raise OSError("no answer")

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(workflow)
        await execution.result(check=False)
        assert (await execution.query())["usage"]["cost"] == 0.25

    virtually(scenario)


@pytest.mark.parametrize("budget", [{}, {"cost": 0}, {"tokens": -1}, {"money": 1}, {"cost": "much"}, 3])
def test_a_budget_that_limits_nothing_is_refused_at_once(budget: Any):
    """Whoever gives it is told what can be given."""

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(calls(cost=0.5))
        with pytest.raises(InvalidArgument, match="budget"):
            await execution.resume(budget=budget)

    virtually(scenario)


def test_a_step_that_is_to_use_more_than_the_budget_is_refused_at_its_place():
    """With the file, the line and the column."""
    text = "name: w\nconfig: {budget: {cost: 1}}\nsteps: [{key: a, agent: one, usage: {cost: 2}}]\n"
    problem = r"w\.yaml:3:37: steps\[0\]\.usage: step 'a' declares 2, the budget is 1"
    with pytest.raises(DefinitionError, match=problem):
        Workflow.parse(text, source="w.yaml")


def test_a_step_that_waits_uses_nothing():
    """An estimate of it is a mistake."""
    text = "name: w\nsteps: [{key: a, sleep: 3s, usage: {tokens: 1}}]\n"
    with pytest.raises(DefinitionError, match="usage means nothing to it"):
        Workflow.parse(text)


PLAN = """\
name: review
config: {budget: {cost: 0.5}}
steps:
  - {key: parse, agent: note, usage: {cost: 0.02}}
  - {key: nap, sleep: 3s, dependencies: [parse]}
  - {key: scan, agent: note, dependencies: [parse], usage: {cost: 0.49, tokens: 1200}}
  - {key: report, agent: note, dependencies: [nap]}
"""


def test_a_plan_follows_the_way_that_takes_longest():
    """History where nothing is declared; what nobody knows is named."""
    past = {"parse": StepHistory(outcomes=2, duration_ms_mean=500.0, cost_mean=9.0)}
    past["report"] = StepHistory(outcomes=1, duration_ms_mean=1_000.0, cost_mean=0.25, tokens_mean=5.0)
    found = estimate(Workflow.parse(PLAN).definition, past)
    assert found.critical_path == ("parse", "nap", "report")
    assert (found.duration_ms, found.level_duration_ms) == (4_500.0, 4_500.0)
    assert (found.cost, found.tokens, found.untimed, found.uncosted) == (0.76, 1_205.0, ("scan",), ())
    assert [step.source for step in found.steps] == ["declared", "", "declared", "history"]


def test_a_step_that_asks_for_capabilities_has_a_cost_that_nobody_knows():
    """As one that names its agent; what only waits has none."""
    text = "{name: w, steps: [{key: a, capabilities: [text]}, {key: b, agent: note}, {key: c, sleep: 1s}]}"
    assert estimate(Workflow.parse(text).definition, {}).uncosted == ("a", "b")


@pytest.mark.parametrize(
    ("items", "cost"), [("[a, b, c]", 0.75), ("100", 25.0), ("0", 0.0), ("'{{names}}'", 0.25)]
)
def test_a_step_for_each_of_many_costs_what_its_items_do(items: str, cost: float):
    """Where it is written down how many they are."""
    step = f"{{key: a, agent: note, usage: {{cost: 0.25, tokens: 4}}, forEach: {{items: {items}}}}}"
    found = estimate(Workflow.parse(f"{{name: w, steps: [{step}]}}").definition, {})
    assert (found.cost, found.tokens) == (cost, 16 * cost)


def test_plan_prints_what_an_execution_would_come_to(empty_folder: Path, capsys: pytest.CaptureFixture[str]):
    """Without a database it says so and goes by what is declared; nothing is made."""
    Path("review.yaml").write_text(PLAN)
    assert run_command(["plan", "review.yaml"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "LEVEL  STEP    TAKES  COSTS               FROM",
        "1      parse   –      0.02                declared",
        "2      nap     3.0 s  –                   –",
        "2      scan    –      0.49, 1,200 tokens  declared",
        "3      report  –      –                   –",
        "",
        "longest way   parse → nap → report",
        "takes         3.0 s eager, 3.0 s by levels",
        "costs         0.51, 1,200 tokens",
        "not timed     parse, scan, report",
        "cost unknown  report",
    ]
    assert "no history" in told.err
    assert "more than the workflow's budget" in told.err
    assert not list(empty_folder.glob("*.db"))


AGENTS = """\
from perdure.runtime import Agents, StepContext

agents = Agents()


@agents.agent("paid")
async def paid(context: StepContext) -> int:
    context.usage(cost=0.4, tokens=30)
    return 1
"""
PAID = """\
name: paid
config: {budget: {cost: 0.5}}
steps:
  - {key: one, agent: paid}
  - {key: two, agent: paid, dependencies: [one]}
  - {key: three, agent: paid, dependencies: [two]}
"""


@pytest.mark.integration
@pytest.mark.usefixtures("empty_folder")
def test_the_command_line_shows_the_use_and_resumes_with_more(capsys: pytest.CaptureFixture[str]):
    """`run` ends paused, `status` says why, `resume --budget` goes on, `plan` knows the history then."""
    Path("agents.py").write_text(AGENTS)
    Path("paid.yaml").write_text(PAID)
    run_command(["run", "paid.yaml", "--agents", "agents.py:agents", "--id", "p1", "--timeout", "1"])
    capsys.readouterr()
    assert run_command(["status", "p1"]) == 0
    shown = capsys.readouterr().out
    assert "by budget: the budget: 0.8 and 60 tokens used of 0.5" in shown
    assert "used          0.8 of 0.5, 60 tokens" in shown
    assert run_command(["resume", "p1", "--budget", "cost=much"]) == 2
    assert run_command(["resume", "p1", "--budget", "cost=2", "--agents", "agents.py:agents"]) == 0
    capsys.readouterr()
    assert run_command(["plan", "paid.yaml"]) == 0
    assert "costs         1.2, 90 tokens" in capsys.readouterr().out
