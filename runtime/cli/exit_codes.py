"""From an error or an outcome to an exit code, and from an error to one screen of text."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Protocol

from perdure.runtime.cli.text import clean

SCREEN_LINES_MAX: Final = 40  # one screen; what does not fit is counted, not shown
LINE_CHARACTERS_MAX: Final = 500  # a longer line is a payload that found its way into a message


class Exit(IntEnum):
    """What a script learns from `$?`."""

    DONE = 0
    UNEXPECTED = 1
    ATTENTION = 1  # of `doctor`, as monitors expect it
    USAGE = 2
    NOT_FOUND = 3
    DEFINITION_INVALID = 4
    NOT_ALLOWED = 5
    STORE = 6
    NOT_AUTHORISED = 7
    FAILED = 10
    CANCELLED = 11
    TIMED_OUT = 12
    PAUSED = 13
    TIMEOUT = 124
    LEFT = 130
    TERMINATED = 143


# By name, so that nothing has to be imported to tell a usage error from a lost database.
BY_ERROR: Final[dict[str, Exit]] = {
    "UsageError": Exit.USAGE,
    "CycloptsError": Exit.USAGE,
    "ConfigError": Exit.USAGE,
    "PayloadTooLarge": Exit.USAGE,
    "NotSerializable": Exit.USAGE,
    "InvalidId": Exit.USAGE,
    "InvalidArgument": Exit.USAGE,
    "InvalidContext": Exit.USAGE,  # inputs that are missing or do not fit: the definition is sound
    "TargetExists": Exit.USAGE,
    "ConditionsNotInstalled": Exit.USAGE,
    "NotFound": Exit.NOT_FOUND,
    "Ambiguous": Exit.NOT_FOUND,
    "DefinitionError": Exit.DEFINITION_INVALID,
    "BadSignature": Exit.DEFINITION_INVALID,
    "DuplicateAgent": Exit.DEFINITION_INVALID,
    "ExpressionError": Exit.DEFINITION_INVALID,
    "UnknownAgent": Exit.DEFINITION_INVALID,
    "AgentsNotLoaded": Exit.DEFINITION_INVALID,
    "Conflict": Exit.NOT_ALLOWED,
    "IdTaken": Exit.NOT_ALLOWED,
    "CannotMigrate": Exit.NOT_ALLOWED,
    "IllegalTransition": Exit.NOT_ALLOWED,
    "DuplicateCommand": Exit.NOT_ALLOWED,
    "LeaseLost": Exit.NOT_ALLOWED,
    "DecisionRefused": Exit.NOT_ALLOWED,
    "NotAnApprover": Exit.NOT_AUTHORISED,
    "FormMismatch": Exit.USAGE,
    "MailboxFull": Exit.STORE,
    "StoreError": Exit.STORE,
    "RuntimeClosed": Exit.STORE,
    "ExecutionTimeout": Exit.TIMED_OUT,
    "ExecutionFailed": Exit.FAILED,
    "ExecutionCancelled": Exit.CANCELLED,
    "TimeoutError": Exit.TIMEOUT,
    "KeyboardInterrupt": Exit.LEFT,
}

BY_STATUS: Final[dict[str, Exit]] = {
    "completed": Exit.DONE,
    "failed": Exit.FAILED,
    "rolled_back": Exit.FAILED,
    "cancelled": Exit.CANCELLED,
    "paused": Exit.PAUSED,
}


class HasOutcome(Protocol):
    """Whatever says how an execution stands: a result or a summary."""

    @property
    def status(self) -> str:
        """The status word."""
        ...

    @property
    def error(self) -> object | None:
        """Why it failed, where it did."""
        ...


def code_of_error(error: BaseException) -> Exit:
    """The exit code of the most specific class of the error that has one."""
    for each in type(error).__mro__:
        if each.__name__ in BY_ERROR:
            return BY_ERROR[each.__name__]
    return Exit.UNEXPECTED


def code_of_outcome(outcome: HasOutcome) -> Exit:
    """The exit code of an execution that ended or rests; running ones count as waiting."""
    if str(outcome.status) == "failed" and getattr(outcome.error, "type", "") == "ExecutionTimeout":
        return Exit.TIMED_OUT
    return BY_STATUS.get(str(outcome.status), Exit.PAUSED)


def explain(error: BaseException) -> str:
    """One screen: what happened, why, what to do. Safe to print whatever the message holds."""
    text = str(error) or type(error).__name__
    if code_of_error(error) is Exit.UNEXPECTED:
        text = f"unexpected {type(error).__name__}: {text}\nadd --debug for the traceback"
    lines = [clean(line)[:LINE_CHARACTERS_MAX] for line in text.splitlines()]
    if len(lines) > SCREEN_LINES_MAX:
        rest = len(lines) - SCREEN_LINES_MAX + 1
        lines = [*lines[: SCREEN_LINES_MAX - 1], f"… and {rest} more lines"]
    return "perdure: " + "\n  ".join(lines)
