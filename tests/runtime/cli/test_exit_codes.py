"""Every error and every outcome has its exit code, and fits one screen."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from perdure.actors.errors import ExecutionCancelled, ExecutionFailed, ExecutionTimeout, RuntimeClosed
from perdure.runtime.cli.exit_codes import (
    SCREEN_LINES_MAX,
    Exit,
    code_of_error,
    code_of_outcome,
    explain,
)
from perdure.runtime.cli.options import UsageError
from perdure.runtime.config import ConfigError
from perdure.runtime.language.conditions import ConditionsNotInstalled
from perdure.store.errors import (
    Conflict,
    IllegalTransition,
    MigrationError,
    NotFound,
    OutcomeUnknown,
    StoreCorrupt,
    StoreLocked,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (ConfigError("x", source="y"), 2),
        (ConditionsNotInstalled(), 2),
        (NotFound("execution", "x"), 3),
        (Conflict("x", expected=1, current=2), 5),
        (IllegalTransition("x", state="completed", command="pause"), 5),
        (StoreLocked("x.db", pid=1), 6),
        (StoreCorrupt("x"), 6),
        (MigrationError("x"), 6),
        (OutcomeUnknown("x"), 6),
        (RuntimeClosed("x"), 6),
        (ExecutionFailed("x", execution_id="1"), 10),
        (ExecutionCancelled("x", execution_id="1"), 11),
        (ExecutionTimeout("x", execution_id="1"), 12),
        (TimeoutError(), 124),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_an_error_has_the_code_of_its_most_specific_class(error: BaseException, code: int):
    """Scripts tell a lost database from a failed execution."""
    assert code_of_error(error) == code


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        ("completed", None, 0),
        ("failed", "ValueError", 10),
        ("rolled_back", None, 10),
        ("cancelled", None, 11),
        ("failed", "ExecutionTimeout", 12),
        ("paused", None, 13),
        ("running", None, 13),
    ],
)
def test_an_outcome_has_its_own_code(status: str, error: str | None, code: int):
    """The tool's failures and the execution's are never mixed up."""
    outcome = SimpleNamespace(status=status, error=error and SimpleNamespace(type=error))
    assert code_of_outcome(outcome) == code


def test_an_explanation_fits_one_screen_and_has_no_control_characters():
    """A hostile message neither floods nor steers the terminal."""
    text = explain(UsageError("\x1b[2J" + "line\n" * 1_000))
    assert len(text.splitlines()) <= SCREEN_LINES_MAX
    assert "\x1b" not in text


def test_an_unexpected_error_names_its_type_and_the_way_to_the_traceback():
    """A bug is called one."""
    text = explain(ZeroDivisionError("division by zero"))
    assert "ZeroDivisionError" in text
    assert "--debug" in text
    assert code_of_error(ZeroDivisionError()) is Exit.UNEXPECTED
