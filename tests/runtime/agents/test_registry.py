"""Agents by name, and which functions a name may stand for."""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import AsyncIterator, Iterator

import pytest

from perdure.actors.instructions.context import StepContext
from perdure.actors.instructions.plan import Mode
from perdure.runtime.agents import Agents, BadSignature, DuplicateAgent, UnknownAgent
from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.language import Workflow


async def scan(prompt: str) -> str:
    """A coroutine function."""
    return prompt


def measure(prompt: str) -> int:
    """A plain function."""
    return len(prompt)


class Reviewer:
    """A callable object whose call is async."""

    async def __call__(self, prompt: str) -> str:
        """Review."""
        return prompt


def test_the_function_tells_where_it_runs():
    """Async on the loop, plain in a thread, in a process when asked."""
    agents = Agents()
    assert agents.add("scan", scan).mode is Mode.ASYNC
    assert agents.add("measure", measure).mode is Mode.THREAD
    assert agents.add("far", measure, process=True).mode is Mode.PROCESS
    assert agents.add("object", Reviewer()).mode is Mode.ASYNC
    assert agents.add("partial", functools.partial(scan, prompt="x")).mode is Mode.ASYNC


def test_the_decorator_registers_and_returns_the_function():
    """Capabilities can be asked for."""
    agents = Agents()
    decorated = agents.agent("security", capabilities={"assessment", "python"})(scan)
    agents.add("quality", measure, capabilities=["python"])
    assert decorated is scan
    assert agents.names() == ("security", "quality")
    assert [agent.name for agent in agents.by_capability("python")] == ["security", "quality"]
    assert [agent.name for agent in agents.by_capability("python", "assessment")] == ["security"]
    assert f"{__name__}:scan line" in agents.get("security").where
    assert "security" in agents
    assert len(agents) == 2


def test_a_decorator_without_a_name_is_refused_where_it_stands():
    """It would register nothing, and put a decorator in the place of the function."""
    with pytest.raises(InvalidArgument, match="give it a name, as in"):
        Agents().agent(print)


def test_one_text_is_no_set_of_capabilities():
    """Its letters would be."""
    with pytest.raises(InvalidArgument, match="set of names"):
        Agents().add("x", scan, capabilities="python")


def test_a_name_stands_for_one_function():
    """Twice the same changes nothing; another one has to replace it on purpose."""
    agents = Agents()
    agents.add("x", scan)
    agents.add("x", scan)
    with pytest.raises(DuplicateAgent, match="already registered"):
        agents.add("x", measure)
    assert agents.add("x", measure, replace=True).function is measure


def test_registries_can_be_merged():
    """With the same rule."""
    ours, theirs = Agents(), Agents()
    ours.add("x", scan)
    theirs.add("x", scan)
    theirs.add("y", measure)
    assert ours.merge(theirs).names() == ("x", "y")
    theirs.add("x", measure, replace=True)
    with pytest.raises(DuplicateAgent):
        ours.merge(theirs)
    assert ours.merge(theirs, replace=True).get("x").function is measure


def test_an_unknown_agent_is_refused_with_the_nearest_name():
    """And with what there is."""
    agents = Agents()
    agents.add("security", scan)
    with pytest.raises(
        UnknownAgent, match=r"no agent 'securty' .*did you mean 'security'.*known: security"
    ) as caught:
        agents.get("securty")
    assert caught.value.near == "security"
    with pytest.raises(UnknownAgent, match="no agents are registered"):
        Agents().get("x")


@pytest.fixture
def shop():
    """A module with a workflow of one step, and functions that are none."""
    module = types.ModuleType("perdure_test_shop")
    workflow = Workflow("shop")

    def order() -> str:
        return "ordered"

    order.__module__ = module.__name__
    order.__qualname__ = "order"
    module.order = workflow.step(order)
    module.workflow = workflow
    module.dangerous = lambda: None
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def test_a_qualified_name_is_found_in_the_workflow_that_defines_it(shop):
    """Without being registered: after a restart nobody has to."""
    agent = Agents().find("python:perdure_test_shop:order")
    assert agent is not None
    assert agent.function is shop.order


@pytest.mark.parametrize(
    "name",
    [
        "python:perdure_test_shop:dangerous",
        "python:os:system",
        "python:builtins:eval",
        "python:no_such_module_anywhere:x",
        "python:perdure_test_shop:order.__globals__",
        "python:x",
        "python::",
        "python:..:x",
        "os:system",
    ],
)
def test_whatever_else_can_be_imported_is_not_called(shop, name):
    """A definition cannot reach functions that are no steps."""
    agents = Agents()
    assert agents.find(name) is None
    with pytest.raises(UnknownAgent):
        agents.get(name)


def test_a_function_that_cannot_be_filled_by_name_is_refused():
    """When it is registered, not when it is called."""
    with pytest.raises(BadSignature, match="positional-only"):
        Agents().add("x", lambda a, /: a)
    with pytest.raises(BadSignature, match="collects positional"):
        Agents().add("x", lambda *a: a)
    with pytest.raises(BadSignature, match="not a function"):
        Agents().add("x", 3)


def _lines() -> Iterator[str]:
    yield "one"


async def _pages() -> AsyncIterator[str]:
    yield "one"


class _Reader:
    def __call__(self) -> Iterator[str]:
        yield "one"


@pytest.mark.parametrize(
    "function", [_lines, _pages, functools.partial(_lines), _Reader(), lambda: (yield)], ids=repr
)
def test_a_function_that_yields_is_refused_with_what_to_do(function):
    """Calling it would perform nothing, and what it gives could not be stored."""
    with pytest.raises(BadSignature, match=r"has a `yield`.*return a list.*StepContext.heartbeat"):
        Agents().add("x", function)


def test_what_only_uses_a_generator_is_a_step_as_any_other():
    """Inside, or to make a context manager of."""
    Agents().add("x", lambda: list(_lines()))
    Agents().add("y", contextlib.contextmanager(_lines))


def _with_context(context: StepContext) -> None:
    """A function that could not run in a process."""


@pytest.mark.parametrize("function", [scan, lambda: None, _with_context])
def test_what_cannot_run_in_a_process_is_refused(function):
    """Async functions, lambdas, and those that want the StepContext."""
    with pytest.raises(BadSignature, match="process step"):
        Agents().add("x", function, process=True)
