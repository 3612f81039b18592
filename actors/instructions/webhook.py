"""Who outside is told of the changes of an execution, as a compiler declares it."""

from __future__ import annotations

from typing import Final

import msgspec

from perdure.store.states import TERMINAL

EVENTS: Final = ("paused", "resumed", *sorted(state.value for state in TERMINAL))


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who wants to be told: where, of what, and by which name the key is known that signs it."""

    url: str
    events: frozenset[str] = frozenset(EVENTS)
    secret: str | None = None
