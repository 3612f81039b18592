"""The command tree: help costs nothing, mistakes are one screen and an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perdure.runtime.cli import app, run_command
from perdure.runtime.cli.app import COMMANDS
from perdure.runtime.cli.page import PAGE
from perdure.store.errors import StoreError


@pytest.mark.parametrize("tokens", [[], ["--help"], ["-h"], ["help"]])
def test_help_is_printed_to_stdout(tokens: list[str], capsys: pytest.CaptureFixture[str]):
    """Without a command, too."""
    assert run_command(tokens) == 0
    assert capsys.readouterr().out == PAGE


def test_the_page_names_every_command_and_no_other():
    """The ready-made page cannot fall behind the tree."""
    named = {line.split()[0] for line in PAGE.splitlines() if line.startswith("  ") and line[2:3].isalpha()}
    assert named - {"perdure"} == {words.split()[0] for words in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]):
    """Each loads and describes its options."""
    assert run_command([*name.split(), "--help"]) == 0
    assert f"perdure {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_of_help_is_wider_than_the_terminal(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """But for command lines, which are there to be copied."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command([*name.split(), "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("perdure ")] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_every_command(shell: str, capsys: pytest.CaptureFixture[str]):
    """What is printed is for the shell to read, and nothing else is."""
    assert run_command(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#")
    assert [word for words in COMMANDS for word in words.split() if word not in script] == []


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (["completion", "powershell"], "bash"),
        (["lst"], 'Did you mean "list"'),
        (["pause", "x", "--tiemout", "3"], "Did you mean --timeout"),
        (["run"], "FILE"),
        (["config", "--format", "yaml"], "yaml"),
        (["list", "--status", "success"], "known: initiated"),
        (["history", "--last", "soon"], "such as 30s"),
        (["run", "x.yaml", "-i", "oops"], "NAME=VALUE"),
        (["signal", "x", "go", "--data", "{"], "not valid JSON"),
        (["config", "--db", ""], "--db"),
        (["run", "x.yaml", "--timeout", "-1"], "for --timeout: the time is -1.0: give more than 0 seconds"),
        (["webhooks", "waiting"], "nothing is known to do with 'waiting'"),
        (["checkpoint", "prune", "x"], "say which are to go: --keep COUNT, --older-than AGE, or both"),
        (["approve", "x", "ok", "--by", ""], "--by: must not be empty"),
        (["run", "x.yaml", "--deadline", "-1"], "more than 0 seconds"),
        (["pause", "x", "--timeout", "nan"], "as a number"),
        (["list", "--limit", "0"], "1 or more"),
        (["history", "--limit", "-1"], "1 or more"),
        (["checkpoints", "x", "-n", "0"], "1 or more"),
        (["schedule", "next", "x", "-n", "0"], "1 or more"),
        (["agents"], "--agents"),
        (["schedule", "ad"], 'Did you mean "add"'),
        (["schedule", "backfill", "x"], "--from"),
        (["schedule", "add", "x", "w", "--every", "1h", "--overlap", "both"], "queue"),
    ],
)
def test_a_wrong_command_line_exits_2_and_says_what_is_right(
    tokens: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    """Nothing on stdout, one screen on stderr, no traceback."""
    Path("perdure.db").touch()
    assert run_command(tokens) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (["lst"], 'perdure: Unknown command "lst". Did you mean "list"?\ntry: perdure --help\n'),
        (["frobnicate"], 'perdure: Unknown command "frobnicate".\ntry: perdure --help\n'),
        (
            ["--db", "x.db", "list"],
            "perdure: '--db' stands before the command: options come after it\ntry: perdure --help\n",
        ),
        (["schedule", "frob"], 'perdure: Unknown command "frob".\ntry: perdure schedule --help\n'),
        (
            ["pause", "x", "--tiemout", "3"],
            "perdure: Unknown option: --tiemout. Did you mean --timeout?\ntry: perdure pause --help\n",
        ),
    ],
)
def test_a_mistake_leads_to_the_nearest_name_and_the_help_that_fits(
    tokens: list[str], told: str, capsys: pytest.CaptureFixture[str]
):
    """No list that is cut short, and the help of the command at hand."""
    assert run_command(tokens) == 2
    assert capsys.readouterr().err == told


def test_config_prints_every_setting_and_its_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """One table of what is in force and why."""
    monkeypatch.setenv("PERDURE_DB", "other.db")
    assert run_command(["config"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("db"))
    assert line.split()[:3] == ["db", "other.db", "PERDURE_DB"]


def test_colour_is_asked_for_by_option_or_variable_and_refused_by_no_color(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The option wins, then NO_COLOR, then FORCE_COLOR."""
    run_command(["config", "--color", "always"])
    assert "\x1b[" in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    run_command(["config"])
    assert "\x1b[" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    run_command(["config"])
    assert "\x1b[" not in capsys.readouterr().out


@pytest.mark.integration
@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version_import_no_engine_and_no_decoration(word: str):
    """They answer at once because they load next to nothing."""
    heavy = "('anyio', 'msgspec', 'structlog', 'rich', 'cyclopts', 'asyncio', 'sqlite3', 'yaml')"
    program = (
        "import sys\nfrom perdure.runtime.cli import run_command\n"
        f"run_command([{word!r}])\nprint([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"
    assert "perdure" in done.stdout


@pytest.mark.integration
def test_without_the_extra_one_line_says_what_to_install():
    """The bare library has the script but not its libraries."""
    program = (
        "import sys\nsys.modules['cyclopts'] = None\nfrom perdure.runtime.cli import run_command\n"
        "sys.exit(run_command(['list']))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == 'perdure: the command line is an extra: pip install "perdure[cli]"\n'


def test_of_several_errors_that_came_at_once_one_of_ours_is_told(capsys: pytest.CaptureFixture[str]):
    """What went wrong in the group, and not that there was one."""
    inner = ExceptionGroup("tasks", [StoreError("the file was moved"), StoreError("the file was moved")])
    assert app._report(app._first_of_ours(ExceptionGroup("all", [OSError("of it"), inner])), []) == 6
    assert capsys.readouterr().err == "perdure: the file was moved\n"
