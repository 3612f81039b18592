"""The proof kit: virtual time, and the checker of everything that must always hold."""

from __future__ import annotations

from perdure.runtime.testing.invariants import Acknowledged, Effect, check_store
from perdure.runtime.testing.virtual import VIRTUAL_EPOCH, VirtualRuntime, run_virtual, virtual_seams

__all__ = [
    "VIRTUAL_EPOCH",
    "Acknowledged",
    "Effect",
    "VirtualRuntime",
    "check_store",
    "run_virtual",
    "virtual_seams",
]
