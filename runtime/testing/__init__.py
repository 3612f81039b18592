"""The proof kit: a runtime to be crashed in virtual time, stubs, and the checker of what must always hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.runtime import lazily

if TYPE_CHECKING:
    from perdure.actors.kernel.processes import ProcessDied
    from perdure.runtime.testing.crash import FAULT_POINTS, InvalidCrash
    from perdure.runtime.testing.handle import NeverEnds, TestExecution
    from perdure.runtime.testing.harness import InvariantBroken, TestRuntime
    from perdure.runtime.testing.invariants import Acknowledged, Effect, check_store
    from perdure.runtime.testing.meter import CostlyTestRefused, SpendingMeter
    from perdure.runtime.testing.process import RuntimeProcess
    from perdure.runtime.testing.stubs import Call, Stub, StubExhausted, stub
    from perdure.runtime.testing.virtual import (
        VIRTUAL_EPOCH,
        VirtualRuntime,
        run_virtual,
        virtual_backend,
        virtual_seams,
        virtual_time,
    )

_HOMES = {
    "perdure.actors.kernel.processes": ("ProcessDied",),
    "perdure.runtime.testing.crash": ("FAULT_POINTS", "InvalidCrash"),
    "perdure.runtime.testing.handle": ("NeverEnds", "TestExecution"),
    "perdure.runtime.testing.harness": ("InvariantBroken", "TestRuntime"),
    "perdure.runtime.testing.invariants": ("Acknowledged", "Effect", "check_store"),
    "perdure.runtime.testing.meter": ("CostlyTestRefused", "SpendingMeter"),
    "perdure.runtime.testing.process": ("RuntimeProcess",),
    "perdure.runtime.testing.stubs": ("Call", "Stub", "StubExhausted", "stub"),
    "perdure.runtime.testing.virtual": (
        "VIRTUAL_EPOCH",
        "VirtualRuntime",
        "run_virtual",
        "virtual_backend",
        "virtual_seams",
        "virtual_time",
    ),
}

__all__ = [
    "FAULT_POINTS",
    "VIRTUAL_EPOCH",
    "Acknowledged",
    "Call",
    "CostlyTestRefused",
    "Effect",
    "InvalidCrash",
    "InvariantBroken",
    "NeverEnds",
    "ProcessDied",
    "RuntimeProcess",
    "SpendingMeter",
    "Stub",
    "StubExhausted",
    "TestExecution",
    "TestRuntime",
    "VirtualRuntime",
    "check_store",
    "run_virtual",
    "stub",
    "virtual_backend",
    "virtual_seams",
    "virtual_time",
]


__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted(__all__)
