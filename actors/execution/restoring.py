"""Finds the facts a checkpoint stands for."""

from __future__ import annotations

from perdure.actors.messages import RestorePoint
from perdure.store.errors import NotFound
from perdure.store.protocol import Store
from perdure.store.questions import Questions

NAMES_MAX = 10  # checkpoints that a refusal names


async def find_restore_point(
    store: Store | Questions, execution_id: str, wanted: str | int
) -> RestorePoint | NotFound:
    """The outcomes and the context at a checkpoint, by its label (the newest one) or its version.

    The word `latest` stands for the newest checkpoint unless one is labelled so.
    """
    found = await store.checkpoint(execution_id, wanted)
    if found is None:
        newest = await store.checkpoints(execution_id, limit=NAMES_MAX)
        if wanted != "latest" or not newest:
            names = ", ".join(str(checkpoint.label or checkpoint.version) for checkpoint in newest)
            return NotFound("checkpoint", wanted, hint=f"there are: {names or 'none'}")
        found = newest[0]
    outcomes = await store.fold(execution_id, found.version)
    context = await store.context_at(execution_id, found.version)
    signals = await store.signals_taken(execution_id, after=found.version)
    return RestorePoint(found.version, found.label, tuple(outcomes), context, signals)
