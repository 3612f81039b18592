"""The past that a fork shares: outcomes of another execution, as rows of its own. Pure."""

from __future__ import annotations

import msgspec

from perdure.actors.effects.turn import Turn
from perdure.store.records import Attempt
from perdure.store.writes import ForkWrite


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What an execution begins with: the outcomes it takes over, and whose they are."""

    fork: ForkWrite
    outcomes: tuple[Attempt, ...]
    origin: str | int | None = None  # the step or checkpoint it goes on from, as it was asked for


def share(turn: Turn, past: Past) -> None:
    """Settle the steps that the source has settled, in a generation of the fork's own."""
    state = turn.state
    fork = past.fork
    data = {"execution": fork.source_id, "version": fork.source_version, "from": past.origin}
    turn.note("forked_from", by=fork.by, data=data)
    for outcome in past.outcomes:
        state.steps[outcome.step_no].attempt = outcome.attempt
        output = None if outcome.output is None else bytes(outcome.output)
        turn.move_step(outcome.step_no, outcome.state, is_outcome=True, output=output, error=outcome.error)
        turn.note(
            "step_shared", step_no=outcome.step_no, attempt=outcome.attempt, data={"state": outcome.state}
        )
    state.reindex()
