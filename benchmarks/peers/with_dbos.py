"""DBOS as shipped: async workflows and steps; SQLite, or PostgreSQL when asked for as `--postgres`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

IS_POSTGRES = "--postgres" in sys.argv
if IS_POSTGRES:
    sys.argv.remove("--postgres")
else:
    import pysqlite3  # DBOS needs SQLite 3.42

    sys.modules["sqlite3"] = pysqlite3

from adapter import body, main  # noqa: E402
from dbos import DBOS  # noqa: E402


@DBOS.step()
async def noop() -> dict[str, int]:
    """The shared body."""
    return body()


@DBOS.workflow()
async def chain(length: int) -> None:
    """Steps one after the other."""
    for _ in range(length):
        await noop()


@DBOS.workflow()
async def fan(width: int) -> None:
    """Steps beside each other, in the order that makes them replay."""
    await asyncio.gather(*(noop() for _ in range(width)))


class Engine:
    """Workflows are called directly, the fastest way DBOS has."""

    async def run_chain(self, length: int) -> Any:
        """One execution."""
        return await chain(length)

    async def run_fan(self, width: int) -> Any:
        """One execution."""
        return await fan(width)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Engine]:
    """DBOS launched on an empty database."""
    url = f"sqlite:///{folder / 'dbos.sqlite'}"
    if IS_POSTGRES:
        from postgres import served  # noqa: PLC0415  only its environment has a server

        url = served(folder)
    DBOS(
        config={
            "name": "benchmark",
            "system_database_url": url,
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    try:
        yield Engine()
    finally:
        DBOS.destroy()


main(opened)
