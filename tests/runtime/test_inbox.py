"""Messages of the durable inbox are taken in the order in which they were written, whoever carries them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.actors.effects.inbox import payload_of
from perdure.actors.effects.turn import Turn
from perdure.actors.execution.actor import ExecutionActor
from perdure.actors.messages import Cancel, Signal
from perdure.runtime import Runtime, Status, Workflow
from perdure.runtime.testing import VirtualRuntime, run_virtual
from perdure.store import SQLiteStore
from perdure.store.protocol import Answer
from perdure.store.writes import Change, Post, Write


def named(name: str) -> Post:
    """A signal of that name, for the inbox of `e`."""
    signal = payload_of(Signal(id=name, name=name))
    return Post(execution_id="e", command_id=name, kind="Signal", payload=signal, sender=None, at=1)


def patient() -> Workflow:
    """One step of a minute."""
    workflow = Workflow("patient")

    @workflow.step
    async def work() -> None:
        await anyio.sleep(60)

    return workflow


class RungFor(SQLiteStore):
    """A store in which a message comes, and is rung for, before the first change of `e`."""

    def __init__(self, path: Path) -> None:
        """Nobody has been rung for."""
        super().__init__(str(path), inline=True)
        self.runtime = VirtualRuntime(store=self, seed=2, workflows=[patient()], recover=False)
        self.has_rung = False

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """Commit, what has come last."""
        if not self.has_rung and any(isinstance(write, Change) for write in writes):
            self.has_rung = True
            await super().commit([named("second")])
            await self.runtime.machine.routing.ring("e")
        return await super().commit(writes)


def test_mail_that_is_rung_for_does_not_overtake_what_was_found(tmp_path: Path):
    """A parent that pauses its child and lets it go on again says so in two messages."""

    async def crash() -> None:
        async with VirtualRuntime(tmp_path / "x.db") as runtime:
            await runtime.start(patient(), {}, id="e")
            await anyio.sleep(1)
            await runtime.store.commit([named("first")])
            with closing(sqlite3.connect(tmp_path / "x.db")) as database:
                database.execute("VACUUM INTO ?", (str(tmp_path / "crashed.db"),))

    async def go_on() -> None:
        store = RungFor(tmp_path / "crashed.db")
        async with store.runtime as runtime:
            runtime.machine.executions.take_up("e")
            execution = await runtime.execution("e")
            await execution.result()
            assert store.has_rung
            events = [event async for event in execution.events()]
            names = [event.data["name"] for event in events if event.type == "signal_received"]
            assert names == ["first", "second"]

    run_virtual(crash)
    run_virtual(go_on)


def test_mail_for_one_that_keeps_crashing_does_not_start_it_over_and_over(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Who rings tries it once more; no sweep does. It is heard when what crashed it is gone."""
    commit = ExecutionActor._commit

    async def crash(actor: ExecutionActor, turn: Turn, **options: Any) -> None:
        raise ValueError("a fault of ours")

    async def scenario(runtime: Runtime) -> None:
        workflow = Workflow("nap")
        workflow.sleep_step("nap", 5)
        monkeypatch.setattr(ExecutionActor, "_commit", crash)
        execution = await runtime.start(workflow)
        cancel = Cancel(id="c1")
        post = Post(
            execution_id=execution.id,
            command_id=cancel.id,
            kind="Cancel",
            payload=payload_of(cancel),
            sender=None,
            at=runtime.machine.services.now_ms(),
        )
        await anyio.sleep(60)
        await runtime.machine.services.writer.write(post)
        await anyio.sleep(600)
        assert sum("execution_quarantined" in record.message for record in caplog.records) == 1
        monkeypatch.setattr(ExecutionActor, "_commit", commit)
        await runtime.machine.routing.ring(execution.id)
        assert (await execution.result(check=False)).status is Status.CANCELLED

    virtually(scenario)


def test_mail_for_one_that_cannot_be_read_back_does_not_start_it_over_and_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Nobody owns it, and nobody can: a claim reads all of it. Each look for work finds its mail."""
    path = tmp_path / "x.db"
    waiting = Workflow("waiting")
    waiting.signal_step("go", signal="go")

    async def main() -> None:
        async with VirtualRuntime(path, workflows=[waiting]) as runtime:
            await runtime.start("waiting", {}, id="e")
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE workflow_step_executions SET error = '[1]'")
        async with VirtualRuntime(path, seed=1, workflows=[waiting]) as runtime:
            await runtime.store.commit([named("go")])
            runtime.machine.recovery.ask()
            await anyio.sleep(600)

    run_virtual(main, passes_max=3_000)
    assert sum("execution_quarantined" in record.message for record in caplog.records) == 1
