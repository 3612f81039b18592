"""Draws the tables of `states` as diagrams, for the documentation: one source, no second truth."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from perdure.store.states import STEP_TRANSITIONS, TERMINAL, TRANSITIONS, State, StepState

S = TypeVar("S", bound=StrEnum)


def states_as_mermaid() -> str:
    """The states of an execution and their transitions, as a Mermaid state diagram."""
    return _drawn(TRANSITIONS, start=State.IDLE, ends=TERMINAL)


def step_states_as_mermaid() -> str:
    """The states of one attempt of a step and their transitions, as a Mermaid state diagram."""
    ends = frozenset(state for state, followers in STEP_TRANSITIONS.items() if not followers)
    return _drawn(STEP_TRANSITIONS, start=StepState.PENDING, ends=ends)


def _drawn(table: Mapping[S, frozenset[S]], *, start: S, ends: frozenset[S]) -> str:
    """One line for each arrow, in the order in which the states are declared."""
    order = list(type(start))
    lines = ["stateDiagram-v2", f"    [*] --> {start}"]
    for before in order:
        lines += [f"    {before} --> {after}" for after in sorted(table[before], key=order.index)]
        if before in ends:
            lines.append(f"    {before} --> [*]")
    return "\n".join(lines) + "\n"
