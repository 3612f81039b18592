"""Changes the context of an execution. Pure."""

from __future__ import annotations

from typing import Any

from perdure.actors.effects.turn import Turn, encode
from perdure.actors.errors import InvalidContext
from perdure.store.errors import PayloadTooLarge, PerdureError
from perdure.store.records import PAYLOAD_BYTES_MAX


def merge(
    turn: Turn, patch: dict[str, Any], *, by: str | None, command_id: str | None = None
) -> PerdureError | None:
    """Merge a patch into the context, unless it grows too large or names a step."""
    state = turn.state
    taken = [step.key for step in state.plan.steps if step.key in patch]
    if taken:
        return InvalidContext(f"the context may not have the key {taken[0]!r}: a step has that name")
    context = state.context | patch
    encoded = encode(context)
    if len(encoded) > PAYLOAD_BYTES_MAX:
        return PayloadTooLarge("the context", size=len(encoded), limit=PAYLOAD_BYTES_MAX)
    turn.set_context(context, encoded)
    turn.note("context_updated", by=by, command_id=command_id, data={"patch": patch})
    return None
