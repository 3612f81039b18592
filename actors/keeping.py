"""The part of a turn that keeps what comes for steps, signals and decisions, until they take it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from perdure.store.asking import Approval, ApprovalWrite
from perdure.store.records import KeptSignal
from perdure.store.writes import SignalMove, SignalWrite

if TYPE_CHECKING:
    from perdure.actors.state import ExecutionState


class Keeping:
    """What a turn writes of it."""

    __slots__ = ("_approvals", "_signals", "_taken")

    state: ExecutionState
    version_before: int

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._signals: list[SignalWrite] = []
        self._taken: list[SignalMove] = []
        self._approvals: list[ApprovalWrite] = []

    def keep_signal(self, name: str, payload: bytes) -> KeptSignal:
        """Keep a signal that has just come; the version this turn makes names it."""
        signal = KeptSignal(version=self.version_before + 1, name=name, payload=msgspec.Raw(payload))
        self.state.signals.append(signal)
        self._signals.append(SignalWrite(name, payload))
        return signal

    def take_signal(self, signal: KeptSignal, *, step_no: int) -> None:
        """Let a step take a signal that is kept."""
        self.state.signals.remove(signal)
        self._taken.append(SignalMove(signal.version, step_no))

    def give_back(self, signals: Iterable[KeptSignal]) -> None:
        """Keep signals again that steps had taken."""
        for signal in signals:
            self._taken.append(SignalMove(signal.version, None))
            self.state.signals.append(signal)
        self.state.signals.sort(key=lambda signal: signal.version)

    def keep_approval(self, approval: Approval) -> None:
        """Keep what a step asks people, and what they have decided."""
        self.state.approvals[approval.step_no] = approval
        self._approvals.append(ApprovalWrite(approval.step_no, approval))

    def drop_approval(self, step_no: int) -> None:
        """Nobody is asked any more."""
        if self.state.approvals.pop(step_no, None) is not None:
            self._approvals.append(ApprovalWrite(step_no, None))
