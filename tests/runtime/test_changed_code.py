"""Functions that have changed since an execution began: what does not fit it waits, and harms nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from perdure.actors.kernel import faults
from perdure.runtime import Agents, Execution, Runtime, State, Status, Workflow
from perdure.runtime.testing import RuntimeProcess, VirtualRuntime, check_store, run_virtual

TEXT = """
name: letters
config: {onFailure: compensate}
steps:
  - {key: write, agent: writer, compensate: {agent: shredder}}
  - {key: pause, sleep: 10s, dependencies: [write]}
  - {key: send, agent: sender, dependencies: [pause, write]}
"""


def order(version: int, log: list[str]) -> Workflow:
    """Charge, wait, ship. The second version prints a label first, and ships with it."""
    workflow = Workflow("order", version=str(version), on_failure="compensate")

    async def refund(charge: str) -> None:
        log.append(f"refund {charge}")

    @workflow.step(compensate=refund)
    async def charge(item: str) -> str:
        log.append("charge")
        return f"paid {item}"

    workflow.sleep_step("pause", 10, after="charge")

    if version == 1:

        @workflow.step(after="pause")
        async def ship(charge: str) -> str:
            return f"shipped, {charge}"
    else:

        @workflow.step
        async def label(item: str) -> str:
            return f"for {item}"

        @workflow.step(after="pause")
        async def ship(charge: str, label: str) -> str:
            return f"shipped {label}, {charge}"

    return workflow


def letters(log: list[str], **others: Any) -> Agents:
    """The agents of the letters; `others` take the place of some."""

    def write(name: str) -> str:
        log.append("write")
        return f"Dear {name}"

    def send(write: str) -> str:
        return f"sent: {write}"

    def shred(write: str) -> None:
        log.append("shred")

    agents = Agents()
    for name, function in {"writer": write, "sender": send, "shredder": shred, **others}.items():
        agents.add(name, function)
    return agents


async def begun(database: Path, workflow: Workflow, context: dict[str, Any], **options: Any) -> str:
    """The id of an execution that has come to its pause when its process was closed."""
    async with VirtualRuntime(database, **options) as runtime:
        execution = await runtime.start(workflow, context)
        await anyio.sleep(1)
        return execution.id


async def waiting(runtime: Runtime, id_: str) -> tuple[Execution, str]:
    """An execution after its pause, and what it waits for."""
    await anyio.sleep(60)
    handle = await runtime.execution(id_)
    status = await handle.status()
    assert (status.status, status.state) == (Status.RUNNING, State.SCHEDULING)
    assert (await handle.query())["steps"]["pause"]["state"] == "completed"
    [lack] = runtime.waiting_for_code[id_]
    return handle, lack


def test_a_deploy_that_changes_a_function_leaves_what_is_under_way_to_the_old_one(tmp_path: Path) -> None:
    """It neither fails nor is it undone; it says what it waits for, and goes on where that is."""
    log: list[str] = []

    async def main() -> None:
        id_ = await begun(tmp_path / "orders.db", order(1, log), {"item": "lamp"})
        async with VirtualRuntime(tmp_path / "orders.db", workflows=[order(2, log)], seed=1) as runtime:
            handle, lack = await waiting(runtime, id_)
            assert "ship as it was for step 'ship' of order 1 (the one here needs 'label'" in lack.replace(
                "#order.ship", ""
            )
            version = (await handle.status()).version
            await anyio.sleep(120)
            assert (await handle.status()).version == version
            new = await runtime.start("order", {"item": "desk"})
            assert (await new.result()).outputs["ship"] == "shipped for desk, paid desk"

            await runtime.publish(order(1, log))
            assert (await handle.result()).outputs["ship"] == "shipped, paid lamp"
            assert dict(runtime.waiting_for_code) == {}
            assert log == ["charge", "charge"]
            assert await check_store(runtime.store) == []

    run_virtual(main)


def goes_on(database: Path, log: list[str], **others: Any) -> None:
    """What began with the usual letters comes to its end where `others` are in their places."""

    async def main() -> None:
        id_ = await begun(database, Workflow.parse(TEXT), {"name": "Ada"}, agents=letters(log))
        async with VirtualRuntime(database, agents=letters(log, **others), seed=1) as runtime:
            handle = await runtime.execution(id_)
            assert (await handle.result()).outputs["send"] == "sent: Dear Ada"

    run_virtual(main)


@pytest.mark.parametrize(
    "send",
    [
        lambda write, stamp="A": f"sent: {write}",
        lambda: "sent: Dear Ada",
        lambda name: f"sent: Dear {name}",
    ],
    ids=["default", "fewer", "input"],
)
def test_a_function_that_can_be_called_all_the_same_is(tmp_path: Path, send: Any) -> None:
    """A new parameter has a default or is an input that is there; one that went is given nothing."""
    log: list[str] = []

    goes_on(tmp_path / "x.db", log, sender=send)


@pytest.mark.parametrize("agent", ["sender", "shredder"])
def test_agents_and_compensations_wait_alike(tmp_path: Path, agent: str) -> None:
    """Whatever may still run is asked for before anything begins; fitting code is found without a publish."""
    log: list[str] = []

    def changed(write: str, stamp: str) -> None:
        raise AssertionError("it cannot be called")

    async def main() -> None:
        id_ = await begun(tmp_path / "x.db", Workflow.parse(TEXT), {"name": "Ada"}, agents=letters(log))
        agents = letters(log, **{agent: changed})
        async with VirtualRuntime(tmp_path / "x.db", agents=agents, seed=1) as runtime:
            handle, lack = await waiting(runtime, id_)
            assert lack.startswith(f"{agent} as it was for step ")
            assert "needs 'stamp'" in lack
            agents.merge(letters(log), replace=True)
            assert (await handle.result()).outputs["send"] == "sent: Dear Ada"
            assert log == ["write"]

    run_virtual(main)


def test_the_function_of_a_step_that_has_settled_may_be_any(tmp_path: Path) -> None:
    """It is not called again."""
    log: list[str] = []

    def changed(name: str, greeting: str) -> str:
        raise AssertionError("it cannot be called")

    goes_on(tmp_path / "x.db", log, writer=changed)


def test_what_waits_takes_every_command(tmp_path: Path) -> None:
    """To be cancelled needs no code; and an input that is given later is as good as other code."""
    log: list[str] = []

    def changed(write: str, stamp: str) -> str:
        return f"sent: {write} ({stamp})"

    async def main() -> None:
        database, workflow = tmp_path / "x.db", Workflow.parse(TEXT)
        id_ = await begun(database, workflow, {"name": "Ada"}, agents=letters(log))
        async with VirtualRuntime(database, agents=letters(log, sender=changed), seed=1) as runtime:
            handle, _ = await waiting(runtime, id_)
            await handle.pause()
            assert (await handle.status()).status is Status.PAUSED
            await handle.resume()
            await waiting(runtime, id_)
            await handle.cancel()
            assert (await handle.result(check=False)).status is Status.CANCELLED
            await handle.retry()
            await waiting(runtime, id_)
            await handle.update_context({"stamp": "B"})
            assert (await handle.result()).outputs["send"] == "sent: Dear Ada (B)"

    run_virtual(main)


def test_a_condition_that_has_changed_is_not_asked(tmp_path: Path) -> None:
    """A function that decides is code as one that performs is."""

    def nap(*, changed: bool) -> Workflow:
        workflow = Workflow("nap")
        workflow.sleep_step("pause", 10)
        if changed:

            def is_due(weather: str) -> bool:
                return weather == "fine"
        else:

            def is_due() -> bool:
                return True

        @workflow.step(after="pause", when=is_due)
        async def wake() -> str:
            return "awake"

        return workflow

    async def main() -> None:
        id_ = await begun(tmp_path / "x.db", nap(changed=False), {})
        async with VirtualRuntime(tmp_path / "x.db", workflows=[nap(changed=True)], seed=1) as runtime:
            handle, lack = await waiting(runtime, id_)
            assert "needs 'weather'" in lack
            await runtime.publish(nap(changed=False))
            assert (await handle.result()).outputs["wake"] == "awake"

    run_virtual(main)


def test_of_those_who_are_capable_only_who_can_be_called_is_chosen(tmp_path: Path) -> None:
    """Where nobody can, the execution waits for somebody who can."""
    text = "name: w\nsteps:\n  - {key: pause, sleep: 10s}\n"
    text += "  - {key: send, capabilities: [post], dependencies: [pause]}\n"

    def posts(**functions: Any) -> Agents:
        agents = Agents()
        for name, function in functions.items():
            agents.add(name, function, capabilities={"post"})
        return agents

    async def main() -> None:
        database, workflow = tmp_path / "x.db", Workflow.parse(text)
        id_ = await begun(database, workflow, {}, agents=posts(old=lambda: "sent"))
        agents = posts(airmail=lambda stamp: f"sent with {stamp}")
        async with VirtualRuntime(database, agents=agents, seed=1) as runtime:
            handle, lack = await waiting(runtime, id_)
            assert lack.startswith("airmail as it was for step 'send'")
            agents.merge(posts(old=lambda: "sent"))
            assert (await handle.result()).outputs["send"] == "sent"

    run_virtual(main)


def test_a_deadline_is_kept_while_it_waits(tmp_path: Path) -> None:
    """To fail what is overdue needs no code; then nothing is done but what fits."""
    log: list[str] = []

    async def main() -> None:
        database = tmp_path / "orders.db"
        async with VirtualRuntime(database) as runtime:
            id_ = (await runtime.start(order(1, log), {"item": "lamp"}, timeout=100)).id
            await anyio.sleep(1)
        async with VirtualRuntime(database, workflows=[order(2, log)], seed=1) as runtime:
            handle, _ = await waiting(runtime, id_)
            result = await handle.result(check=False)
            assert (result.status, result.error.type) == (Status.ROLLED_BACK, "ExecutionTimeout")
            assert log == ["charge", "refund paid lamp"]

    run_virtual(main)


def test_what_has_killed_its_process_and_does_not_fit_any_more_is_not_tried(tmp_path: Path) -> None:
    """There is nothing to try: to take it up and to give it up again and again would be all that goes on."""
    workflow = Workflow.parse("name: w\nsteps: [{key: work, agent: worker}]")
    commits: list[str] = []

    async def old(name: str) -> None:
        await anyio.sleep(100)

    async def new(name: str, label: str) -> None: ...

    def count(point: str) -> None:
        if point == "commit:before":
            commits.append(point)
            assert len(commits) < 200, "it is taken up again and again"

    async def main() -> None:
        for life in range(2):
            process = RuntimeProcess(tmp_path / "a.db", seed=life, agents=agents_of(worker=old))
            await process.open()
            await process.run(lambda runtime: runtime.start(workflow, {"name": "ada"}, id="e"))
            await anyio.sleep(1)
            process.kill()
        async with VirtualRuntime(tmp_path / "a.db", seed=2, agents=agents_of(worker=new)) as runtime:
            await anyio.sleep(60)
            assert list(runtime.waiting_for_code) == ["e"]

    with faults.installed(count):
        run_virtual(main)


def agents_of(**functions: Any) -> Agents:
    """Those agents."""
    agents = Agents()
    for name, function in functions.items():
        agents.add(name, function)
    return agents
