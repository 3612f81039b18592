"""Calls are made until they are heard, through failures, pauses and crashes; the store is checked after."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from perdure.runtime import (
    DefinitionError,
    Execution,
    InvalidArgument,
    NotFound,
    Retry,
    Runtime,
    State,
    StepContext,
    Workflow,
)
from perdure.runtime.testing import VirtualRuntime, check_store, run_virtual
from perdure.runtime.testing.process import RuntimeProcess
from perdure.runtime.testing.virtual import virtual_seams
from perdure.runtime.webhooks import verify
from perdure.runtime.webhooks.courier import DELAY_MS_MAX, TRIES, settle
from perdure.store import SQLiteStore
from perdure.store.errors import StoreUnavailable
from perdure.store.protocol import Answer
from perdure.store.scripts.deliveries import ClaimDelivery, Delivery, SettleDelivery
from perdure.store.writes import Write

HOUR_S = 3_600
Scenario = Callable[[Runtime, "Receiver"], Coroutine[Any, Any, None]]


class Receiver:
    """A place somewhere else that is told; it answers with the next of `answers`, then with 204."""

    def __init__(self, *answers: int | Exception) -> None:
        """It has heard nothing yet."""
        self.answers = list(answers)
        self.calls: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.bodies: list[bytes] = []

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Take one call."""
        self.calls.append((url, dict(headers), msgspec.json.decode(body)))
        self.bodies.append(body)
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def events(self) -> list[str]:
        """What it was told of."""
        return [body["event"] for _, _, body in self.calls]

    @property
    def ids(self) -> list[str]:
        """The ids of the calls."""
        return [headers["webhook-id"] for _, headers, _ in self.calls]


class FullFor(SQLiteStore):
    """A store in memory whose disk is full when the first so many writes of a kind come."""

    def __init__(self, kind: type[Write], *, times: int) -> None:
        """Nothing has come."""
        super().__init__(":memory:", inline=True)
        self.kind, self.times = kind, times

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """Commit, or refuse all."""
        if self.times and any(isinstance(write, self.kind) for write in writes):
            self.times -= 1
            raise StoreUnavailable("the disk is full")
        return await super().commit(writes)


def virtually(scenario: Scenario, *answers: int | Exception, location: str = ":memory:") -> None:
    """Run a scenario with somebody to be told."""
    receiver = Receiver(*answers)

    async def main() -> None:
        seams = msgspec.structs.replace(virtual_seams(location), post=receiver.post)
        async with VirtualRuntime(location, seams=seams) as runtime:
            await scenario(runtime, receiver)
            assert await check_store(runtime.store) == []

    run_virtual(main)


def watched(*, fails: bool = False, **webhook: Any) -> Workflow:
    """One step of a minute, and somebody who wants to be told."""
    workflow = Workflow("watched", webhooks=[{"url": "http://there/hook", **webhook}])

    @workflow.step(retry=Retry(max_retries=0))
    async def work() -> str:
        await anyio.sleep(60)
        if fails:
            raise ValueError("no")
        return "done"

    return workflow


async def settled(execution: Execution) -> None:
    """Its end, and time for a call."""
    await execution.result(check=False)
    await anyio.sleep(1)


def test_a_pause_a_resume_and_the_end_are_told():
    """Each once, with what it is about and an id of its own."""

    async def scenario(runtime: Runtime, receiver: Receiver) -> None:
        execution = await runtime.start(watched(), {}, id="e1")
        await execution.pause(mode="interrupt")
        await execution.resume()
        await settled(execution)
        assert receiver.events == ["paused", "resumed", "completed"]
        assert len(set(receiver.ids)) == 3
        url, headers, body = receiver.calls[0]
        assert (url, body["execution"], body["state"]) == ("http://there/hook", "e1", "paused")
        assert headers["webhook-id"] == f"e1:{body['version']}:0"
        assert {one.state for one in await runtime.webhooks.list()} == {"delivered"}

    virtually(scenario)


def test_one_that_is_restored_is_told_to_be_paused():
    """It has failed, and rests where it was before."""

    async def scenario(runtime: Runtime, receiver: Receiver) -> None:
        execution = await runtime.start(watched(fails=True), {})
        await execution.checkpoint(label="early")
        await settled(execution)
        await execution.restore("early")
        await anyio.sleep(1)
        assert receiver.events == ["failed", "paused"]

    virtually(scenario)


def test_only_what_was_asked_for_is_told():
    """Here: that it failed, and why."""

    async def scenario(runtime: Runtime, receiver: Receiver) -> None:
        execution = await runtime.start(watched(fails=True, events=["failed"]), {})
        await execution.pause(mode="interrupt")
        await execution.resume()
        await settled(execution)
        assert receiver.events == ["failed"]
        assert receiver.calls[0][2]["error"]["type"] == "StepFailed"

    virtually(scenario)


def test_a_runtime_may_be_told_of_every_workflow():
    """Besides those that a workflow has of its own; whoever is named twice is told once."""
    receiver = Receiver()
    own = {"url": "http://there/hook", "events": ["completed"]}
    everybody = [own, {"url": "http://all/hook", "events": ["completed", "failed"]}]

    async def main() -> None:
        seams = msgspec.structs.replace(virtual_seams(":memory:"), post=receiver.post)
        async with VirtualRuntime(":memory:", seams=seams, webhooks=everybody) as runtime:
            await settled(await runtime.start(watched(events=["completed"]), id="own"))
            await settled(await runtime.start(Workflow("quiet").sleep_step("nap", 60), id="quiet"))
            assert await check_store(runtime.store) == []

    run_virtual(main)
    told = sorted((body["execution"], url) for url, _, body in receiver.calls)
    assert told == [
        ("own", "http://all/hook"),
        ("own", "http://there/hook"),
        ("quiet", "http://all/hook"),
        ("quiet", "http://there/hook"),
    ]


@pytest.mark.parametrize(
    ("webhook", "told"),
    [
        ({"url": "there/hook"}, "'there/hook' is no address"),
        ({"url": "http://me:secret@there/hook"}, "no user or password"),
        ({"url": "http://over there/hook"}, "'http://over there/hook' is no address"),
        ({"url": "http://there/a hook"}, "%20"),
        ({"url": "http://there/hook\n"}, "is no address"),
        ({"url": "http://there/hook?to=Zoë"}, "is no address"),
        ({"url": "http://there", "events": ["begun"]}, "begun"),
        ({"events": ["failed"]}, "url"),
    ],
)
def test_a_webhook_of_a_runtime_that_nobody_can_call_is_refused_at_once(webhook: dict[str, Any], told: str):
    """Before anything is opened."""
    with pytest.raises(InvalidArgument, match=told):
        Runtime(":memory:", webhooks=[webhook])


def test_one_that_pauses_again_at_once_tells_both():
    """Whoever hears that it goes on has to hear that it does not."""
    thrifty = Workflow("thrifty", budget={"tokens": 10}, webhooks=[{"url": "http://there/hook"}])

    @thrifty.step
    async def spend(context: StepContext) -> None:
        context.usage(tokens=10)

    @thrifty.step
    async def spend_more(context: StepContext, spend: None) -> None:
        context.usage(tokens=10)

    async def scenario(runtime: Runtime, receiver: Receiver) -> None:
        execution = await runtime.start(thrifty, {})
        await anyio.sleep(1)
        await execution.resume()
        await anyio.sleep(1)
        assert receiver.events == ["paused", "resumed", "paused"]
        await execution.resume(budget={"tokens": 100})
        await settled(execution)
        assert receiver.events[3:] == ["resumed", "completed"]

    virtually(scenario)


@pytest.mark.parametrize("kind", [ClaimDelivery, SettleDelivery])
def test_a_store_that_takes_nothing_for_a_while_ends_no_runtime(kind: type[Write]):
    """What could not be claimed, or written down, is told when it can be; at least once."""
    receiver = Receiver()

    async def main() -> None:
        seams = msgspec.structs.replace(virtual_seams(), post=receiver.post)
        async with VirtualRuntime(seams=seams, store=FullFor(kind, times=2)) as runtime:
            first, second = [await runtime.start(watched(events=["completed"]), {}) for _ in range(2)]
            await settled(first)
            await settled(second)
            await anyio.sleep(HOUR_S)
            assert {one.state for one in await runtime.webhooks.list()} == {"delivered"}
            assert len(set(receiver.ids)) == 2
            assert await check_store(runtime.store) == []

    run_virtual(main)


def test_a_call_is_made_again_until_it_is_heard_under_one_id():
    """Later each time; nobody waits for it meanwhile."""

    async def scenario(runtime: Runtime, receiver: Receiver) -> None:
        execution = await runtime.start(watched(events=["completed"]), {})
        await settled(execution)
        [pending] = await runtime.webhooks.list(state="pending")
        assert (pending.attempts, pending.status, pending.reason) == (1, 500, "it was answered with 500")
        await anyio.sleep(HOUR_S)
        assert len(receiver.calls) == 3
        assert len(set(receiver.ids)) == 1
        [heard] = await runtime.webhooks.list()
        assert (heard.state, heard.attempts, heard.status, heard.reason) == ("delivered", 3, 204, None)

    virtually(scenario, 500, OSError("unreachable"))


def test_a_call_that_is_never_heard_is_dead_in_the_end_and_can_be_repeated():
    """It stays to be seen, and says why."""

    async def scenario(runtime: Runtime, receiver: Receiver) -> None:
        await settled(await runtime.start(watched(events=["completed"]), {}))
        await anyio.sleep(72 * HOUR_S)
        assert len(receiver.calls) == TRIES
        [dead] = await runtime.webhooks.list(state="dead")
        assert dead.reason == "OSError: unreachable"
        await runtime.webhooks.repeat(dead.id)
        await anyio.sleep(1)
        assert [one.state for one in await runtime.webhooks.list()] == ["delivered"]
        assert len(set(receiver.ids)) == 1
        with pytest.raises(NotFound):
            await runtime.webhooks.repeat("nobody")

    virtually(scenario, *[OSError("unreachable")] * TRIES)


def test_a_receiver_that_is_gone_is_not_asked_again(caplog: pytest.LogCaptureFixture):
    """It says so itself. The log names the host alone: who knows the path could make such calls."""

    async def scenario(runtime: Runtime, receiver: Receiver) -> None:
        told = {"events": ["completed"], "url": "http://there/hook/of-us-alone?key=1"}
        await settled(await runtime.start(watched(**told), {}))
        await anyio.sleep(HOUR_S)
        assert len(receiver.calls) == 1
        assert [one.state for one in await runtime.webhooks.list()] == ["dead"]

    virtually(scenario, 410)
    [line] = [record for record in caplog.records if record.getMessage().startswith("webhook_dead")]
    assert "to='there'" in line.getMessage()
    assert "of-us-alone" not in caplog.text


@pytest.mark.parametrize("error", [HTTPException("a host with a space"), RuntimeError("bug"), LookupError()])
def test_whatever_a_call_leads_to_ends_no_runtime(error: Exception):
    """It is one that was not heard, and the others are made."""

    async def scenario(runtime: Runtime, receiver: Receiver) -> None:
        await settled(await runtime.start(watched(events=["completed"]), {}))
        await settled(await runtime.start(watched(events=["completed"]), {}))
        await anyio.sleep(HOUR_S)
        assert len(receiver.calls) == 3
        assert [one.state for one in await runtime.webhooks.list()] == ["delivered", "delivered"]

    virtually(scenario, error)


def test_a_call_is_signed_with_the_key_of_that_name(monkeypatch: pytest.MonkeyPatch):
    """Without the key it is not made, and says so."""
    monkeypatch.delenv("HOOK_KEY", raising=False)

    async def scenario(runtime: Runtime, receiver: Receiver) -> None:
        await settled(await runtime.start(watched(events=["completed"], secret="HOOK_KEY"), {}))
        [waiting] = await runtime.webhooks.list()
        assert "HOOK_KEY" in (waiting.reason or "")
        assert receiver.calls == []
        monkeypatch.setenv("HOOK_KEY", "a key")
        await anyio.sleep(HOUR_S)
        _, headers, _ = receiver.calls[0]
        now = int(headers["webhook-timestamp"])
        assert verify(receiver.bodies[0], headers, key="a key", now=now) == receiver.ids[0]

    virtually(scenario)


def test_what_was_not_told_before_the_process_ended_is_told_by_the_next(tmp_path: Path):
    """The call was written with the change it tells of."""
    location = str(tmp_path / "perdure.db")

    async def before(runtime: Runtime, receiver: Receiver) -> None:
        await (await runtime.start(watched(events=["completed"]), {}, id="e1")).result()

    async def after(runtime: Runtime, receiver: Receiver) -> None:
        await anyio.sleep(HOUR_S)
        assert receiver.events == ["completed"]
        assert (await (await runtime.execution("e1")).status()).state is State.COMPLETED

    virtually(before, *[OSError("down")] * 9, location=location)
    virtually(after, location=location)


def test_a_webhook_nobody_can_call_is_refused_with_the_definition():
    """Where it stands."""
    text = "name: w\nconfig:\n  webhooks: [{url: 'ftp://there'}]\nsteps: [{key: a, agent: b}]\n"
    with pytest.raises(DefinitionError, match="http"):
        Workflow.parse(text).definition  # noqa: B018 - reading it checks it
    with pytest.raises(DefinitionError, match="events"):
        Workflow.parse(text.replace("'ftp://there'", "'http://there', events: [exploded]")).definition  # noqa: B018


@pytest.mark.parametrize("key", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "a key", "s3cr3t+/=", "K" * 300])
def test_a_key_in_the_place_of_its_variable_is_refused_and_not_repeated(key: str):
    """It would stand in the store, and in the log that says that there is no such variable."""
    webhook = {"url": "http://there", "secret": key}
    with pytest.raises(DefinitionError, match=r"webhooks\[0\].secret: .* the name of an environment") as told:
        Workflow("w", webhooks=[webhook]).agent_step("a", agent="b").definition  # noqa: B018 - it is checked
    assert key not in str(told.value)
    with pytest.raises(InvalidArgument, match="the name of an environment variable") as told_at_once:
        Runtime(":memory:", webhooks=[webhook])
    assert key not in str(told_at_once.value)


def test_each_try_waits_longer_up_to_a_limit():
    """And the last one is the last."""
    delivery = Delivery(
        id="d",
        execution_id="e",
        event="failed",
        url="http://there",
        secret=None,
        payload=b"{}",
        state="pending",
        attempts=0,
        due_at=None,
        status=None,
        reason=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        settled_at=None,
    )
    fails = {"status": 503, "reason": None, "now": 0, "chance": 1.0}
    delays = [settle(delivery, attempt=attempt, **fails).due_at for attempt in range(1, TRIES + 1)]
    assert delays[:3] == [5_000, 20_000, 80_000]
    assert delays[-2] == DELAY_MS_MAX
    assert delays[-1] is None
    assert settle(delivery, attempt=1, **(fails | {"chance": 0.0})).due_at == 2_500


def test_a_process_that_dies_in_the_middle_of_a_call_leaves_it_to_the_next(tmp_path: Path):
    """Its claim runs out, and the call is made once more under the same id."""
    location = str(tmp_path / "perdure.db")
    receiver = Receiver()

    async def main() -> None:
        reached, never = anyio.Event(), anyio.Event()

        async def hang(url: str, headers: Mapping[str, str], body: bytes) -> int:
            await receiver.post(url, headers, body)
            reached.set()
            await never.wait()
            raise AssertionError

        first = RuntimeProcess(location, seed=1)
        first.runtime.seams = msgspec.structs.replace(first.runtime.seams, post=hang)
        await first.open()
        await first.run(lambda runtime: runtime.start(watched(events=["completed"]), {}, id="e1"))
        await reached.wait()
        first.kill()
        seams = msgspec.structs.replace(virtual_seams(2), post=receiver.post)
        async with VirtualRuntime(location, seams=seams) as runtime:
            await anyio.sleep(HOUR_S)
            assert receiver.events == ["completed", "completed"]
            assert len(set(receiver.ids)) == 1
            assert [one.state for one in await runtime.webhooks.list()] == ["delivered"]

    run_virtual(main)
