"""What comes for steps from outside: signals that are kept until one takes them, what people decide. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from perdure.store.asking import Approval, ApprovalWrite
from perdure.store.records import KeptSignal
from perdure.store.writes import SignalMove, SignalWrite

if TYPE_CHECKING:
    from perdure.actors.effects.turn import Turn


def keep_signal(turn: Turn, name: str, payload: bytes) -> KeptSignal:
    """Keep a signal that has just come; the version this turn makes names it."""
    signal = KeptSignal(version=turn.version_before + 1, name=name, payload=msgspec.Raw(payload))
    turn.state.signals.append(signal)
    turn.kept.row("signals", SignalWrite(name, payload))
    return signal


def take_signal(turn: Turn, signal: KeptSignal, *, step_no: int) -> None:
    """Let a step take a signal that is kept."""
    turn.state.signals.remove(signal)
    turn.kept.row("taken", SignalMove(signal.version, step_no))


def give_back(turn: Turn, signals: Iterable[KeptSignal]) -> None:
    """Keep signals again that steps had taken."""
    for signal in signals:
        turn.kept.row("taken", SignalMove(signal.version, None))
        turn.state.signals.append(signal)
    turn.state.signals.sort(key=lambda signal: signal.version)


def keep_approval(turn: Turn, approval: Approval) -> None:
    """Keep what a step asks people, and what they have decided."""
    turn.state.approvals[approval.step_no] = approval
    turn.kept.row("approvals", ApprovalWrite(approval.step_no, approval))


def drop_approval(turn: Turn, step_no: int) -> None:
    """Nobody is asked any more."""
    if turn.state.approvals.pop(step_no, None) is not None:
        turn.kept.row("approvals", ApprovalWrite(step_no, None))
