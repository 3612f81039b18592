"""perdure.runtime: the compiler and the doors. What users import is here, loaded when first asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.actors.errors import (
        ApprovalRejected,
        ChildFailed,
        ChildNotStarted,
        CrashBudgetExceeded,
        DecisionRefused,
        ExecutionCancelled,
        ExecutionError,
        ExecutionFailed,
        ExecutionRolledBack,
        ExecutionTimeout,
        ExpressionError,
        FormMismatch,
        GateClosed,
        InvalidContext,
        InvalidStatement,
        ItemFailed,
        NotAnApprover,
        OutputError,
        RepeatExhausted,
        RuntimeClosed,
        StepFailed,
        StepTimeout,
        WaitTimeout,
    )
    from perdure.actors.instructions.context import StepContext
    from perdure.actors.messages import PauseMode
    from perdure.actors.trace import trace_id
    from perdure.runtime.agents import Agents, CircuitBreaker, InputError, UnknownAgent, load_agents
    from perdure.runtime.arguments import InvalidArgument
    from perdure.runtime.execution import Execution, Result
    from perdure.runtime.keys import Keyring
    from perdure.runtime.language import (
        Action,
        CycleError,
        Definition,
        DefinitionError,
        ForEach,
        From,
        Problem,
        Repeat,
        Retry,
        TemplateError,
        Workflow,
    )
    from perdure.runtime.runtime import Runtime
    from perdure.store.asking import PendingApproval
    from perdure.store.errors import (
        Conflict,
        IdTaken,
        IllegalTransition,
        InvalidId,
        LeaseLost,
        MailboxFull,
        MigrationError,
        NotFound,
        NotSerializable,
        OutcomeUnknown,
        PayloadTooLarge,
        PerdureError,
        StatementFailed,
        StoreClosed,
        StoreCorrupt,
        StoreError,
        StoreLocked,
        StoreUnavailable,
    )
    from perdure.store.records import Checkpoint, Error, Event, ExecutionSummary
    from perdure.store.scripts.items import Item
    from perdure.store.scripts.sealing import KeyMissing
    from perdure.store.states import State, Status, StepState

_HOMES = {
    "perdure.actors.instructions.context": ("StepContext",),
    "perdure.actors.errors": (
        "ApprovalRejected",
        "ChildFailed",
        "ChildNotStarted",
        "CrashBudgetExceeded",
        "DecisionRefused",
        "ExecutionCancelled",
        "ExecutionError",
        "ExecutionFailed",
        "ExecutionRolledBack",
        "ExecutionTimeout",
        "ExpressionError",
        "FormMismatch",
        "GateClosed",
        "InvalidContext",
        "InvalidStatement",
        "ItemFailed",
        "NotAnApprover",
        "OutputError",
        "RepeatExhausted",
        "RuntimeClosed",
        "StepFailed",
        "StepTimeout",
        "WaitTimeout",
    ),
    "perdure.actors.messages": ("PauseMode",),
    "perdure.actors.trace": ("trace_id",),
    "perdure.runtime.agents": ("Agents", "CircuitBreaker", "InputError", "UnknownAgent", "load_agents"),
    "perdure.runtime.arguments": ("InvalidArgument",),
    "perdure.runtime.execution": ("Execution", "Result"),
    "perdure.runtime.keys": ("Keyring",),
    "perdure.runtime.language": (
        "Action",
        "CycleError",
        "Definition",
        "DefinitionError",
        "ForEach",
        "From",
        "Problem",
        "Repeat",
        "Retry",
        "TemplateError",
        "Workflow",
    ),
    "perdure.runtime.runtime": ("Runtime",),
    "perdure.store.asking": ("PendingApproval",),
    "perdure.store.scripts.sealing": ("KeyMissing",),
    "perdure.store.errors": (
        "Conflict",
        "IdTaken",
        "IllegalTransition",
        "InvalidId",
        "LeaseLost",
        "MailboxFull",
        "MigrationError",
        "NotFound",
        "NotSerializable",
        "OutcomeUnknown",
        "PayloadTooLarge",
        "PerdureError",
        "StatementFailed",
        "StoreClosed",
        "StoreCorrupt",
        "StoreError",
        "StoreLocked",
        "StoreUnavailable",
    ),
    "perdure.store.scripts.items": ("Item",),
    "perdure.store.records": ("Checkpoint", "Error", "Event", "ExecutionSummary"),
    "perdure.runtime.versions": ("CannotMigrate",),
    "perdure.store.states": ("State", "Status", "StepState"),
}

__all__ = [
    "Action",
    "Agents",
    "ApprovalRejected",
    "CannotMigrate",
    "Checkpoint",
    "ChildFailed",
    "ChildNotStarted",
    "CircuitBreaker",
    "Conflict",
    "CrashBudgetExceeded",
    "CycleError",
    "DecisionRefused",
    "Definition",
    "DefinitionError",
    "Error",
    "Event",
    "Execution",
    "ExecutionCancelled",
    "ExecutionError",
    "ExecutionFailed",
    "ExecutionRolledBack",
    "ExecutionSummary",
    "ExecutionTimeout",
    "ExpressionError",
    "ForEach",
    "FormMismatch",
    "From",
    "GateClosed",
    "IdTaken",
    "IllegalTransition",
    "InputError",
    "InvalidArgument",
    "InvalidContext",
    "InvalidId",
    "InvalidStatement",
    "Item",
    "ItemFailed",
    "KeyMissing",
    "Keyring",
    "LeaseLost",
    "MailboxFull",
    "MigrationError",
    "NotAnApprover",
    "NotFound",
    "NotSerializable",
    "OutcomeUnknown",
    "OutputError",
    "PauseMode",
    "PayloadTooLarge",
    "PendingApproval",
    "PerdureError",
    "Problem",
    "Repeat",
    "RepeatExhausted",
    "Result",
    "Retry",
    "Runtime",
    "RuntimeClosed",
    "State",
    "StatementFailed",
    "Status",
    "StepContext",
    "StepFailed",
    "StepState",
    "StepTimeout",
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreLocked",
    "StoreUnavailable",
    "TemplateError",
    "UnknownAgent",
    "WaitTimeout",
    "Workflow",
    "load_agents",
    "trace_id",
]


def lazily(package: str, homes: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names live in those modules; each is loaded once."""
    home_of = {name: home for home, names in homes.items() for name in names}

    def load(name: str) -> Any:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home), name)
        setattr(sys.modules[package], name, value)
        return value

    return load


__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted(__all__)
