"""Writes the store that is kept as test data: a bit of everything, as a release leaves it behind.

`python tests/data/life.py` writes `sqlite-NN.db.gz` and `postgres-NN.sql.gz` beside this file, NN being
the schema's version. Do so once for each version that is released, and never again: what is tested
is that the releases after it can take the file up.
"""

from __future__ import annotations

import asyncio
import gzip
import importlib.util
import sqlite3
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path

from perdure.runtime import Retry, Runtime, Workflow
from perdure.store.sqlite import migrate

HERE = Path(__file__).parent


def order() -> Workflow:
    """A step that fails once, one that waits for a signal, one that comes after it."""
    workflow = Workflow("order", version="1.0", tags=("shop",), description="what a customer has bought")

    @workflow.step(retry=Retry(max_retries=1, delay=0.001))
    async def reserve(item: str) -> str:
        if item == "lamp" and not seen.get(item):
            seen[item] = True
            raise ConnectionError("the warehouse did not answer")
        return f"{item} reserved"

    workflow.signal_step("paid", signal="paid", timeout=timedelta(days=3650), after=reserve)

    @workflow.step(after="paid")
    async def ship(item: str) -> str:
        if item == "brick":
            raise ValueError("too heavy: 40 kg")
        return f"{item} shipped"

    return workflow


seen: dict[str, bool] = {}


async def live(location: str) -> None:
    """One execution of each fate: completed, failed, cancelled, paused, waiting; and a schedule."""
    async with Runtime(location, recover=False) as runtime:
        workflow = order()
        for id_, item in (("done-1", "lamp"), ("failed-1", "brick")):
            execution = await runtime.start(workflow, {"item": item}, id=id_, triggered_by="a-customer")
            await execution.signal("paid", {"cents": 4200})
            await execution.result(check=False)
        cancelled = await runtime.start(workflow, {"item": "chair"}, id="cancelled-1")
        await cancelled.cancel(reason="not wanted any more")
        await cancelled.result(check=False)
        paused = await runtime.start(workflow, {"item": "table"}, id="paused-1")
        await paused.checkpoint(label="before the weekend", by="anna")
        await paused.pause(reason="weekend")
        await paused.signal("early", {"kept": True})
        waiting = await runtime.start(workflow, {"item": "sofa"}, id="waiting-1")
        await waiting.update_context({"note": "call first"})
        await runtime.schedules.add("weekly", workflow="order", every="7d", input={"item": "soap"})


def write_sqlite(folder: Path) -> None:
    """The file as it is."""
    path = folder / "perdure.db"
    seen.clear()
    asyncio.run(live(str(path)))
    connection = sqlite3.connect(path)
    version = migrate.version_of(connection)
    connection.execute("VACUUM")
    connection.close()
    _keep(f"sqlite-{version:02}.db", path.read_bytes())


def write_postgres() -> None:
    """The schema as `pg_dump` writes it, under the name `kept`."""
    spec = importlib.util.spec_from_file_location("postgres", HERE.parent / "postgres.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.Server() as server:
        seen.clear()
        asyncio.run(live(f"{server.url}&schema=kept"))
        program = server._server.bin_path / "pg_dump"
        dumped = subprocess.run(
            [str(program), "--schema=kept", "--no-owner", "--inserts", server.url],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    version = migrate.migrations("perdure.store.postgres")[-1].version
    lines = (line for line in dumped.splitlines() if line and not line.startswith(("--", "\\")))
    _keep(f"postgres-{version:02}.sql", "\n".join(lines).encode())


def _keep(name: str, content: bytes) -> None:
    packed = gzip.compress(content, mtime=0)
    (HERE / f"{name}.gz").write_bytes(packed)
    print(f"{name}.gz: {len(packed):,} bytes")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        write_sqlite(Path(name))
    write_postgres()
