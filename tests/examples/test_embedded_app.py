"""The embedded app starts, pauses, resumes and watches executions over HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytestmark = [pytest.mark.e2e]

FILES = 4
FILE_BYTES = 20_000
SLOW = 50_000  # bytes per second: the reading takes 1.6 s, long enough to be paused in it
WAIT_S = 30  # for any one answer, on a busy machine

Serve = Callable[[], tuple[httpx2.Client, subprocess.Popen[str]]]


@pytest.fixture
def serve(examples: Path, tmp_path: Path) -> Iterator[Serve]:
    """Start the app on a free port, as often as wanted; all are stopped after the test."""
    started: list[subprocess.Popen[str]] = []
    clients: list[httpx2.Client] = []
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number}.bin").write_bytes(bytes([number // 2]) * FILE_BYTES)

    def start() -> tuple[httpx2.Client, subprocess.Popen[str]]:
        command = [sys.executable, str(examples / "embedded_app" / "app.py"), str(folder), "0"]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        started.append(process)
        said = iter(process.stderr.readline, "")
        port = next(found[1] for line in said if (found := re.search(r"running on http://[^:]+:(\d+)", line)))
        clients.append(httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S))
        return clients[-1], process

    yield start
    for client in clients:
        client.close()
    for process in started:
        process.terminate()
        process.communicate(timeout=WAIT_S)


def events(client: httpx2.Client, execution: str, *, until: str, after: int = 0) -> list[dict[str, Any]]:
    """Watch an execution until an event of that type, or a step's start by its key, has come."""
    seen = []
    headers = {"last-event-id": str(after)}
    with client.stream("GET", f"/executions/{execution}/events", headers=headers) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
                if until in (seen[-1]["type"], f"{seen[-1]['type']} {seen[-1]['step']}"):
                    break
    return seen


def begin(client: httpx2.Client, **order: object) -> str:
    """Start an execution and return its id."""
    answer = client.post("/executions", json=order)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_an_execution_is_started_and_finds_the_equal_files(serve):
    """The result names the groups and what they waste."""
    client, _ = serve()
    execution = begin(client)
    result = client.get(f"/executions/{execution}/result").json()
    assert result["status"] == "completed"
    found = result["outputs"]["duplicates"]
    assert [[Path(path).name for path in group] for group in found["groups"]] == [
        ["0.bin", "1.bin"],
        ["2.bin", "3.bin"],
    ]
    assert (found["files"], found["wasted_bytes"]) == (FILES, 2 * FILE_BYTES)
    assert [each["id"] for each in client.get("/executions").json()] == [execution]


def test_an_execution_is_paused_in_the_middle_watched_and_resumed(serve):
    """A watcher that comes back with the last id it saw misses nothing and sees nothing twice."""
    client, _ = serve()
    execution = begin(client, bytesPerSecond=SLOW)
    before = events(client, execution, until="step_started digest")

    paused = client.post(f"/executions/{execution}/pause", params={"mode": "interrupt"}).json()
    assert (paused["status"], paused["steps_completed"]) == ("paused", 1)
    assert client.get(f"/executions/{execution}").json()["steps"]["digest"]["state"] == "pending"

    assert client.post(f"/executions/{execution}/resume").json()["status"] == "running"
    after = events(client, execution, until="workflow_completed", after=before[-1]["id"])
    ids = [each["id"] for each in before + after]
    assert ids == list(range(1, len(ids) + 1))
    assert [each["type"] for each in after][:3] == ["pause_requested", "step_interrupted", "workflow_paused"]
    assert client.get(f"/executions/{execution}/result").json()["status"] == "completed"


def test_an_execution_goes_on_when_the_server_is_stopped_and_started_again(serve):
    """The second server takes up what the first one gave up; the finished step does not run again."""
    client, process = serve()
    execution = begin(client, bytesPerSecond=SLOW)
    events(client, execution, until="step_started digest")
    process.terminate()
    process.communicate(timeout=WAIT_S)

    client, _ = serve()
    assert client.get(f"/executions/{execution}/result").json()["status"] == "completed"
    started = [e["step"] for e in events(client, execution, until="end") if e["type"] == "step_started"]
    assert started.count("catalogue") == 1
    assert started.count("digest") == 2


def test_an_execution_can_be_cancelled(serve):
    """The answer comes when it has happened."""
    client, _ = serve()
    execution = begin(client, bytesPerSecond=SLOW)
    events(client, execution, until="step_started digest")
    assert client.post(f"/executions/{execution}/cancel").json()["status"] == "cancelled"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"folder": "../.."}, 404, "no folder '../..'"),
        ({"speed": 1}, 400, "unknown field `speed`"),
        ({"folder": 1}, 400, "Expected `str`, got `int`"),
    ],
)
def test_a_wrong_order_is_answered_with_what_is_wrong(serve, body, status, message):
    """One line for the client, and no traceback."""
    client, _ = serve()
    answer = client.post("/executions", json=body)
    assert answer.status_code == status
    assert message in answer.json()["message"]


def test_an_unknown_execution_is_not_found(serve):
    """The answer names it."""
    client, _ = serve()
    answer = client.get("/executions/nope")
    assert answer.status_code == 404
    assert answer.json()["message"] == "no execution 'nope'"


def test_what_has_ended_cannot_be_paused(serve):
    """The conflict is told as such."""
    client, _ = serve()
    execution = begin(client)
    client.get(f"/executions/{execution}/result")
    assert client.post(f"/executions/{execution}/pause").status_code == 409
