"""How long the other runners have been silent, as far as this process was awake to hear it.

A heartbeat is only ever compared with the one before, never with a clock: clocks of two machines
differ, and jump. What counts is the time between two looks in which nothing new was heard, measured
by the observer. One that has not looked for long, because it was itself stopped or slept with the
whole machine, knows nothing of that time and begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from perdure.store.records import Runner


class _Heard(msgspec.Struct):
    """The last heartbeat of one runner, and for how long it has been the last."""

    heartbeat_at: datetime
    silent_s: float = 0.0


class Silences:
    """What one observer has heard of the runners that owe a heartbeat."""

    def __init__(self) -> None:
        """Nobody was heard yet."""
        self._heard: dict[int, _Heard] = {}

    def listen(self, owing: Iterable[Runner]) -> list[Runner]:
        """Take note of each heartbeat; those are answered that have said nothing new since the last time."""
        before, self._heard = self._heard, {}
        late = []
        for runner in owing:
            heard = before.get(runner.no)
            if heard is None or heard.heartbeat_at != runner.heartbeat_at:
                heard = _Heard(runner.heartbeat_at)
            else:
                late.append(runner)
            self._heard[runner.no] = heard
        return late

    def lapsed(self, late: Iterable[Runner], *, seconds: float) -> list[Runner]:
        """Count that much more silence of those who are late; those are answered whose lease it uses up."""
        lapsed = []
        for runner in late:
            heard = self._heard[runner.no]
            heard.silent_s += seconds
            if round(heard.silent_s * 1000) >= runner.lease_ms:
                lapsed.append(runner)
        return lapsed
