"""A process is killed between the commit and the call: a real server hears of it all the same, signed."""

from __future__ import annotations

import http.server
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.runtime.webhooks import verify

pytestmark = pytest.mark.e2e

KEY = "whsec_c2VjcmV0"
PROGRAM = """
import asyncio, os, signal, sys
from perdure.runtime import Runtime, Workflow

work = Workflow("work", webhooks=[{"url": sys.argv[1], "events": ["completed"], "secret": "HOOK_KEY"}])

@work.step
async def only() -> str:
    return "done"

async def first() -> None:
    async with Runtime("perdure.db") as runtime:
        await (await runtime.start(work, {}, id="e1")).result()
        os.kill(os.getpid(), signal.SIGKILL)  # it is committed, and nobody has been told

async def second() -> None:
    async with Runtime("perdure.db", workflows=[work]) as runtime:
        while await runtime.webhooks.list(state="pending"):
            await asyncio.sleep(0.05)

asyncio.run({"first": first, "second": second}[sys.argv[2]]())
"""


class Listener(http.server.BaseHTTPRequestHandler):
    """Remembers what it is told; the first call is answered with 503."""

    def do_POST(self) -> None:
        """Take one call."""
        body = self.rfile.read(int(self.headers["content-length"]))
        calls: list[tuple[dict[str, str], bytes]] = self.server.calls  # type: ignore[attr-defined]
        calls.append((dict(self.headers), body))
        self.send_response(503 if len(calls) == 1 else 204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    """Somebody who listens."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    server.calls = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(sys.platform == "win32", reason="kills processes with signals")
def test_what_was_committed_is_told_after_a_kill_and_again_until_it_is_heard(
    tmp_path: Path, server: http.server.ThreadingHTTPServer
):
    """At least once, always under the same id, and nobody else could have said it."""
    (tmp_path / "program.py").write_text(PROGRAM)
    url = f"http://127.0.0.1:{server.server_port}/hook?from=perdure"

    def run(part: str) -> int:
        command = [sys.executable, "program.py", url, part]
        environment = {"HOOK_KEY": KEY, "PATH": ""}
        return subprocess.run(command, cwd=tmp_path, env=environment, timeout=60, check=False).returncode

    calls: list[tuple[dict[str, str], bytes]] = server.calls  # type: ignore[attr-defined]
    assert run("first") == -signal.SIGKILL
    assert calls == []
    assert run("second") == 0
    assert len(calls) == 2
    ids = {verify(body, headers, key=KEY, now=time.time()) for headers, body in calls}
    told = json.loads(calls[-1][1])
    assert ids == {f"e1:{told['version']}:0"}
    assert (told["event"], told["execution"], told["state"]) == ("completed", "e1", "completed")
