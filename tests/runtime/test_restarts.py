"""Executions that outlive the process that started them, and code that is missing or another in the next."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import order

from perdure.runtime import ExecutionTimeout, Keyring, State, Status, StepContext, Workflow
from perdure.runtime.testing import VirtualRuntime, run_virtual
from perdure.store import SQLiteStore


def test_leaving_the_runtime_interrupts_and_the_next_one_goes_on(tmp_path: Any) -> None:
    """No attempt used up, the same trace id, nothing recorded runs again."""
    log: list[str] = []
    database = tmp_path / "orders.db"

    async def main() -> None:
        async with VirtualRuntime(database) as runtime:
            execution = await runtime.start(order(log=log, seconds=10), {"item": "lamp"}, trace_id="t-1")
            await anyio.sleep(15)
        assert log == ["reserve", "charge"]
        async with VirtualRuntime(database, workflows=[order(log=log, seconds=10)], seed=1) as runtime:
            execution = await runtime.execution(execution.id)
            assert (await execution.result()).outputs["ship"] == "shipped 1xlamp"
            assert log == ["reserve", "charge", "charge", "ship"]
            assert {event.trace_id async for event in execution.events()} == {"t-1"}
            assert (await execution.query())["steps"]["charge"]["attempt"] == 1

    run_virtual(main)


def test_an_execution_whose_code_is_missing_waits_for_it_and_says_so(tmp_path: Any) -> None:
    """Never failed, never quarantined; it goes on as soon as the code is there."""
    database = tmp_path / "orders.db"

    async def main() -> None:
        async with VirtualRuntime(database) as runtime:
            execution = await runtime.start(order(seconds=10), {"item": "lamp"})
            await anyio.sleep(15)
        async with VirtualRuntime(database, seed=1) as runtime:
            await anyio.sleep(60)
            assert list(runtime.waiting_for_code) == [execution.id]
            assert any("reserve" in name for name in runtime.waiting_for_code[execution.id])
            handle = await runtime.execution(execution.id)
            assert (await handle.status()).status is Status.RUNNING
            await runtime.publish(order(seconds=10))
            assert (await handle.result()).status is Status.COMPLETED

    run_virtual(main)


@pytest.mark.parametrize(
    "damage",
    [
        "workflow_executions SET budget = '[1]'",
        "workflow_executions SET circuit_breaker_state = '[1]'",
        "workflow_contexts SET context = '{'",
        "workflow_contexts SET context = replace(context, substr(context, 30, 6), 'AAAAAA')",
        "workflow_contexts SET context = substr(context, 1, 41) || char(34)",
    ],
)
def test_what_cannot_be_read_back_is_set_aside_by_itself(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
):
    """All others go on, and it is told of once, not by each look for work; the same where it is sealed."""
    database = tmp_path / "orders.db"
    keys = Keyring("k1", {"k1": b"k" * 32}) if "context =" in damage else None

    async def main() -> None:
        async with VirtualRuntime(database, keys=keys) as runtime:
            for id_ in ("first", "second"):
                await runtime.start(order(seconds=10), {"item": "lamp"}, id=id_)
            await anyio.sleep(15)
        with closing(sqlite3.connect(database)) as connection, connection:
            where = " WHERE execution_no = 1" if keys else " WHERE id = 'first'"
            connection.execute("UPDATE " + damage + where)
        workflows = [order(seconds=10)]
        async with VirtualRuntime(database, workflows=workflows, seed=1, keys=keys) as runtime:
            with anyio.fail_after(300):
                assert (await (await runtime.execution("second")).result()).status is Status.COMPLETED
            await anyio.sleep(300)

    run_virtual(main)
    told = [record.message for record in caplog.records]
    assert sum("execution_quarantined" in message for message in told) == 1
    assert not any("sweep_failed" in message for message in told)


def test_a_deadline_is_kept_by_a_process_without_the_code(tmp_path: Any) -> None:
    """To fail what is overdue needs no code; nobody has to wait for who has it."""
    database = tmp_path / "orders.db"

    async def main() -> None:
        async with VirtualRuntime(database) as runtime:
            execution = await runtime.start(order(seconds=10), {"item": "lamp"}, timeout=100)
            await anyio.sleep(15)
        async with VirtualRuntime(database, seed=1) as runtime:
            handle = await runtime.execution(execution.id)
            await anyio.sleep(80)
            assert (await handle.status()).status is Status.RUNNING
            has_work = runtime.machine.recovery.has_work
            assert (await has_work(within_s=1), await has_work(within_s=10)) == (False, True)
            await anyio.sleep(10)
            assert (await handle.status()).status is Status.FAILED
            assert dict(runtime.waiting_for_code) == {}
            with pytest.raises(ExecutionTimeout):
                await handle.result()

    run_virtual(main)


def test_what_waits_is_left_alone_when_due_where_its_code_is_missing(tmp_path: Any) -> None:
    """Taking it up would write a transition for nothing; it is told as waiting for code."""
    database = tmp_path / "naps.db"
    workflow = Workflow("nap")
    workflow.sleep_step("nap", 3600)

    @workflow.step(after="nap")
    async def wake() -> str:
        return "awake"

    async def main() -> None:
        async with VirtualRuntime(database) as runtime:
            execution = await runtime.start(workflow)
            before = (await execution.status()).version
        async with VirtualRuntime(database, seed=1) as runtime:
            handle = await runtime.execution(execution.id)
            await anyio.sleep(4000)
            assert (await handle.status()).state is State.AWAITING_COMPLETION
            assert (await handle.status()).version == before
            assert list(runtime.waiting_for_code) == [execution.id]
            await runtime.publish(workflow)
            assert (await handle.result()).outputs["wake"] == "awake"

    run_virtual(main)


def test_a_result_is_told_whoever_brings_the_execution_to_its_end(tmp_path: Path) -> None:
    """Awaited here, paused, resumed and finished by another runtime on the same file."""
    database = tmp_path / "orders.db"

    async def main() -> None:
        async with VirtualRuntime(database) as here, VirtualRuntime(database, seed=1) as there:
            execution = await here.start(order(seconds=10), {"item": "lamp"})
            await there.publish(order(seconds=10))
            waiting = asyncio.create_task(execution.result())
            await anyio.sleep(5)
            await execution.pause()
            await (await there.execution(execution.id)).resume()
            assert (await waiting).status is Status.COMPLETED

    run_virtual(main)


class Compiled(SQLiteStore):
    """A store that counts how often somebody wants a definition, which is then compiled."""

    definitions = 0

    async def workflow_by_no(self, no: int) -> Any:
        """Count it."""
        self.definitions += 1
        return await super().workflow_by_no(no)


def test_a_look_for_work_compiles_a_revision_whose_code_is_missing_once(tmp_path: Path):
    """However many executions wait for it; a process with other code looks whenever one of its own parks."""
    path = tmp_path / "many.db"

    async def main() -> None:
        async with VirtualRuntime(path, kind="client") as client:
            await client.publish(order())
            for no in range(50):
                await client.start("order", {"item": "lamp"}, id=f"e{no}", detach=True)
        store = Compiled(str(path), inline=True)
        async with VirtualRuntime(store=store, seed=1) as runtime:
            await anyio.sleep(1)
            assert len(runtime.waiting_for_code) == 50
            store.definitions = 0
            await runtime.machine.recovery.sweep()
            assert store.definitions == 1
            await runtime.publish(order())
            for no in range(50):
                await (await runtime.execution(f"e{no}")).result(timeout=60)

    run_virtual(main)


def made(name: str, answer: str) -> Workflow:
    """One of several workflows that a function makes; the functions in it share their names."""
    workflow = Workflow(name)

    @workflow.step
    async def reply(context: StepContext) -> str:
        return answer

    return workflow


def test_local_functions_that_take_the_place_of_others_are_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two workflows of one name, shape and place are one revision: the one published last performs it."""

    async def main() -> None:
        async with VirtualRuntime() as runtime:
            first = made("one", "1")
            assert (await (await runtime.start(first)).result()).outputs == {"reply": "1"}
            await runtime.publish(first)
            await runtime.publish(made("two", "2"))
            assert "local_functions_replaced" not in caplog.text
            for answer in ("3", "4"):
                execution = await runtime.start(made("one", answer))
                assert (await execution.result()).outputs == {"reply": answer}

    run_virtual(main)
    [told] = [record for record in caplog.records if "local_functions_replaced" in record.getMessage()]
    assert told.levelname == "WARNING"
    assert "one.reply" in told.getMessage()


def test_a_runner_never_performs_a_step_with_the_function_of_another_workflow(tmp_path: Path) -> None:
    """Local functions of the same place have one qualified name: the workflow tells them apart."""

    async def main() -> None:
        async with VirtualRuntime(tmp_path / "db", seed=1, workflows=[made("one", "1")]) as runtime:
            await runtime.start("one", id="x", detach=True)
            await (await runtime.execution("x")).pause()
        async with VirtualRuntime(tmp_path / "db", seed=2, workflows=[made("two", "2")]) as runtime:
            execution = await runtime.execution("x")
            await execution.resume()
            await anyio.sleep(60)
            assert list(runtime.waiting_for_code) == ["x"]
            await runtime.publish(made("one", "1"))
            assert (await execution.result()).outputs == {"reply": "1"}

    run_virtual(main)
