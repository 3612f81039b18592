"""Messages of the durable inbox are taken in the order in which they were written, whoever carries them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import anyio

from perdure.actors.effects.inbox import payload_of
from perdure.actors.messages import Signal
from perdure.runtime import Workflow
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
