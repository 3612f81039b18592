"""A service of the runtime meets what nobody has thought of: it begins again, and nothing else ends."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.actors.dispatch.queueing import Admissions
from perdure.actors.dispatch.recovery import Recovery
from perdure.actors.helpers import BACKOFF
from perdure.runtime import Runtime, Workflow
from perdure.runtime.schedules.keeper import Keeper
from perdure.runtime.upkeep import FIRST_S, INDEX_S, Upkeep
from perdure.runtime.webhooks.courier import Courier

SERVICES = {
    "recovery": (Recovery, "sweep"),
    "admissions": (Admissions, "_admit_all"),
    "schedules": (Keeper, "look"),
    "webhooks": (Courier, "look"),
    "upkeep": (Upkeep, "index"),
}
LONG_S = FIRST_S + INDEX_S + 2 * BACKOFF.max_s  # by then each of them has looked, and looked again


def greeting() -> Workflow:
    """One step."""
    workflow = Workflow("greeting")

    @workflow.step
    async def greet(name: str) -> str:
        return f"hello {name}"

    return workflow


def crash_once(patch: pytest.MonkeyPatch, kind: type, method: str) -> list[int]:
    """Let the first call fail in a way that nobody has thought of; answers the calls as they come."""
    real: Any = getattr(kind, method)
    calls: list[int] = []

    async def crashing(*args: Any, **kwargs: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 1:
            raise ZeroDivisionError("nobody has thought of it")
        return await real(*args, **kwargs)

    patch.setattr(kind, method, crashing)
    return calls


def crashes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Which helpers have crashed."""
    return [
        each.fields["helper"] for each in caplog.records if getattr(each, "event", "") == "helper_crashed"
    ]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_crashes_looks_again_and_the_executions_go_on(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Those before it and those after it."""
    calls = crash_once(monkeypatch, *SERVICES[name])

    async def body(runtime: Runtime) -> None:
        for guest in ("Ada", "Grace"):
            execution = await runtime.start("greeting", {"name": guest})
            assert (await execution.result()).outputs == {"greet": f"hello {guest}"}
            await anyio.sleep(LONG_S)

    virtually(body, workflows=[greeting()])
    assert crashes(caplog) == [name]
    assert len(calls) > 1
