"""What a command's coroutine runs under."""

from __future__ import annotations

import gc

import pytest

from perdure.runtime.cli.session import GARBAGE, run_async


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
