"""Stores with something in them that may be changed behind everybody's back, to see that it is told."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from perdure.runtime.testing import Acknowledged, Effect, check_store, run_virtual
from perdure.store import SQLiteStore

TRIGGERS = "workflow_events_never_change", "workflow_events_never_vanish"
INDEXES = "workflow_events_command", "workflow_step_executions_outcome"


class Told:
    """A store, the ledger of its steps and what the client was told."""

    def __init__(self, path: Path) -> None:
        """Nothing has happened yet."""
        self.path = path
        self.ledger: list[Effect] = []
        self.told: list[Acknowledged] = []

    def lie(self, *statements: str) -> None:
        """Change the file behind everybody's back."""
        connection = sqlite3.connect(self.path)
        for trigger in TRIGGERS:
            connection.execute(f"DROP TRIGGER {trigger}")
        for index in INDEXES:
            connection.execute(f"DROP INDEX {index}")
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement
        connection.commit()
        connection.close()

    def ask(self, sql: str) -> Any:
        """The first value of an answer."""
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(sql).fetchone()[0]
        finally:
            connection.close()

    def problems(
        self, *, ledger: Iterable[Effect] | None = None, told: Iterable[Acknowledged] | None = None
    ) -> list[str]:
        """What the checker says."""

        async def look() -> list[str]:
            store = SQLiteStore(str(self.path), inline=True)
            await store.open()
            try:
                return await check_store(
                    store,
                    ledger=self.ledger if ledger is None else ledger,
                    acknowledged=self.told if told is None else told,
                )
            finally:
                await store.close()

        return run_virtual(look)
