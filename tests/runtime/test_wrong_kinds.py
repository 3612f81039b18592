"""Whatever is given in place of an argument of the public API is taken, or refused by an error of ours."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from perdure.runtime import (
    Action,
    Agents,
    CircuitBreaker,
    Execution,
    ForEach,
    Keyring,
    PerdureError,
    Repeat,
    Retry,
    Runtime,
    Workflow,
    load_agents,
)
from perdure.runtime.schedules.rule import FIELDS
from perdure.runtime.testing import VirtualRuntime, run_virtual

KINDS = (3, "x", None, [], object(), b"x", [3], {"x": object()})
NOBODYS_NOON = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - that it is nobody's is what is wrong with it
VALUES = (-1, 10**30, float("nan"), "a\n", "\0", "\ud800", NOBODYS_NOON)  # often of the right kind
WRONG = (*KINDS, *VALUES)
GIVE_UP_S = 5.0  # of virtual time: who waits for an end has taken the argument
NOT_CALLED = {"serve", "begin", "check_open", "machine", "configured"}  # they take none, or are not for users

# What is right for the parameters that have to be given, by their names.
RIGHT: dict[str, Any] = {
    "act": lambda execution: execution.status(),
    "action": "x",
    "after": "v2",
    "agent": "x",
    "before": "v1",
    "by": "ada",
    "checkpoint": "marked",
    "count": 1,
    "criteria": [("true", "why")],
    "current": "k1",
    "data": None,
    "definition": Workflow("w").agent_step("a", agent="x").definition,
    "delivery_id": "none",
    "duration": 1,
    "end": datetime(2026, 1, 2, tzinfo=UTC),
    "execution_id": "none",
    "first": "marked",
    "function": lambda: 1,
    "id": "hourly",
    "items": [1],
    "key": "k",
    "keys": {"k1": b"k" * 32},
    "label": "x",
    "moment": "onFailure",
    "name": "order",
    "new": None,
    "older_than": "90d",
    "patch": {},
    "path": "none.yaml",
    "performer": "x",
    "priority": 1,
    "revision": "none",
    "second": "marked",
    "signal": "paid",
    "spec": "none",
    "start": datetime(2026, 1, 1, tzinfo=UTC),
    "step": "rest",
    "target": "/nowhere/at/all",
    "text": "name: w\nsteps: [{key: a, agent: x}]",
    "to": "v1",
    "version": "v1",
    "where": "id=o",
    "words": "order",
    "workflow": "order",
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is taken for a path may become a file."""
    monkeypatch.chdir(tmp_path)


def order() -> Workflow:
    """A step that takes long."""
    workflow = Workflow("order")

    @workflow.step
    async def rest(item: str = "lamp") -> str:
        await anyio.sleep(3_600)
        return item

    return workflow


def public(of: object) -> Iterator[str]:
    """The names of its public methods."""
    for name in dir(of):
        static = inspect.getattr_static(of, name)
        is_asked = not name.startswith("_") and name not in NOT_CALLED
        if is_asked and not isinstance(static, property) and callable(getattr(of, name)):
            yield name


def calls(function: Callable[..., Any]) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    """For each argument and each wrong value: what to say of a failure, and what to call it with."""
    kinds = inspect.Parameter
    parameters = [
        each
        for each in inspect.signature(function).parameters.values()
        if each.kind not in (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL)
    ]
    needed = {each.name: RIGHT[each.name] for each in parameters if each.default is kinds.empty}
    for wrong in parameters:
        for value in WRONG:
            given = needed | {wrong.name: value}
            first = [each.name for each in parameters if each.kind is kinds.POSITIONAL_ONLY]
            places = [given.pop(name) for name in first if name in given]
            yield f"{function.__qualname__}({wrong.name}={value!r:.30})", places, given


async def tried(what: str, call: Callable[..., Any], places: list[Any], given: dict[str, Any]) -> Any:
    """What came of the call; None where it was refused by an error of ours."""
    try:
        with anyio.move_on_after(GIVE_UP_S):
            answer = call(*places, **given)
            if isinstance(answer, AsyncIterator):
                return [each async for each in answer]
            return await answer if inspect.isawaitable(answer) else answer
    except (PerdureError, TimeoutError):
        return None
    except Exception as error:
        raise AssertionError(f"{what}: {error!r}") from error


@pytest.mark.parametrize("door", ["runtime", "schedules", "webhooks", "versions"])
def test_a_runtime_refuses_what_it_cannot_take(door: str) -> None:
    """All that can be asked of it, and of what is behind its doors."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            await runtime.start(order(), id="o")
            asked = runtime if door == "runtime" else getattr(runtime, door)
            for name in public(type(asked)):
                for call in calls(getattr(asked, name)):
                    await tried(call[0], getattr(asked, name), *call[1:])

    run_virtual(main)


@pytest.mark.parametrize("field", FIELDS)
def test_a_schedule_refuses_what_no_rule_says(field: str) -> None:
    """Its rule is given by names that the text form has."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            await runtime.publish(order())
            for value in WRONG:
                rule = {"every": "1h"} if field != "cron" else {}
                given = {"id": "s", "workflow": "order", **rule, field: value}
                await tried(f"add({field}={value!r:.30})", runtime.schedules.add, [], given)

    run_virtual(main)


@pytest.mark.parametrize("command", sorted(public(Execution)))
def test_an_execution_refuses_what_it_cannot_take(command: str) -> None:
    """Each time another, for some of it is taken; its actor lives through all of it."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            await runtime.publish(order())
            for what, places, given in calls(getattr(Execution(runtime, "x"), command)):
                execution = await runtime.start("order")
                await execution.checkpoint(label="marked")
                await tried(what, getattr(execution, command), places, given)
                assert await execution.query(), what

    run_virtual(main)


@pytest.mark.anyio
@pytest.mark.parametrize("method", [*sorted(public(Workflow)), "Workflow"])
async def test_a_workflow_refuses_what_it_cannot_be_made_of(method: str) -> None:
    """When it is declared, or when its definition is asked for."""
    bound = Workflow if method == "Workflow" else getattr(Workflow("w"), method)
    for what, places, given in calls(bound):
        workflow = Workflow("w").agent_step("first", agent="x")
        call = bound if method == "Workflow" else getattr(workflow, method)
        answer = await tried(what, call, places, given)
        if method in ("step", "hook") and callable(answer):
            await tried(what, answer, [RIGHT["function"]], {})
        found = answer if isinstance(answer, Workflow) else workflow
        await tried(what, lambda found=found: (found.definition, found.revision, found.functions), [], {})


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [Action, ForEach, Repeat, Retry])
async def test_a_step_refuses_options_that_cannot_be(kind: type[msgspec.Struct]) -> None:
    """They are plain values, and looked at by the step that has them."""
    option = {Action: "compensate", ForEach: "for_each", Repeat: "repeat", Retry: "retry"}[kind]
    for what, places, given in calls(kind):
        value = kind(*places, **given)
        workflow = Workflow("w")
        await tried(what, workflow.agent_step, ["a"], {"agent": "x", option: value})
        await tried(what, lambda workflow=workflow: workflow.definition, [], {})


@pytest.mark.anyio
async def test_what_a_runtime_is_given_refuses_what_it_cannot_be() -> None:
    """Agents registered either way, with a circuit breaker of any kind, or loaded by a name; keys."""
    for what, places, given in calls(Agents().agent):
        register = await tried(what, Agents().agent, places, given)
        if register is not None:
            await tried(what, register, [RIGHT["function"]], {})
    for what, places, given in calls(Agents().add):
        await tried(what, Agents().add, places, given)
    for what, places, given in calls(CircuitBreaker):
        breaker = await tried(what, CircuitBreaker, places, given)
        await tried(what, Agents().agent, ["x"], {"circuit_breaker": breaker})
    for what, places, given in calls(Keyring):
        await tried(what, Keyring, places, given)
    for what, places, given in calls(load_agents):
        await tried(what, load_agents, places, given)


@pytest.mark.anyio
async def test_a_runtime_refuses_what_it_cannot_be_made_of() -> None:
    """Before anything is opened."""
    for what, places, given in calls(Runtime):
        if "store" not in given and "seams" not in given:
            await tried(what, Runtime, places, given)
