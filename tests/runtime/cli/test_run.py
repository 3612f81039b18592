"""`run` with an id: the same id again joins the same execution, and never another workflow's."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.runtime.cli import run_command

pytestmark = pytest.mark.integration


def test_the_same_id_is_joined_and_that_of_another_workflow_refused(capsys: pytest.CaptureFixture[str]):
    """That it is joined is said only where it is."""
    for name in ("nap", "other"):
        Path(f"{name}.yaml").write_text(f"name: {name}\nsteps: [{{key: rest, sleep: 1}}]\n")
    assert run_command(["run", "nap.yaml", "--id", "lamp-1"]) == 0
    assert "is joined" not in capsys.readouterr().err
    assert run_command(["run", "nap.yaml", "--id", "lamp-1"]) == 0
    assert "lamp-1 is there already and is joined" in capsys.readouterr().err
    assert run_command(["run", "other.yaml", "--id", "lamp-1"]) == 5
    told = capsys.readouterr().err
    assert "is one of workflow 'nap', not of workflow 'other'" in told
    assert "is joined" not in told
