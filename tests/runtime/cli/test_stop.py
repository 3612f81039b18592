"""Cancel and rollback from the command line, with nobody else there to perform what is left."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from perdure.runtime.cli import run_command, stop
from perdure.runtime.cli.session import Session

AGENTS = """
from pathlib import Path
from perdure.runtime import Agents

agents = Agents()

def say(*words: object) -> None:
    with open("world.txt", "a") as world:
        print(*words, file=world)

@agents.agent("bank")
async def bank(prompt: str) -> dict[str, int]:
    say("charge", prompt)
    return {"id": 7}

@agents.agent("refund")
async def refund(prompt: str, execution: dict[str, object]) -> None:
    if Path("broken.txt").read_text():
        raise OSError("the bank is closed")
    say("refund", prompt, "because", execution["reason"])

@agents.agent("mail")
async def mail(execution: dict[str, object]) -> None:
    say("mail", execution["state"])
"""
SALE = """
name: sale
hooks: {onSuccess: {agent: mail}, onCancel: {agent: mail}}
steps:
  - key: charge
    agent: bank
    prompt: '{{card}}'
    compensate: {agent: refund, prompt: 'charge {{charge.id}}'}
  - {key: night, sleep: 3d, dependencies: [charge], when: 'inputs.waits'}
"""


@pytest.fixture(autouse=True)
def _shop() -> None:
    Path("shop.py").write_text(AGENTS)
    Path("sale.yaml").write_text(SALE)
    Path("broken.txt").write_text("")
    Path("world.txt").write_text("")


def sell(*, waits: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Run it: to its end, or until it waits for three days."""
    leave = ["--timeout", "1"] if waits else []
    card = ["-i", "card=visa", "-i", f"waits={str(waits).lower()}"]
    code = run_command(["run", "sale.yaml", "--agents", "shop.py:agents", *card, *leave])
    assert code == (124 if waits else 0)
    capsys.readouterr()


def world() -> list[str]:
    """What was done."""
    return Path("world.txt").read_text().splitlines()


def test_a_rollback_undoes_what_has_ended_and_status_shows_it_apart(capsys: pytest.CaptureFixture[str]):
    """With the agents it was started with."""
    sell(waits=False, capsys=capsys)
    assert run_command(["rollback", "@last", "--reason", "recalled", "--by", "ann"]) == 0
    assert capsys.readouterr().out.startswith("↶ rolled_back  ")
    assert world() == [
        "charge visa",
        "mail completed",
        "refund charge 7 because recalled",
        "mail rolled_back",
    ]
    assert run_command(["status", "@last"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"undone because +recalled", text)
    table = [re.sub(r"\s+", " ", line).strip() for line in text.partition("\n\n")[2].splitlines()]
    assert [re.sub(r" 1 (now|\d+ s ago).*", "", line) for line in table] == [
        "LEVEL STEP STATE ATTEMPT STARTED TOOK NOTE",
        "1 charge ↶ compensated",
        "2 night ↷ skipped – – – its condition was false: inputs.waits",
        "",
        "BESIDE THE GRAPH STATE ATTEMPT STARTED TOOK NOTE",
        "charge.compensate ✔ completed",
        "hooks.onCancel ✔ completed",
    ]
    assert run_command(["retry", "@last"]) == 5
    assert "start it again" in capsys.readouterr().err


def test_what_could_not_be_undone_is_named_and_another_rollback_goes_on(capsys: pytest.CaptureFixture[str]):
    """Its code says that it has failed."""
    sell(waits=False, capsys=capsys)
    Path("broken.txt").write_text("yes")
    assert run_command(["rollback", "@last", "--reason", "recalled"]) == 10
    assert "could not be undone: charge (OSError: the bank is closed)" in capsys.readouterr().err
    assert run_command(["status", "@last"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"to be undone +because recalled\n", text)
    assert re.search(r"error +RollbackFailed: could not be undone: charge \(OSError: the bank is", text)
    assert "undone because" not in text
    Path("broken.txt").write_text("")
    assert run_command(["rollback", "@last", "--reason", "recalled again"]) == 0
    assert "refund charge 7 because recalled again" in world()


def test_a_cancel_performs_the_hooks_it_leads_to_and_undoes_where_it_says_so(
    capsys: pytest.CaptureFixture[str],
):
    """Of an execution that nobody has."""
    sell(waits=True, capsys=capsys)
    assert run_command(["cancel", "@last", "--reason", "enough"]) == 0
    assert capsys.readouterr().out.startswith("⊘ cancelled  ")
    assert world() == ["charge visa", "mail cancelled"]
    sell(waits=True, capsys=capsys)
    assert run_command(["cancel", "@last", "--compensate", "--format", "json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["state"], summary["rollback_reason"]) == ("rolled_back", "no reason was given")
    assert world()[3:] == ["refund charge 7 because no reason was given", "mail rolled_back"]


def test_what_is_told_is_of_the_execution_that_was_meant_when_it_was_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Another one may have become the last meanwhile."""
    sell(waits=True, capsys=capsys)

    async def sell_another(session: Session, _id: str) -> None:
        async with session.runtime("client") as runtime:
            await runtime.start("sale", {"card": "visa", "waits": True}, detach=True)

    monkeypatch.setattr(stop, "tell_undelivered", sell_another)
    assert run_command(["cancel", "@last"]) == 0
    assert capsys.readouterr().out.startswith("⊘ cancelled  ")


def test_what_has_nothing_to_undo_is_refused(capsys: pytest.CaptureFixture[str]):
    """With the reason, and the code of what is not allowed."""
    Path("plain.yaml").write_text("{name: plain, steps: [{key: a, sleep: 1ms}]}")
    assert run_command(["run", "plain.yaml"]) == 0
    assert run_command(["rollback", "@last"]) == 5
    assert "nothing that it has completed itself has a compensation" in capsys.readouterr().err
