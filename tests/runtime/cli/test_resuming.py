"""Resuming later, from the command line."""

from __future__ import annotations

import asyncio
import json

import anyio
import pytest

from perdure.runtime import Execution, Runtime, Workflow
from perdure.runtime.cli import run_command

pytestmark = pytest.mark.integration


def nap() -> Workflow:
    """A step that would take an hour."""
    workflow = Workflow("nap")

    @workflow.step
    async def sleep() -> None:
        await anyio.sleep(3600)

    return workflow


async def run() -> None:
    """An execution that rests."""
    async with Runtime("perdure.db") as runtime:
        await (await runtime.start(nap(), {}, id="nap-1")).pause(mode="interrupt")


@pytest.fixture(autouse=True)
def database() -> None:
    """That database, in the current folder."""
    asyncio.run(run())


def test_a_resume_is_planned_shown_and_taken_back(capsys: pytest.CaptureFixture[str]):
    """`status` says when; a pause says that it is to stay."""
    assert run_command(["resume", "nap-1", "--at", "2100-01-01T09:00+01:00", "--when", "false"]) == 0
    assert capsys.readouterr().out == "‖ paused  nap-1\n"
    assert run_command(["status", "nap-1"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "goes on       at 2100-01-01 08:00:00Z or when false" in shown
    assert run_command(["pause", "nap-1"]) == 0
    capsys.readouterr()
    assert run_command(["status", "nap-1"]) == 0
    assert "goes on" not in capsys.readouterr().out


def test_the_log_tells_who_asked(capsys: pytest.CaptureFixture[str]):
    """Of every command that changes an execution."""
    for tokens in (["resume", "nap-1", "--at", "8h"], ["signal", "nap-1", "go"], ["cancel", "nap-1"]):
        assert run_command([*tokens, "--by", tokens[0]]) == 0
    assert run_command(["retry", "nap-1", "--by", "retry", "--timeout", "0.1"]) == 124
    capsys.readouterr()
    assert run_command(["events", "nap-1", "--format", "json"]) == 0
    told = {(event["type"], event["by"]) for event in json.loads(capsys.readouterr().out)}
    assert {
        ("resume_planned", "resume"),
        ("signal_received", "signal"),
        ("workflow_retried", "retry"),
    } <= told


@pytest.mark.parametrize(
    ("tokens", "said"),
    [(["--at", "tomorrow"], "with its zone"), (["--at", "2100-01-01"], "zone"), (["--when", "1 +"], "when")],
)
def test_a_plan_nobody_can_keep_is_refused(tokens: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    """Before anything is written."""
    assert run_command(["resume", "nap-1", *tokens]) == 2
    assert said in capsys.readouterr().err


def test_who_resumes_what_pauses_again_at_once_is_told_why(capsys: pytest.CaptureFixture[str]):
    """A gate that is still closed; another runner has the execution, and this command only tells it."""
    gated = Workflow("gated")
    gated.gate_step("ready", criteria=[("inputs.is_open", "the window is shut")], on_no="pause")

    async def wait_at_the_gate() -> None:
        async with Runtime("perdure.db") as runtime:
            execution = await runtime.start(gated, {"is_open": False}, id="gate-1")
            await arrived(execution)
            assert await asyncio.to_thread(run_command, ["resume", "gate-1"]) == 0

    async def arrived(execution: Execution) -> None:
        async for event in execution.events(follow=True):
            if event.type == "workflow_paused":
                return

    asyncio.run(wait_at_the_gate())
    told = capsys.readouterr()
    assert told.out == "‖ paused  gate-1\n"
    assert "paused by gate ready: the window is shut" in told.err


@pytest.mark.parametrize("later", [("--at", "8h"), ("--when", "true")])
def test_a_budget_is_not_dropped_in_silence_where_it_is_resumed_later(
    later: tuple[str, str], capsys: pytest.CaptureFixture[str]
):
    """A plan to resume has no place for one."""
    assert run_command(["resume", "nap-1", *later, "--budget", "cost=2"]) == 2
    assert "--budget" in capsys.readouterr().err
