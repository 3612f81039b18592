"""Finds the facts a checkpoint stands for."""

from __future__ import annotations

from perdure.actors.messages import RestorePoint
from perdure.store.errors import NotFound
from perdure.store.protocol import Store
from perdure.store.records import Checkpoint

CHECKPOINTS_MAX = 10_000  # looked through for a label; far more than an execution has


async def find_restore_point(store: Store, execution_id: str, wanted: str | int) -> RestorePoint | NotFound:
    """The outcomes and the context at a checkpoint, by its label (the newest one) or its version.

    The word `latest` stands for the newest checkpoint unless one is labelled so.
    """
    checkpoints = await store.checkpoints(execution_id, limit=CHECKPOINTS_MAX)
    found = _pick(checkpoints, wanted)
    if found is None:
        names = ", ".join(str(checkpoint.label or checkpoint.version) for checkpoint in checkpoints[:10])
        return NotFound("checkpoint", wanted, hint=f"there are: {names or 'none'}")
    outcomes = await store.fold(execution_id, found.version)
    context = await store.context_at(execution_id, found.version)
    return RestorePoint(found.version, found.label, tuple(outcomes), context)


def _pick(checkpoints: list[Checkpoint], wanted: str | int) -> Checkpoint | None:
    for checkpoint in checkpoints:
        if wanted in (checkpoint.label, checkpoint.version, str(checkpoint.version)):
            return checkpoint
    return checkpoints[0] if wanted == "latest" and checkpoints else None
