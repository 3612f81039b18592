"""What a command's coroutine runs under."""

from __future__ import annotations

import gc

import pytest

from perdure.runtime.cli import run_command
from perdure.runtime.cli.options import Reading
from perdure.runtime.cli.session import GARBAGE, open_session, run_async

URL = "postgresql://ann:s3cret@db.example.org/orders"


def test_a_password_is_in_nothing_that_is_said(capsys: pytest.CaptureFixture[str]):
    """Neither in the command that goes on, which people paste into tickets, nor in a refusal."""
    command = open_session(Reading(db=URL)).command("resume", "o-1")
    assert command == "perdure resume o-1 --db postgresql://ann@db.example.org/orders"
    assert run_command(["prune", "--vacuum", "--db", URL]) == 2
    assert "postgresql://ann@db.example.org/orders has an autovacuum" in capsys.readouterr().err


@pytest.mark.parametrize(("is_fast", "is_patient"), [(True, True), (False, False)])
def test_a_command_that_performs_is_patient_with_garbage(*, is_fast: bool, is_patient: bool):
    """As long as it runs: whoever called it in a process of theirs finds the collector as it was."""
    before = gc.get_threshold()

    async def main() -> int:
        return gc.get_threshold()[0]

    young = run_async(main, is_fast=is_fast)

    assert (young == GARBAGE[0]) is is_patient
    assert gc.get_threshold() == before


def test_the_garbage_is_looked_for_as_before_after_a_command_that_fails():
    """Its error goes on as it is."""
    before = gc.get_threshold()

    async def main() -> int:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        run_async(main, is_fast=True)
    assert gc.get_threshold() == before
