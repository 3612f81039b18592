"""A store whose disk is slow, full, or silent about what became of a commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from random import Random
from typing import Any

import anyio

from perdure.store import SQLiteStore
from perdure.store.errors import OutcomeUnknown, StoreUnavailable
from perdure.store.protocol import Answer
from perdure.store.writes import Write
from simulation.loop import Process


class Fate(Enum):
    """What becomes of a call to the store."""

    WELL = "well"
    SLOW = "slow"
    FAILS = "fails"
    UNKNOWN_DONE = "unknown, and done"
    UNKNOWN_LOST = "unknown, and lost"


class UnreliableStore(SQLiteStore):
    """The real SQL, inline, on a disk that belongs to a seed."""

    def __init__(
        self, path: str, *, process: Process, fate: Callable[[str], Fate], chance: Random, client: bool
    ) -> None:
        """`fate` is asked before each call, with `commit` or `read`."""
        super().__init__(path, durability="process", client=client, inline=True)
        self.commits = 0
        self._process = process
        self._fate = fate
        self._chance = chance
        process.on_death.append(self._writer._link.close)

    async def commit(self, writes: Sequence[Write]) -> list[Answer]:
        """Commit, or do not."""
        self._process.check()
        fate = self._fate("commit")
        if fate is Fate.FAILS:
            raise StoreUnavailable("the simulated disk is full: nothing was written")
        if fate is Fate.UNKNOWN_LOST:
            raise OutcomeUnknown("the simulated disk does not say, and has lost it")
        await self._dawdle(fate)
        answers = await super().commit(writes)
        self.commits += 1
        if fate is Fate.UNKNOWN_DONE:
            raise OutcomeUnknown("the simulated disk does not say, and has it")
        await self._dawdle(fate)
        return answers

    async def _read(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._process.check()
        fate = self._fate("read")
        if fate is Fate.FAILS:
            raise StoreUnavailable("the simulated disk cannot be read")
        await self._dawdle(fate)
        found = await super()._read(function, *args, **kwargs)
        await self._dawdle(fate)
        return found

    async def _dawdle(self, fate: Fate) -> None:
        """Let time pass, in which everybody else goes on and this process may be killed."""
        if fate is Fate.SLOW:
            await anyio.sleep(self._chance.expovariate(1.0))
            self._process.check()
