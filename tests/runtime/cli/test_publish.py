"""Workflow files are made known to a database from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure.runtime.cli import run_command

pytestmark = pytest.mark.integration

CHILD = "name: nap\nversion: '1'\nsteps: [{key: nap, sleep: 1}]\n"
PARENT = "name: day\nsteps: [{key: nap, workflow: {name: nap}}]\n"


def test_a_published_workflow_is_there_for_a_step_to_start(capsys: pytest.CaptureFixture[str]):
    """The database is made where there is none, and nothing is started."""
    Path("nap.yaml").write_text(CHILD)
    Path("day.yaml").write_text(PARENT)
    assert run_command(["publish", "nap.yaml", "day.yaml"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows] == [["WORKFLOW", "VERSION"], ["nap", "1"], ["day", "–"]]
    assert run_command(["list", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert run_command(["run", "day.yaml", "--format", "json"]) == 0


def test_the_same_name_again_is_another_version(capsys: pytest.CaptureFixture[str]):
    """The one before stays, and can be made active again."""
    Path("nap.yaml").write_text(CHILD)
    assert run_command(["publish", "nap.yaml"]) == 0
    Path("nap.yaml").write_text(CHILD.replace("'1'", "'2'"))
    assert run_command(["publish", "nap.yaml", "--format", "jsonl"]) == 0
    published = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (published["name"], published["version"], published["is_active"]) == ("nap", "2", True)
    assert run_command(["activate", "nap", "1"]) == 0


def test_nothing_is_published_where_one_file_is_wrong(capsys: pytest.CaptureFixture[str]):
    """Neither is a database made."""
    Path("nap.yaml").write_text(CHILD)
    Path("bad.yaml").write_text("name: bad\nsteps: []\n")
    assert run_command(["publish", "nap.yaml", "bad.yaml"]) == 4
    assert "bad.yaml:2:8" in capsys.readouterr().err
    assert not Path("perdure.db").exists()
