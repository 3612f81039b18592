"""A disk that is really full: the runtime survives, says so once, and goes on when there is room again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

SIZE = "4m"

LIMITED = '''
"""Runs out of the file size it may write, and is given more after a while."""
import asyncio, json, logging, resource, signal, sys
from pathlib import Path

from perdure.runtime import Runtime, StoreError, Workflow

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
lines = []
handler = logging.Handler()
handler.emit = lambda record: lines.append(record.getMessage().split()[0])
logging.getLogger("perdure.store").addHandler(handler)
logging.getLogger("perdure.executions").addHandler(handler)

work = Workflow("work")

@work.step
async def weigh(n: int) -> str:
    await asyncio.sleep(0.2)
    return "x" * 20_000

@work.step
async def end(weigh: str) -> int:
    return len(weigh)

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def main():
    path = Path(sys.argv[1])
    async with Runtime(path, workflows=[work]) as runtime:
        hot = [await runtime.start(work, {"n": n}) for n in range(10)]
        limit(Path(f"{path}-wal").stat().st_size + 20_000)  # room for one or two of them
        refused = 0
        for n in range(10, 60):
            try:
                hot.append(await runtime.start(work, {"n": n}, id=f"late-{n}"))
            except StoreError:
                refused += 1
            await asyncio.sleep(0.02)
        limit(resource.RLIM_INFINITY)
        async with asyncio.timeout(20):
            ends = [await execution.result() for execution in hot]
        late = [await runtime.start(work, {"n": 99}, id=f"late-{n}") for n in range(10, 60)]
        async with asyncio.timeout(20):
            ends += [await execution.result() for execution in late]
        assert all(end.outputs["end"] == 20_000 for end in ends)
        print(json.dumps({"refused": refused, "lines": lines, "damage": await runtime.store.verify()}))

asyncio.run(main())
'''


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(  # what it says is looked at below
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder],
        capture_output=True,
        check=False,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no disk of a few megabytes can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(disk: Path) -> Path:
    """Leave not a byte."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4_096)):
                pass
        except OSError:
            return filler


def test_a_worker_on_a_full_disk_waits_and_goes_on(disk: Path, terminal):
    """Commands leave with 6 and one screen; what ran is not lost, what was refused never happens."""
    db = ("--db", str(disk / "perdure.db"))
    terminal.run(*terminal.relay(*db))
    terminal.be_slow(1)
    worker = terminal.start("worker", "--agents", "agents.py:agents", *db)
    terminal.wait_until(lambda: any((disk / "perdure.db.runners").glob("*.lock")))
    started = [terminal.run(*terminal.relay("--detach", *db)).strip() for _ in range(3)]
    terminal.wait_until(lambda: terminal.ledger.count("begin second") == 4)
    filler = fill(disk)
    terminal.wait_until(lambda: terminal.ledger.count("end second") == 4)
    for tokens in (terminal.relay(*db), ("pause", started[0], *db), ("cancel", started[0], *db)):
        refused = terminal.start(*tokens)
        out, err = refused.communicate(timeout=terminal.patience_s)
        assert refused.returncode == 6, f"{tokens}: {refused.returncode} {out} {err}"
        assert out == ""
        assert re.search(r"perdure: .*disk is full.*make room", err)
        assert "Traceback" not in err
        assert len(err.splitlines()) < 6
    filler.unlink()
    for execution_id in started:
        terminal.wait_until(lambda id_=execution_id: "completed" in terminal.run("status", id_, *db))
    worker.terminate()
    _, log = worker.communicate(timeout=terminal.patience_s)
    assert terminal.ledger.count("begin second") == 4, "nothing was done twice"
    assert len(re.findall("store_unavailable", log)) == len(re.findall("store_available", log)) == 1
    assert "Traceback" not in log, log
    terminal.run("doctor", *db)


def test_a_program_that_may_write_no_more_goes_on_when_it_may(tmp_path: Path):
    """The limit is met in the middle of commits: an I/O error and no full disk, as a quota may look."""
    program = tmp_path / "limited.py"
    program.write_text(LIMITED)
    done = subprocess.run(
        [sys.executable, program, tmp_path / "store.db"],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["refused"] > 0
    assert found["damage"] == []
    assert found["lines"][0] == "store_unavailable"
    assert found["lines"][-1] == "store_available"
    assert set(found["lines"]) == {"store_unavailable", "store_available"}
