"""Workflows that let only so many executions run at once: queued, admitted in turn, told, survived."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import UnsureStore, virtually

from perdure.runtime import Runtime, State, StepContext, TemplateError, Workflow
from perdure.runtime.cli import run_command
from perdure.runtime.testing import RuntimeProcess, VirtualRuntime, check_store, run_virtual
from perdure.store import SQLiteStore
from perdure.store.scripts import queueing
from perdure.store.scripts.queueing import Admit, Queue

BOTH = pytest.mark.parametrize("scheduling", ["level", "eager"])


class Work:
    """What the executions of a test do: each takes its time, and is counted."""

    def __init__(self, takes_s: float = 1.0) -> None:
        """Nobody works yet."""
        self.takes_s = takes_s
        self.now: dict[Any, int] = {}
        self.most: dict[Any, int] = {}
        self.begun: list[str] = []

    def workflow(self, *, scheduling: Any = "level", **limits: Any) -> Workflow:
        """One step of work, under these limits."""
        workflow = Workflow("work", scheduling=scheduling, limits=limits)

        @workflow.step
        async def do(context: StepContext, tenant: str = "all") -> str:
            self.begun.append(context.execution_id)
            self.now[tenant] = self.now.get(tenant, 0) + 1
            self.most[tenant] = max(self.now[tenant], self.most.get(tenant, 0))
            try:
                await anyio.sleep(self.takes_s)
            finally:
                self.now[tenant] -= 1
            return tenant

        return workflow


@BOTH
def test_no_more_executions_run_at_once_than_the_workflow_allows(scheduling: str):
    """The others are rows that nobody has; each begins as soon as one before it has ended."""
    work = Work(takes_s=10)

    async def scenario(runtime: Runtime) -> None:
        begun = anyio.current_time()
        workflow = work.workflow(scheduling=scheduling, concurrency=2)
        executions = [await runtime.start(workflow, id=f"e{no}") for no in range(6)]
        await anyio.sleep(5)
        waiting = await executions[2].status()
        assert (waiting.state, waiting.queue, waiting.runner) == (State.IDLE, "work", None)
        for execution in executions:
            await execution.result()
        assert work.most == {"all": 2}
        assert work.begun == [f"e{no}" for no in range(6)]
        assert anyio.current_time() - begun == pytest.approx(30, abs=0.3)
        types = [event.type async for event in executions[5].events()]
        assert types[:2] == ["workflow_queued", "workflow_started"]

    virtually(scenario)


def test_each_value_of_the_key_has_a_limit_of_its_own():
    """One tenant's crowd holds up nobody else."""
    work = Work(takes_s=10)

    async def scenario(runtime: Runtime) -> None:
        workflow = work.workflow(concurrency=1, key="{{tenant}}")
        crowd = [await runtime.start(workflow, {"tenant": "a"}) for _ in range(5)]
        begun = anyio.current_time()
        await (await runtime.start(workflow, {"tenant": "b"})).result()
        assert anyio.current_time() - begun == pytest.approx(10, abs=0.2)
        for execution in crowd:
            await execution.result()
        assert work.most == {"a": 1, "b": 1}

    virtually(scenario)


def test_queues_take_turns_where_there_is_little_room():
    """With room for one execution in the process, the tenants alternate."""
    work = Work(takes_s=1)

    async def scenario(runtime: Runtime) -> None:
        workflow = work.workflow(concurrency=1, key="{{tenant}}")
        executions = [
            await runtime.start(workflow, {"tenant": tenant}, id=f"{tenant}{no}")
            for tenant in "abc"
            for no in range(3)
        ]
        for execution in executions:
            await execution.result()
        rounds = [sorted(id_[0] for id_ in work.begun[first : first + 3]) for first in (0, 3, 6)]
        assert rounds == [["a", "b", "c"]] * 3

    virtually(scenario, max_active=1)


def test_a_step_of_priority_is_worth_a_minute_of_waiting():
    """The urgent goes first, and the patient is not overtaken for ever."""
    work = Work(takes_s=100)

    async def scenario(runtime: Runtime) -> None:
        workflow = work.workflow(concurrency=1)
        await runtime.start(workflow, id="first")
        await runtime.start(workflow, id="patient")
        await anyio.sleep(30)
        urgent = await runtime.start(workflow, id="urgent", priority=1)
        await anyio.sleep(35)
        late = await runtime.start(workflow, id="late", priority=1)
        promoted = await runtime.start(workflow, id="promoted")
        await promoted.set_priority(10)
        for execution in (urgent, late, promoted):
            await execution.result()
        assert work.begun == ["first", "promoted", "urgent", "patient", "late"]

    virtually(scenario)


def test_one_that_is_paused_keeps_its_slot_and_a_resume_never_waits():
    """What has begun is not made to queue again."""
    work = Work(takes_s=10)

    async def scenario(runtime: Runtime) -> None:
        workflow = work.workflow(concurrency=1)
        first, second = await runtime.start(workflow), await runtime.start(workflow)
        await anyio.sleep(1)
        assert await first.pause(mode="interrupt") is State.PAUSED
        await anyio.sleep(60)
        assert (await second.status()).queue == "work"
        await first.resume()
        await first.result()
        await second.result()
        assert work.most == {"all": 1}

    virtually(scenario)


def test_what_waits_can_be_told_things_without_beginning():
    """Signals are kept, the context is patched, checkpoints are taken; a cancel ends the wait."""
    work = Work(takes_s=10)

    async def scenario(runtime: Runtime) -> None:
        workflow = work.workflow(concurrency=1)
        first = await runtime.start(workflow)
        second, third = await runtime.start(workflow), await runtime.start(workflow)
        await second.signal("hello", 1)
        await second.update_context({"tenant": "b"})
        await second.checkpoint(label="before")
        assert (await second.status()).state is State.IDLE
        assert await third.cancel() is State.CANCELLED
        assert len(work.begun) == 1
        await first.result()
        assert (await second.result()).outputs == {"do": "b"}

    virtually(scenario)


def test_a_retry_takes_a_slot_at_once():
    """Somebody asked for it by hand; the next one waits until there is room again."""
    work = Work(takes_s=10)

    async def scenario(runtime: Runtime) -> None:
        workflow = work.workflow(concurrency=1)
        first = await runtime.start(workflow)
        await first.cancel()
        second, third = await runtime.start(workflow), await runtime.start(workflow)
        await anyio.sleep(1)
        await first.retry()
        await second.result()
        assert (await third.status()).state is State.EXECUTING or work.most["all"] == 2
        await third.result()
        assert work.most == {"all": 2}

    virtually(scenario)


def test_a_killed_process_keeps_the_slots_of_what_goes_on_elsewhere(tmp_path: Path):
    """Its executions are taken over and hold their slots; what waited begins when they have ended."""
    work = Work(takes_s=10)
    path = tmp_path / "p.db"

    async def main() -> None:
        workflow = work.workflow(concurrency=1)
        first = RuntimeProcess(path, name="first", seed=1, workflows=[workflow])
        second = RuntimeProcess(path, name="second", seed=2, workflows=[workflow])
        await first.open()
        await second.open()
        await first.run(lambda runtime: runtime.start("work", id="a"))
        await second.run(lambda runtime: runtime.start("work", id="b"))
        await anyio.sleep(5)
        work.now["all"] -= 1  # what the process that dies had in hand ends with it
        first.kill()

        async def end(runtime: Runtime) -> None:
            for id_ in "ab":
                await (await runtime.execution(id_)).result()
            assert await check_store(runtime.store) == []

        await second.run(end)
        assert work.begun == ["a", "a", "b"]
        assert work.most == {"all": 1}
        await second.close()

    run_virtual(main)


def test_what_waits_is_admitted_by_whoever_opens_the_store_next(tmp_path: Path):
    """A queue is rows."""
    work = Work(takes_s=100)
    path = tmp_path / "p.db"

    async def main() -> None:
        workflow = work.workflow(concurrency=1)
        async with VirtualRuntime(path, workflows=[workflow]) as runtime:
            for no in range(3):
                await runtime.start(workflow, id=f"e{no}")
        async with VirtualRuntime(path, workflows=[workflow]) as runtime:
            for no in range(3):
                await (await runtime.execution(f"e{no}")).result()
        assert work.most == {"all": 1}

    run_virtual(main)


class WordsFirst(SQLiteStore):
    """A store that orders names as people do, as a database may: capitals are small letters to it."""

    async def queues(self, *, after: str) -> list[Queue]:
        """Those behind that name, in that order."""
        found = [queue for queue in await super().queues(after="") if queue.name.lower() > after.lower()]
        return sorted(found, key=lambda queue: queue.name.lower())


def test_every_queue_has_its_turn_whatever_order_the_database_has():
    """One that it has before the last, and the program behind it, is looked at, too."""

    async def main() -> None:
        async with VirtualRuntime(store=WordsFirst(":memory:", inline=True)) as runtime:
            for name in ("Bee", "ant"):
                workflow = Workflow(name, limits={"concurrency": 1})
                workflow.sleep_step("nap", 1)
                await (await runtime.start(workflow)).result(timeout=60)

    run_virtual(main)


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "lost"])
def test_one_that_may_have_been_admitted_begins(tmp_path: Path, *, is_kept: bool):
    """Where nobody sweeps, nobody else would find it."""

    async def main() -> None:
        store = UnsureStore(tmp_path / "a.db", Admit, is_kept=is_kept)
        async with VirtualRuntime(store=store, recover=False) as runtime:
            execution = await runtime.start(Work().workflow(concurrency=1))
            assert (await execution.result(timeout=60)).outputs == {"do": "all"}

    run_virtual(main)


def test_what_only_another_release_can_read_waits_and_holds_up_nobody(tmp_path: Path):
    """Neither those who wait in queues behind it nor those to be taken up."""
    path = tmp_path / "p.db"
    foreign, known = (Workflow(name, limits={"concurrency": 1}) for name in ("foreign", "known"))
    for workflow in (foreign, known):
        workflow.sleep_step("nap", 1)

    async def leave() -> None:
        async with VirtualRuntime(path, kind="client") as runtime:
            for workflow in (foreign, known):
                await runtime.start(workflow, id=f"{workflow.name}-1")
            workflow = Workflow("foreign", version="2")
            workflow.sleep_step("nap", 1)
            await runtime.start(workflow, id="foreign-2", detach=True)

    run_virtual(leave)
    with closing(sqlite3.connect(path)) as connection, connection:
        newer = "json_set(definition, '$.telepathy', 1)"
        connection.execute(f"UPDATE workflows SET definition = {newer} WHERE name = 'foreign'")

    async def go_on() -> None:
        async with VirtualRuntime(path, seed=1) as runtime:
            await (await runtime.execution("known-1")).result(timeout=60)
            assert "telepathy" in runtime.waiting_for_code["foreign-2"][0]
            assert (await (await runtime.execution("foreign-1")).status()).queue == "foreign"
            await runtime.machine.routing.ring("foreign-2")
            await anyio.sleep(60)
            assert (await (await runtime.execution("foreign-2")).status()).runner is None

    run_virtual(go_on)


def test_queues_that_are_for_others_hold_up_nobody_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A look sees so many queues together: where none of those is for this process it looks behind them."""
    monkeypatch.setattr(queueing, "QUEUES_MAX", 2)
    path = tmp_path / "p.db"
    work = Work()

    async def main() -> None:
        async with VirtualRuntime(path, kind="client") as client:
            foreign = Workflow("foreign", limits={"concurrency": 1, "key": "{{tenant}}"})
            foreign.agent_step("call", agent="elsewhere")
            for tenant in "abcde":
                await client.start(foreign, {"tenant": tenant}, detach=True)
            await client.start(work.workflow(concurrency=1), id="own", detach=True)
        async with VirtualRuntime(path, seed=1, workflows=[work.workflow(concurrency=1)]) as runtime:
            await (await runtime.execution("own")).result(timeout=60)

    run_virtual(main)


def test_a_context_without_the_key_is_refused_at_the_start():
    """Before anything is written."""

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(TemplateError, match=r"config\.limits\.key: \{\{tenant\}\} has no"):
            await runtime.start(Work().workflow(concurrency=1, key="{{tenant}}"), {})
        assert await runtime.list() == []

    virtually(scenario)


AGENTS = """\
from perdure.runtime import Agents

agents = Agents()


@agents.agent("quick")
async def quick() -> int:
    return 1
"""
LIMITED = """\
name: limited
config: {limits: {concurrency: 1, key: "{{tenant}}"}}
steps: [{key: one, agent: quick}]
"""


@pytest.mark.integration
@pytest.mark.usefixtures("empty_folder")
def test_a_run_waits_for_its_slot_and_list_says_what_waits(capsys: pytest.CaptureFixture[str]):
    """Nobody else may be there to admit it."""
    Path("agents.py").write_text(AGENTS)
    Path("limited.yaml").write_text(LIMITED)
    command = ["run", "limited.yaml", "-i", "tenant=acme", "--agents", "agents.py:agents"]
    assert run_command(command) == 0
    capsys.readouterr()

    async def leave_two() -> None:
        async with Runtime("perdure.db", kind="client") as runtime:
            for id_ in ("q1", "q2"):
                await runtime.start("limited", {"tenant": "acme"}, id=id_, detach=True)

    anyio.run(leave_two)
    assert run_command(["list", "--limit", "1"]) == 0
    assert "waits for a slot of limited/acme" in capsys.readouterr().out
    assert run_command(["status", "q2"]) == 0
    assert "queued        waits for a slot of limited/acme" in capsys.readouterr().out
