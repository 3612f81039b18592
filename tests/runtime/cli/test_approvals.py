"""What waits for people, and what they decide, on the command line."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.cli import run_command
from perdure.runtime.cli.exit_codes import Exit

FORM = {"type": "object", "required": ["limit"], "properties": {"limit": {"type": "integer"}}}


def release() -> Workflow:
    """Two people approve what then is shipped."""
    workflow = Workflow("release")
    people = ["ann", "bob", "dan"]
    workflow.approval_step("ok", message="Ship {{what}}?", approvers=people, quorum=2, form=FORM)
    workflow.approval_step("later", message="Anything\nelse?", timeout=3600, after="ok")
    return workflow


async def start() -> None:
    """One execution that asks, and whose process has ended."""
    async with Runtime("perdure.db") as runtime:
        await runtime.start(release(), {"what": "1.2"}, id="lamp-1")


@pytest.fixture(autouse=True)
def _waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """An execution that asks, in a database of its own."""
    monkeypatch.setattr("getpass.getuser", lambda: "bob")
    asyncio.run(start())


def said(capsys: pytest.CaptureFixture[str], *tokens: str, code: Exit = Exit.DONE) -> str:
    """What a command prints, with its moments and lengths of time made alike."""
    assert run_command(list(tokens)) == code
    out, err = capsys.readouterr()
    text = re.sub(r"\b\d+ ?s ago\b|\bnow\b(?=  )", "NOW", out + err)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?Z", "MOMENT", text)
    return "\n".join(re.sub(r"  +", "  ", line).rstrip() for line in text.splitlines())


def test_what_waits_is_listed_with_who_may_decide_and_what_is_asked(capsys: pytest.CaptureFixture[str]):
    """Until it waits no longer."""
    assert said(capsys, "approvals").splitlines() == [
        "ID  STEP  WORKFLOW  SINCE  UNTIL  GIVEN  APPROVERS  MESSAGE",
        "lamp-1  ok  release  NOW  –  0/2  ann, bob, dan  Ship 1.2?",
    ]
    assert "lamp-1" in said(capsys, "approvals", "--by", "ann", "--workflow", "release")
    assert "lamp-1" not in said(capsys, "approvals", "--by", "eve")
    assert "lamp-1" not in said(capsys, "approvals", "--workflow", "other")
    said(capsys, "approve", "@last", "ok", "--by", "ann", "--data", "limit=3")
    assert "lamp-1" not in said(capsys, "approvals", "--by", "ann")
    (waiting,) = json.loads(said(capsys, "approvals", "--format", "json"))
    assert [decision["by"] for decision in waiting["decisions"]] == ["ann"]


def test_a_list_that_is_cut_says_so(capsys: pytest.CaptureFixture[str]):
    """With how to see the rest."""

    async def start_another() -> None:
        async with Runtime("perdure.db") as runtime:
            await runtime.start(release(), {"what": "1.3"}, id="lamp-2")

    asyncio.run(start_another())
    cut = said(capsys, "approvals", "-n", "1").splitlines()
    assert [line.partition(" ")[0] for line in cut] == ["ID", "lamp-1", "1"]
    assert cut[-1] == "1 of 2; --limit 2 shows all of them"
    assert len(said(capsys, "approvals").splitlines()) == 3


def test_an_approval_says_how_many_are_still_to_come(capsys: pytest.CaptureFixture[str]):
    """Then the next one is asked for; whoever is logged in decides unless it is said otherwise."""
    assert said(capsys, "approve", "lamp-1", "ok", "--by", "ann", "--data", "limit=3").splitlines() == [
        "● awaiting_completion  lamp-1",
        "ok: 1 of 2 approvals",
    ]
    status = said(capsys, "status", "lamp-1")
    assert "waits for approval by ann, bob, dan (1 of 2) since MOMENT: Ship" in status
    answer = said(capsys, "approve", "lamp-1", "ok", "--json", '{"limit": 4}', "--comment", "fine")
    assert answer.splitlines() == ["● awaiting_completion  lamp-1", "ok: completed"]
    assert said(capsys, "approvals").splitlines()[1] == (
        "lamp-1  later  release  NOW  MOMENT  0/1  anyone  Anything else?"
    )


def test_a_rejection_ends_what_hangs_on_it(capsys: pytest.CaptureFixture[str]):
    """The execution completes: to be rejected is no failure."""
    answer = said(capsys, "reject", "lamp-1", "ok", "--comment", "not now")
    assert answer.splitlines() == ["✔ completed  lamp-1", "ok: skipped"]
    log = said(capsys, "events", "lamp-1", "--format", "jsonl")
    (event,) = [json.loads(line) for line in log.splitlines() if '"approval_decided"' in line]
    assert event["data"] == {"decision": "reject", "data": None, "comment": "not now"}
    assert (event["by"], event["step"]) == ("bob", "ok")


@pytest.mark.parametrize(
    ("tokens", "code", "told"),
    [
        (["--by", "eve"], Exit.NOT_AUTHORISED, "eve may not decide on step 'ok': asked are ann, bob, dan"),
        (["--data", "limit=x"], Exit.USAGE, '$.limit: "x" is not of type "integer"'),
        ([], Exit.USAGE, "the data does not fit the form of step 'ok': $: null is not of type \"object\""),
        (["--data", "limit"], Exit.USAGE, "--data limit: must be NAME=VALUE"),
        (["--data", '{"limit": 3}'], Exit.USAGE, "must be NAME=VALUE; a JSON value is given with --json"),
        (["--data", "a=1", "--json", "1"], Exit.USAGE, "--data and --json: give one of them"),
    ],
)
def test_what_may_not_be_decided_is_refused_with_a_code(
    capsys: pytest.CaptureFixture[str], tokens: list[str], code: Exit, told: str
):
    """And a sentence that says what will do."""
    assert told in said(capsys, "approve", "lamp-1", "ok", *tokens, code=code)


def test_a_step_that_asks_nothing_and_a_second_decision_are_refused(capsys: pytest.CaptureFixture[str]):
    """Not found, and not allowed."""
    assert "no step 'okay': steps that ask for one: ok, later" in said(
        capsys, "approve", "lamp-1", "okay", code=Exit.NOT_FOUND
    )
    said(capsys, "approve", "lamp-1", "ok", "--data", "limit=3")
    again = said(capsys, "approve", "lamp-1", "ok", "--data", "limit=3", code=Exit.NOT_ALLOWED)
    assert "bob has approved step 'ok' at MOMENT, and that stands; it waits for others (1 of 2)" in again
