"""The command line from outside: real processes, real signals, real time."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

from perdure.runtime import Runtime

pytestmark = pytest.mark.e2e


def test_run_prints_the_result_as_one_json_document_and_progress_on_stderr(terminal):
    """What goes to stdout can be piped into a program."""
    process = terminal.start(*terminal.relay("--format", "json"))
    out, err = process.communicate(timeout=terminal.patience_s)
    assert process.returncode == 0, err
    result = json.loads(out)
    assert result["status"] == "completed"
    assert result["outputs"] == {"first": "first go", "second": "second", "third": "third second"}
    assert "third: completed" in err


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_leaves_changes_neither_the_run_nor_its_code(terminal, stream):
    """As `| head` does: what cannot be told any more is not told."""
    process = terminal.start(*terminal.relay())
    getattr(process, stream).close()
    setattr(process, stream, None)
    process.communicate(timeout=terminal.patience_s)
    assert process.returncode == 0
    (listed,) = json.loads(terminal.run("list", "--format", "json"))
    assert listed["status"] == "completed"


def test_what_was_run_can_be_looked_at(terminal):
    """Every reading command prints records for programs and a table for people."""
    terminal.run(*terminal.relay())
    terminal.run("checkpoint", "@last", "--label", "x", expect=5)
    (listed,) = json.loads(terminal.run("list", "--format", "json"))
    assert (listed["workflow"], listed["status"]) == ("relay", "completed")
    assert terminal.run("list", "-q").strip() == listed["id"]
    assert "✔ completed" in terminal.run("history", "--last", "1h")
    assert (
        json.loads(terminal.run("status", "relay@last", "--format", "json"))["execution"]["id"]
        == listed["id"]
    )
    assert "third" in terminal.run("status", listed["id"][:8])
    types = [
        json.loads(line)["type"] for line in terminal.run("events", "@last", "--format", "jsonl").splitlines()
    ]
    assert types[0] == "workflow_started"
    assert types[-1] == "workflow_completed"
    assert json.loads(terminal.run("checkpoints", "@last", "--format", "json"))
    assert terminal.run("history", "--status", "failed", "-q") == ""


def test_looking_at_nothing_says_so_and_makes_nothing(terminal):
    """A missing database is not made by looking for it; an unknown id is not found."""
    terminal.run("list", expect=6)
    assert not (terminal.folder / "perdure.db").exists()
    terminal.run(*terminal.relay())
    terminal.run("status", "ffffffff", expect=3)
    terminal.run("status", "other@last", expect=3)
    terminal.run("cancel", "", expect=2)


def test_a_failed_execution_exits_10_and_retry_runs_only_what_failed(terminal):
    """The repaired world is enough; nothing that was recorded runs again."""
    (terminal.folder / "broken").touch()
    terminal.run(*terminal.relay(), expect=10)
    (terminal.folder / "broken").unlink()
    terminal.run("retry", "@last")
    assert terminal.ledger == ["first go", "first go", "begin second", "end second", "third second"]


def test_after_kill_minus_nine_resume_goes_on_without_repeating_recorded_steps(terminal):
    """Same trace, right answer, the recorded step once, the one in flight again."""
    terminal.be_slow(60)
    process = terminal.start(*terminal.relay("--trace-id", "feedfacefeedfacefeedfacefeedface"))
    terminal.wait_until(lambda: "begin second" in terminal.ledger)
    assert f"run {process.pid} on " in terminal.run("status", "@last")
    process.kill()
    process.wait()
    assert re.search(r"performed by +nobody; go on with: perdure resume \S+", terminal.run("status", "@last"))
    terminal.be_slow(0.01)
    result = json.loads(terminal.run("resume", "@last", "--format", "json"))
    assert result["outputs"]["third"] == "third second"
    assert terminal.ledger == ["first go", "begin second", "begin second", "end second", "third second"]
    events = terminal.run("events", "@last", "--format", "jsonl").splitlines()
    assert {json.loads(event)["trace_id"] for event in events} == {"feedfacefeedfacefeedfacefeedface"}


def test_ctrl_c_pauses_durably_and_exits_13_and_resume_goes_on(terminal):
    """The step in flight is interrupted and starts again; the command to go on is printed."""
    terminal.be_slow(60)
    process = terminal.start(*terminal.relay())
    terminal.wait_until(lambda: "begin second" in terminal.ledger)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=terminal.patience_s)
    assert process.returncode == 13, err
    (command,) = re.findall(r"perdure (resume \S+)", err)
    assert json.loads(terminal.run("list", "--format", "json"))[0]["status"] == "paused"
    terminal.be_slow(0.01)
    terminal.run(*command.split())
    assert terminal.ledger[-2:] == ["end second", "third second"]


def test_a_second_ctrl_c_leaves_at_once_with_130(terminal):
    """Whoever is in a hurry need not wait for the pause; the log still has all that was recorded."""
    terminal.be_slow(60)
    process = terminal.start(*terminal.relay())
    terminal.wait_until(lambda: "begin second" in terminal.ledger)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    for line in process.stderr:
        if "Ctrl-C again" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=terminal.patience_s)
    assert process.returncode == 130
    terminal.be_slow(0.01)
    terminal.run("resume", "@last")
    assert terminal.ledger[0] == "first go"
    assert terminal.ledger.count("first go") == 1


def test_timeout_of_the_command_pauses_and_exits_124(terminal):
    """The command's patience is not the execution's deadline."""
    terminal.be_slow(60)
    terminal.run(*terminal.relay("--timeout", "1"), expect=124)
    assert "paused" in terminal.run("status", "@last")


def test_a_deadline_fails_the_execution_and_exits_12(terminal):
    """The execution itself timed out."""
    terminal.be_slow(60)
    terminal.run(*terminal.relay("--deadline", "0.5"), expect=12)


def test_a_second_terminal_pauses_resumes_signals_and_cancels_the_running_process(terminal):
    """Commands reach the process that runs; it exits as the execution ends."""
    terminal.be_slow(60)
    process = terminal.start(*terminal.relay())
    terminal.wait_until(lambda: "begin second" in terminal.ledger)
    assert "paused" in terminal.run("pause", "@last", "--interrupt", "--by", "ada")
    assert process.poll() is None
    terminal.run("signal", "@last", "hello", "--data", "[1]")
    terminal.run("checkpoint", "@last", "--label", "here")
    assert json.loads(terminal.run("checkpoints", "@last", "--format", "json"))[0]["label"] == "here"
    terminal.run("resume", "@last")
    terminal.wait_until(lambda: terminal.ledger.count("begin second") == 2)
    terminal.run("cancel", "@last", "--reason", "enough")
    _, err = process.communicate(timeout=terminal.patience_s)
    assert process.returncode == 11, err
    assert re.search(r"paused by ada; still waiting here; go on with: perdure resume \S+", err)
    terminal.run("pause", "@last", expect=5)


async def test_a_command_from_another_process_is_applied_within_100_ms(terminal):
    """Measured around the call, with the other process at rest in a step; best of five."""
    terminal.be_slow(60)
    terminal.start(*terminal.relay())
    terminal.wait_until(lambda: "begin second" in terminal.ledger)
    took = []
    async with Runtime(terminal.folder / "perdure.db", kind="client") as runtime:
        execution = await runtime.execution(await runtime.find("@last"))
        for _ in range(5):
            begun = time.perf_counter()
            await execution.pause(mode="interrupt")
            took.append(time.perf_counter() - begun)
            await execution.resume()
        await execution.cancel()
    assert min(took) < 0.1, took


def test_detach_prints_the_id_and_a_worker_carries_it_out(terminal):
    """The worker is started once and stops on SIGTERM in good order."""
    terminal.start("worker", "--agents", "agents.py:agents", stderr=subprocess.DEVNULL)
    terminal.wait_until((terminal.folder / "perdure.db").exists)
    terminal.wait_until(lambda: any((terminal.folder / "perdure.db.runners").glob("*.lock")))
    id_ = terminal.run(*terminal.relay("--detach")).strip()
    terminal.wait_until(lambda: terminal.ledger and terminal.ledger[-1] == "third second")
    terminal.wait_until(lambda: "completed" in terminal.run("status", id_))
    worker = terminal._open[0]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(terminal.patience_s) == 0


def test_detach_starts_a_worker_where_none_is_alive(terminal):
    """It outlives the command that started it; its words are beside the database."""
    process = terminal.start(*terminal.relay("--detach"))
    out, err = process.communicate(timeout=terminal.patience_s)
    assert process.returncode == 0, err
    (pid,) = re.findall(r"new worker, process (\d+)", err)
    try:
        terminal.wait_until(lambda: "completed" in terminal.run("status", out.strip()))
        assert (terminal.folder / "perdure.db.worker.log").exists()
    finally:
        os.kill(int(pid), signal.SIGTERM)


def test_a_worker_performs_steps_that_are_python_functions_of_its_folder(terminal):
    """A workflow written in Python and started elsewhere; the worker leaves when there is no more to do."""
    (terminal.folder / "flow.py").write_text(
        "from perdure.runtime import Workflow\n\norder = Workflow('order')\n\n\n"
        "@order.step\nasync def ship(item: str) -> str:\n    return 'shipped ' + item\n"
    )
    program = (
        "import asyncio\nimport flow\nfrom perdure.runtime import Runtime\n\n\nasync def main():\n"
        "    async with Runtime('perdure.db', kind='client') as runtime:\n"
        "        await runtime.start(flow.order, {'item': 'lamp'}, id='lamp-1', detach=True)\n\n\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=terminal.folder, check=True)
    terminal.run("worker", "--idle-exit", "0.3")
    assert (
        json.loads(terminal.run("status", "lamp-1", "--format", "json"))["execution"]["status"] == "completed"
    )


def test_on_a_terminal_the_tree_is_drawn_and_the_cursor_comes_back(terminal):
    """The picture has levels, steps and the end; the terminal is left in order."""
    leader, follower = pty.openpty()
    process = terminal.start(*terminal.relay(), stderr=follower, stdin=subprocess.DEVNULL)
    os.close(follower)
    seen = b""
    while True:
        try:
            chunk = os.read(leader, 65_536)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    os.close(leader)
    process.communicate(timeout=terminal.patience_s)
    text = seen.decode()
    picture = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert process.returncode == 0, text
    assert "└─ level 3  1/1" in picture
    assert "✔ third   completed" in picture
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_validate_prints_every_problem_with_its_line_and_a_caret(terminal):
    """All problems at once, exit 4; a sound file beside it is called valid."""
    bad = (
        "name: bad\nsteps:\n  - key: a\n    agnt: note\n  - key: b\n    agent: note\n    dependencies: [z]\n"
    )
    (terminal.folder / "bad.yaml").write_text(bad)
    out = terminal.run("validate", "relay.yaml", "bad.yaml", expect=4)
    assert "relay.yaml" in out
    assert "bad.yaml:4:5" in out
    assert "^" in out
    assert "'z'" in out
    reports = json.loads(terminal.run("validate", "relay.yaml", "bad.yaml", "--format", "json", expect=4))
    assert [bool(report["problems"]) for report in reports] == [False, True]


def test_graph_and_agents_describe_what_is_there(terminal):
    """Levels, needs, and where agents are."""
    assert "level 3" in terminal.run("graph", "relay.yaml")
    assert "-->" in terminal.run("graph", "relay.yaml", "--as", "mermaid")
    listed = json.loads(terminal.run("agents", "--agents", "agents.py:agents", "--format", "json"))
    assert [(agent["name"], agent["capabilities"]) for agent in listed] == [
        ("note", ["writing"]),
        ("slow", []),
    ]


@pytest.mark.parametrize(
    ("tokens", "code"),
    [
        (("run", "missing.yaml"), 4),
        (("run", "relay.yaml", "-i", "word=x"), 4),
        (("run", "relay.yaml", "--agents", "agents.py:agents"), 2),
        (("run", "relay.yaml", "--agents", "nowhere.py:agents"), 4),
        (("resume", "@last"), 6),
    ],
)
def test_what_cannot_be_done_is_one_screen_and_a_code(terminal, tokens: tuple[str, ...], code: int):
    """No file, no agents, no input, no registry, no database: never a traceback."""
    terminal.run(*tokens, expect=code)
