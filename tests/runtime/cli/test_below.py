"""Children that wait for somebody: whoever waits for their parent is told, with the command that helps."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import anyio

from perdure.runtime import Execution, Runtime, Workflow
from perdure.runtime.cli.below import follow_children, tell_of_children
from perdure.runtime.testing import VirtualRuntime, virtual_time

LEAF = Workflow("leaf").approval_step("release", message="May it?", approvers=["ann"])
LEAF.signal_step("go", signal="go now", after="release")
MIDDLE = Workflow("middle").workflow_step("inner", workflow=LEAF)


def top() -> Workflow:
    """A grandchild that somebody waits for, and a child that nobody does."""
    workflow = Workflow("top").workflow_step("left", workflow=MIDDLE)
    return workflow.workflow_step("aside", workflow=LEAF, wait=False)


def session_of(notes: list[str]) -> Any:
    """A session that writes down what is said."""
    return SimpleNamespace(command=lambda *words: " ".join(("perdure", *words)), note=notes.append)


async def leaf_of(runtime: Runtime, execution: Execution) -> Execution:
    """The grandchild."""
    (middle,) = [each for each in await runtime.list(parent=execution.id) if each.workflow == "middle"]
    (leaf,) = await runtime.list(parent=middle.id)
    return await runtime.execution(leaf.id)


def spoken(notes: list[str]) -> list[str]:
    """What was said, without what differs."""
    return [re.sub(r"[0-9a-f]{32}", "ID", re.sub(r" since [^;]*?Z", "", note)) for note in notes]


@virtual_time
async def test_whoever_attends_to_a_parent_hears_what_a_child_waits_for():
    """Each thing once; not of one that goes its own way, nor of a pause that came with the parent's."""
    notes: list[str] = []
    async with VirtualRuntime(workflows=[LEAF, MIDDLE]) as runtime:
        execution = await runtime.start(top())
        async with anyio.create_task_group() as group:

            async def follow() -> None:
                session = session_of(notes)
                await follow_children(execution, runtime=runtime, session=session, say=notes.append)

            group.start_soon(follow)
            await anyio.sleep(1)
            leaf = await leaf_of(runtime, execution)
            await leaf.approve("release", by="ann")
            await anyio.sleep(1)
            await leaf.pause(by="bob", reason="lunch")
            await anyio.sleep(1)
            await leaf.resume()
            await execution.pause(by="cid")
            await anyio.sleep(1)
            group.cancel_scope.cancel()
    assert spoken(notes) == [
        "child ID (leaf): release waits for approval by ann: May it?; go on with: perdure approve ID release",
        "child ID (leaf): go waits for signal go now; go on with: perdure signal ID go now",
        "child ID (leaf) is paused by bob (lunch); go on with: perdure resume ID",
    ]


@virtual_time
async def test_whoever_resumes_a_parent_elsewhere_is_told_where_its_tree_stands():
    """The command is at its end; what is left to say is said by others."""
    notes: list[str] = []
    async with VirtualRuntime(workflows=[LEAF, MIDDLE]) as runtime:
        execution = await runtime.start(top())
        await anyio.sleep(1)
        await (await leaf_of(runtime, execution)).pause(by="bob")
        await tell_of_children(execution, runtime=runtime, session=session_of(notes))
    assert spoken(notes) == ["child ID (leaf) is paused by bob; go on with: perdure resume ID"]
