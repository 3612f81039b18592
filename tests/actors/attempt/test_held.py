"""Who was held, in what order they are told, and how many go before whoever comes now."""

from __future__ import annotations

from perdure.actors.attempt.held import GRACE_MS, Held, Here, Pass
from perdure.actors.instructions.guard import Guard
from perdure.actors.messages import Nudge


def test_one_that_is_on_its_way_still_goes_before_others():
    """Else whoever comes meanwhile is sent away to ask again at once, and again."""
    here = Here()
    entry = Pass(guard=Guard(scope="a"), holder="first", execution_id="e", nudge=Nudge(0, 0, 1))
    here.hold(Held(entry, 0, 10))
    assert here.ahead == 1
    told = here.tell_oldest(10)
    assert told is not None
    assert here.has_older(5, 10)
    assert here.ahead == 1
    assert not here.has_older(5, 10 + GRACE_MS)
    assert here.ahead == 0
