"""Room for what waits in the store: whether something was left for want of it, and when to look again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from perdure.actors.execution.supervisor import Executions
from perdure.actors.kernel import Alarm, Alarms

SHARE: Final = 8  # when such a part of all that may be hot could become so, a look is worth it at once
DELAY_S: Final = 0.02  # how long less room than that may lie idle before somebody looks whom it is for


class Room:
    """What may become hot in this process, as a sweep sees it."""

    def __init__(self, executions: Executions, alarms: Alarms, ask: Callable[[], None]) -> None:
        """`ask` asks for a sweep."""
        self._executions = executions
        self._alarms = alarms
        self._ask = ask
        self._is_short = False
        self._later: Alarm | None = None

    def forget(self) -> None:
        """A sweep begins: what was left before is about to be seen."""
        self._is_short = False
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def is_there(self, *, beside: int = 0) -> bool:
        """Whether there is room beside so many that are to be taken; where not, something may be left."""
        is_there = self._executions.room > beside
        self._is_short = self._is_short or not is_there
        return is_there

    def use(self) -> None:
        """There may be room again: have taken up what was left for want of it.

        A look for little is put off a little, for more room is to be expected then.
        """
        room = self._executions.room
        if not self._is_short or room == 0:
            return
        if room * SHARE >= self._executions.max_active:
            self._ask()
        elif self._later is None:
            self._later = self._alarms.add(asyncio.get_running_loop().time() + DELAY_S, self._ask)
