"""What authors of workflows ask: is it valid, what does it look like, which agents are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure.runtime.cli import run_command

GOOD = """\
name: review
version: "2"
steps:
  - {key: parse, agent: note, prompt: "{{path}}"}
  - {key: scan, agent: note, dependencies: [parse]}
  - {key: style, agent: note, dependencies: [parse], optional: true}
"""
BAD = """\
name: bad
steps:
  - key: a
    agnt: note
  - key: b
    agent: note
    dependencies: [z]
"""
TAKING = """\
name: taking
version: "2"
description: Count lines
inputs:
  required: [path]
  properties:
    path: {type: string, description: the file}
    limit: {type: integer, default: 100}
    mode: {enum: [fast, slow]}
outputs: {lines: "{{wait}}"}
steps:
  - {key: wait, sleep: 1}
"""
GATED = """\
name: gated
inputs: {properties: {path: {type: string}}}
outputs: {path: "{{path}}"}
steps:
  - {key: open, gate: {criteria: [{when: "inputs.path != 'no'", reason: nobody may}]}}
"""
AGENTS = """\
from perdure.runtime import Agents

agents = Agents()


@agents.agent("note", capabilities={"writing", "reading"})
async def note() -> None: ...


@agents.agent("other")
def other() -> None: ...
"""


@pytest.fixture(autouse=True)
def _files() -> None:
    Path("good.yaml").write_text(GOOD)
    Path("bad.yaml").write_text(BAD)
    Path("agents.py").write_text(AGENTS)


def test_a_sound_file_is_called_valid(capsys: pytest.CaptureFixture[str]):
    """With its name and its shape."""
    assert run_command(["validate", "good.yaml"]) == 0
    assert capsys.readouterr().out == "✔ valid  good.yaml  review: 3 steps, 2 levels\n"


def test_one_step_is_no_steps(capsys: pytest.CaptureFixture[str]):
    """Nor is one level levels."""
    Path("one.yaml").write_text("{name: one, steps: [{key: a, agent: writer}]}")
    assert run_command(["validate", "one.yaml"]) == 0
    assert capsys.readouterr().out == "✔ valid  one.yaml  one: 1 step, 1 level\n"


def test_every_problem_stands_under_its_line_with_a_caret(capsys: pytest.CaptureFixture[str]):
    """All problems of all files at once, and exit code 4."""
    assert run_command(["validate", "good.yaml", "bad.yaml"]) == 4
    lines = capsys.readouterr().out.splitlines()
    found = next(number for number, line in enumerate(lines) if "agnt" in line)
    assert lines[found].startswith("bad.yaml:4:5: ")
    assert lines[found + 1] == "    4 │     agnt: note"
    assert lines[found + 2].index("^") == lines[found + 1].index("agnt")
    assert any("'z'" in line for line in lines)


def test_validation_for_programs_is_one_report_for_each_file(capsys: pytest.CaptureFixture[str]):
    """Problems keep their fields."""
    run_command(["validate", "good.yaml", "bad.yaml", "missing.yaml", "--format", "jsonl"])
    good, bad, missing = map(json.loads, capsys.readouterr().out.splitlines())
    assert (good["name"], good["problems"]) == ("review", [])
    assert {problem["line"] for problem in bad["problems"]} >= {4, 7}
    assert missing["problems"]


def test_agents_that_do_not_exist_are_problems_when_agents_are_named(capsys: pytest.CaptureFixture[str]):
    """With the nearest name."""
    Path("typo.yaml").write_text(GOOD.replace("agent: note, dep", "agent: noet, dep"))
    assert run_command(["validate", "typo.yaml"]) == 0
    assert run_command(["validate", "typo.yaml", "--agents", "agents.py:agents"]) == 4
    told = capsys.readouterr().out
    assert "'note'" in told
    assert "\ntypo.yaml:5:24: steps[1].agent: " in told


def test_the_graph_shows_levels_needs_and_options(capsys: pytest.CaptureFixture[str]):
    """For people to read."""
    assert run_command(["graph", "good.yaml"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "review: 3 steps, 2 levels",
        "├─ level 1",
        "│    parse  note",
        "└─ level 2",
        "     scan   note  ← parse",
        "     style  note  ← parse  (optional)",
    ]


def test_the_graph_as_mermaid_has_every_step_and_arrow(capsys: pytest.CaptureFixture[str]):
    """For documents; markup in names is harmless."""
    assert run_command(["graph", "good.yaml", "--as", "mermaid"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "flowchart TD",
        '  s0["parse"]',
        '  s1["scan"]',
        '  s2["style"]',
        "  s0 --> s1",
        "  s0 --> s2",
    ]


def test_the_graph_of_an_invalid_file_is_its_problems(capsys: pytest.CaptureFixture[str]):
    """Exit code 4, nothing on stdout."""
    assert run_command(["graph", "bad.yaml"]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "bad.yaml:4:5" in captured.err


def test_agents_are_listed_with_where_they_run_and_what_they_can(capsys: pytest.CaptureFixture[str]):
    """From a file or from a variable."""
    assert run_command(["agents", "--agents", "agents.py:agents", "--format", "json"]) == 0
    note, other = json.loads(capsys.readouterr().out)
    assert (note["name"], note["mode"], note["capabilities"]) == ("note", "async", ["reading", "writing"])
    assert (other["name"], other["mode"], other["capabilities"]) == ("other", "thread", [])
    assert note["where"].endswith(":7") or "agents" in note["where"]


def test_a_registry_that_cannot_be_loaded_is_one_readable_error(capsys: pytest.CaptureFixture[str]):
    """No such file, no such name, or broken code."""
    Path("broken.py").write_text("1 / 0\n")
    for spec in ("nowhere.py:agents", "agents.py:nothing", "broken.py:agents", "no.such.module:agents"):
        assert run_command(["agents", "--agents", spec]) == 4, spec
        captured = capsys.readouterr()
        assert spec.split(":")[0] in captured.err
        assert "Traceback" not in captured.err


def test_a_workflow_tells_what_it_takes_gives_back_and_how_it_is_run(capsys: pytest.CaptureFixture[str]):
    """From its declared inputs and outputs; programs get the same."""
    Path("taking.yaml").write_text(TAKING)
    assert run_command(["describe", "taking.yaml"]) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "taking 2: Count lines",
        "",
        "INPUT  TYPE                   DEFAULT   MEANING",
        "path   string                 required  the file",
        "limit  integer                100",
        'mode   one of "fast", "slow"  –',
        "",
        "OUTPUT  VALUE",
        "lines   {{wait}}",
        "",
        "run it with: perdure run taking.yaml -i path=PATH",
    ]
    Path("any.yaml").write_text(TAKING.replace("path", "any path"))
    assert run_command(["describe", "any.yaml"]) == 0
    assert "run it with: perdure run any.yaml -i 'any path=ANY PATH'" in capsys.readouterr().out
    assert run_command(["describe", "taking.yaml", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["required"]) for row in told["inputs"]] == [
        ("path", True),
        ("limit", False),
        ("mode", False),
    ]


def test_inputs_of_the_command_line_are_of_their_declared_types(capsys: pytest.CaptureFixture[str]):
    """A path that looks like a number is text; what does not fit is told, and nothing runs."""
    Path("taking.yaml").write_text(TAKING)
    assert run_command(["run", "taking.yaml", "-i", "path=12", "--format", "json"]) == 0
    capsys.readouterr()
    assert run_command(["run", "taking.yaml", "-i", "pth=12", "-i", "limit=x"]) == 2
    assert capsys.readouterr().err == (
        'perdure: input \'limit\': "x" is not of type "integer"\n'
        "  input 'path' is missing: string, the file (is 'pth' meant to be it?)\n"
    )


def test_inputs_of_a_retry_and_a_fork_are_of_their_declared_types(capsys: pytest.CaptureFixture[str]):
    """As those of the run were; nobody checks them later."""
    Path("gated.yaml").write_text(GATED)
    assert run_command(["run", "gated.yaml", "-i", "path=no"]) == 10
    for command in (
        ["retry", "@last", "-i", "path=12"],
        ["fork", "@last", "--from", "open", "-e", "path=12"],
    ):
        capsys.readouterr()
        assert run_command([*command, "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["outputs"] == {"path": "12"}
    assert run_command(["retry", "@last", "-i", "path"]) == 2
