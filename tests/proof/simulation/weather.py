"""Which faults a seed brings, and how often."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

from simulation.disk import Fate

HOUR: Final = 3_600.0

ACTOR_POINTS: Final = frozenset(
    {
        "mailbox.take:before",
        "mailbox.take:after",
        "mailbox.ack:before",
        "mailbox.ack:after",
        "publish:before",
        "publish:after",
        "spawn:before",
        "spawn:after",
    }
)
PATIENCE_S: Final = 5 * HOUR
KILLS_MAX: Final = 8  # at fault points; further ones are among the incidents


class Weather:
    """Draws what goes wrong; nothing does while it is calm."""

    def __init__(self, seed: int) -> None:
        """Each kind of fault is rare, frequent or absent in a seed, independently of the others."""
        chance = Random(f"weather {seed}")
        self.is_calm = False
        self.counts: Counter[str] = Counter()
        self._chance = Random(f"faults {seed}")
        self.slow = chance.choice([0, 0.02, 0.2])
        self.fails = chance.choice([0, 0.005, 0.05])
        self.unknown = chance.choice([0, 0.005, 0.05])
        self.unreadable = chance.choice([0, 0, 0.01])
        self.lost_bells = chance.choice([0, 0.1, 0.5])
        self.late_bells = chance.choice([0, 0.1, 0.5])
        self.double_bells = chance.choice([0, 0.1])
        self.crashes = chance.choice([0, 0.001, 0.01])
        self.kills = chance.choice([0, 0.0005, 0.004])
        self.cuts = chance.choice([0, 0.1])

    def fate(self, call: str) -> Fate:
        """What becomes of the next call to the store: a `commit` or a `read`."""
        if self.is_calm:
            return Fate.WELL
        drawn = self._chance.random()
        unknown = self.unknown if call == "commit" else 0.0
        fails = self.fails if call == "commit" else self.unreadable
        for fate, rate in (
            (Fate.SLOW, self.slow),
            (Fate.FAILS, fails),
            (Fate.UNKNOWN_DONE, unknown / 2),
            (Fate.UNKNOWN_LOST, unknown / 2),
        ):
            if drawn < rate:
                self.counts["slow call" if fate is Fate.SLOW else f"{call} {fate.value}"] += 1
                return fate
            drawn -= rate
        return Fate.WELL

    def delays(self, chance: Random) -> list[float]:
        """How late each copy of a line arrives; none when it is lost."""
        if self.is_calm:
            return [0.0]
        if chance.random() < self.lost_bells:
            self.counts["doorbell lost"] += 1
            return []
        late = chance.random() < self.late_bells
        self.counts["doorbell late"] += late
        delay = chance.expovariate(1 / 20) if late else 0.0
        if chance.random() < self.double_bells:
            self.counts["doorbell doubled"] += 1
            return [delay, delay + chance.random()]
        return [delay]

    def crashes_actor(self, point: str) -> bool:
        """Whether the actor crashes at this point."""
        if self.is_calm or point not in ACTOR_POINTS or self._chance.random() >= self.crashes:
            return False
        self.counts["actor crash"] += 1
        return True

    def kills_process(self) -> bool:
        """Whether the process dies here."""
        if self.is_calm or self.counts["process killed at a point"] >= KILLS_MAX:
            return False
        if self._chance.random() >= self.kills:
            return False
        self.counts["process killed at a point"] += 1
        return True

    def patience_s(self) -> float:
        """After how many seconds a caller gives up."""
        if self.is_calm or self._chance.random() >= self.cuts:
            return PATIENCE_S
        self.counts["call cut off"] += 1
        return self._chance.choice([0.0, 0.0, 0.001, 1.0])
