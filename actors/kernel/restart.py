"""What is to be done about a child that ended: a decision, and nothing but the decision.

Two tables say it all. `_ACTIONS` tells what follows from the child's restart type and the kind of
its end, `_EXHAUSTED` what follows when it has crashed too often. The budget counts crashes *since
the child last made progress*, not crashes per window of time: with backoff between them, a window
can be one that never fills.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

_EXPONENT_MAX: Final = 60  # 2**60 is past every cap, 2**1024 is past every float


class Restart(StrEnum):
    """When a child is to be started again."""

    PERMANENT = "permanent"  # always: a service that others rely on
    TRANSIENT = "transient"  # when it crashed: a piece of work with an end
    TEMPORARY = "temporary"  # never


class Crash(StrEnum):
    """Why a child crashed, as far as that changes what is to be done."""

    TRANSIENT = "transient"  # may go better next time; counts against its budget
    OUTAGE = "outage"  # something it needs is down: waits and tries again, costs no budget
    DETERMINISTIC = "deterministic"  # would crash the same way again: quarantined at once
    LOST = "lost"  # it belongs to somebody else now: dropped without a word


class Action(StrEnum):
    """What is done about an end."""

    RESTART = "restart"
    STOP = "stop"
    QUARANTINE = "quarantine"
    ESCALATE = "escalate"
    DROP = "drop"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, and after how many seconds."""

    action: Action
    delay_s: float = 0.0


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait before the next incarnation. Seconds.

    `first_s`, then twice as long after each crash, at most `max_s`; of that, a random part up to
    `jitter` (0 to 1) is taken away, so that those who crashed together do not return together.
    """

    first_s: float = 0.1
    max_s: float = 30.0
    jitter: float = 0.5

    def delay_s(self, crashes: int, *, random01: float) -> float:
        """The wait after the given number of crashes in a row; `random01` is from [0, 1)."""
        if crashes <= 0:
            return 0.0
        full_s = min(self.max_s, self.first_s * 2.0 ** min(crashes - 1, _EXPONENT_MAX))
        return full_s * (1.0 - self.jitter * random01)


def decide(
    restart: Restart,
    crash: Crash | None,
    *,
    crashes: int,
    intensity: int,
    backoff: Backoff,
    random01: float,
) -> Verdict:
    """Decide what follows when a child of type `restart` ended.

    `crash` is None when it returned. `crashes` counts this end: the crashes, or outages, since its
    last progress; more than `intensity` crashes are too many, outages never are.
    """
    action = _ACTIONS[restart, crash]
    if action is not Action.RESTART:
        return Verdict(action=action)
    if crash is not Crash.OUTAGE and crashes > intensity:
        return Verdict(action=_EXHAUSTED[restart])
    return Verdict(action=action, delay_s=backoff.delay_s(crashes, random01=random01))


_ACTIONS: Final[dict[tuple[Restart, Crash | None], Action]] = {
    (Restart.PERMANENT, None): Action.RESTART,
    (Restart.PERMANENT, Crash.TRANSIENT): Action.RESTART,
    (Restart.PERMANENT, Crash.OUTAGE): Action.RESTART,
    (Restart.PERMANENT, Crash.DETERMINISTIC): Action.ESCALATE,
    (Restart.PERMANENT, Crash.LOST): Action.DROP,
    (Restart.TRANSIENT, None): Action.STOP,
    (Restart.TRANSIENT, Crash.TRANSIENT): Action.RESTART,
    (Restart.TRANSIENT, Crash.OUTAGE): Action.RESTART,
    (Restart.TRANSIENT, Crash.DETERMINISTIC): Action.QUARANTINE,
    (Restart.TRANSIENT, Crash.LOST): Action.DROP,
    (Restart.TEMPORARY, None): Action.STOP,
    (Restart.TEMPORARY, Crash.TRANSIENT): Action.STOP,
    (Restart.TEMPORARY, Crash.OUTAGE): Action.STOP,
    (Restart.TEMPORARY, Crash.DETERMINISTIC): Action.QUARANTINE,
    (Restart.TEMPORARY, Crash.LOST): Action.DROP,
}

_EXHAUSTED: Final[dict[Restart, Action]] = {
    Restart.PERMANENT: Action.ESCALATE,
    Restart.TRANSIENT: Action.QUARANTINE,
}
