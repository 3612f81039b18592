"""`run` with an id: the same id again joins the same execution, and never another workflow's."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.runtime.cli import run_command
from perdure.runtime.cli.run import absolute_agents

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


def test_agents_are_found_from_any_folder(monkeypatch: pytest.MonkeyPatch):
    """Whoever goes on with an execution may stand elsewhere."""
    here = Path.cwd()
    monkeypatch.setenv("HOME", str(here / "home"))
    assert absolute_agents("agents.py:registry") == f"{here.resolve()}/agents.py:registry"
    assert absolute_agents("~/agents.py") == f"{here.resolve()}/home/agents.py"
    assert absolute_agents("shop.agents:registry") == "shop.agents:registry"


def test_a_trace_that_cannot_be_is_told_by_where_it_was_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Who has given no option looks for none."""
    Path("nap.yaml").write_text("name: nap\nsteps: [{key: rest, sleep: 1}]\n")
    assert run_command(["run", "nap.yaml", "--trace-id", "x" * 200]) == 2
    assert capsys.readouterr().err.startswith("perdure: --trace-id: ")
    monkeypatch.setenv("TRACEPARENT", "x" * 200)
    assert run_command(["run", "nap.yaml"]) == 2
    assert capsys.readouterr().err.startswith("perdure: TRACEPARENT: ")
