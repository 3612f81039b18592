"""What a runtime tells of its store as a whole, and does for it: statistics, backups, pruning."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from pathlib import Path

from perdure.runtime import arguments
from perdure.runtime.durations import duration_ms
from perdure.runtime.upkeep import Upkeep
from perdure.store import SQLiteStore
from perdure.store.errors import StoreError
from perdure.store.protocol import Store
from perdure.store.records import WorkflowStatistics
from perdure.store.scripts.faring import ErrorStatistics, StepStatistics
from perdure.store.scripts.search import SearchResult
from perdure.store.sqlite.backup import Backup


class Keeping(ABC):
    """The part of a runtime that is about what is kept, and not about what is going on."""

    store: Store
    _upkeep: Upkeep

    @abstractmethod
    def check_open(self) -> None:
        """Raise RuntimeClosed outside the `async with`."""

    async def statistics(
        self, *, workflow: str | None = None, since: datetime | None = None
    ) -> list[WorkflowStatistics]:
        """How the executions of each workflow have fared, those included that were pruned since.

        `since`: only those created since then, and not pruned. So it is with all three.
        """
        self.check_open()
        return await self.store.statistics(workflow=workflow, since=arguments.since(since))

    async def step_statistics(
        self, *, workflow: str | None = None, since: datetime | None = None
    ) -> list[StepStatistics]:
        """How the steps have fared: how often each failed, and what trying again was worth."""
        self.check_open()
        return await self.store.step_statistics(workflow=workflow, since=arguments.since(since))

    async def error_statistics(
        self, *, workflow: str | None = None, since: datetime | None = None, limit: int = 50
    ) -> list[ErrorStatistics]:
        """Which errors there were, the most frequent first."""
        self.check_open()
        arguments.at_least_one(limit, what="limit")
        return await self.store.error_statistics(workflow=workflow, since=arguments.since(since), limit=limit)

    async def search(self, words: str, *, limit: int = 20) -> SearchResult:
        """Workflows and ended executions that have all these words, newest first.

        Words of ids, names, inputs, errors and definitions, in whatever case; `lam*` for a beginning.
        What has ended until now is put into the index first. Raises NotFound for no word at all.
        """
        self.check_open()
        arguments.any_text(words, what="words")
        arguments.at_least_one(limit, what="limit")
        await self._upkeep.index(share=0.0)
        return await self.store.search(words, limit=limit)

    async def prune(self, *, older_than: str | timedelta, keep_failed: bool = False) -> int:
        """Delete executions that ended so long ago (`90d`), with their logs; answers how many.

        In small transactions, while everything goes on. What they tell stays in the statistics.
        Raises InvalidArgument.
        """
        self.check_open()
        before = self._upkeep.now_ms() - duration_ms(older_than, what="older_than")
        return await self._upkeep.prune(before=before, keep_failed=keep_failed)

    async def prunable(self, *, older_than: str | timedelta, keep_failed: bool = False) -> int:
        """How many executions `prune` would delete."""
        self.check_open()
        before = self._upkeep.now_ms() - duration_ms(older_than, what="older_than")
        return await self.store.prunable(before=before, keep_failed=keep_failed)

    async def vacuum(self) -> None:
        """Give the room of what was deleted back to the disk; nobody else can write meanwhile.

        Without it the room is used again by what comes. Raises StoreError for a store that is no file.
        """
        self.check_open()
        await self._file().vacuum()

    async def backup(self, target: str | Path, *, overwrite: bool = False) -> Backup:
        """Copy the store, as of one moment, to a new file, while everything goes on.

        When this returns the copy is checked, on disk and readable by its owner alone; whoever is
        cancelled leaves all of it or nothing. Raises TargetExists unless told to `overwrite`, StoreError
        for a store that is no file: its database has tools of its own.
        """
        self.check_open()
        return await self._file().backup(arguments.place(target, what="target"), overwrite=overwrite)

    def _file(self) -> SQLiteStore:
        """The store as a file. Raises StoreError where it is none."""
        if not isinstance(self.store, SQLiteStore):
            raise StoreError(f"{self.store.location} is no file: use its database's own tools")
        return self.store
