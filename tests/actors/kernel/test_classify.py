"""What kind of crash an error is."""

from __future__ import annotations

import pytest

from perdure.actors.kernel import Crash, classify, flatten


def by_type(error: Exception) -> Crash | None:
    """A classifier as a user would write it."""
    return {ValueError: Crash.DETERMINISTIC, OSError: Crash.OUTAGE, KeyError: Crash.LOST}.get(type(error))


def test_without_a_classifier_every_crash_is_transient() -> None:
    """In doubt it may go better next time."""
    assert classify(ValueError("x"), None) is Crash.TRANSIENT
    assert classify(RuntimeError("unknown"), by_type) is Crash.TRANSIENT


@pytest.mark.parametrize(
    ("leaves", "kind"),
    [
        ([RuntimeError(), OSError()], Crash.OUTAGE),
        ([OSError(), ValueError(), RuntimeError()], Crash.DETERMINISTIC),
        ([KeyError(), ValueError()], Crash.LOST),
    ],
)
def test_the_gravest_error_of_a_group_decides(leaves: list[Exception], kind: Crash) -> None:
    """However deep it sits."""
    assert classify(ExceptionGroup("outer", [ExceptionGroup("inner", leaves)]), by_type) is kind


def test_an_exit_is_not_shown_to_the_classifier() -> None:
    """It is transient."""
    group = BaseExceptionGroup("both", [SystemExit(1), RuntimeError()])
    assert classify(group, lambda error: Crash(str(type(error)))) is Crash.TRANSIENT
    assert [type(leaf) for leaf in flatten(group)] == [SystemExit, RuntimeError]


def test_a_classifier_that_fails_leaves_a_note() -> None:
    """And the error is transient."""
    error = RuntimeError("the crash")
    assert classify(error, lambda _: 1 / 0) is Crash.TRANSIENT  # type: ignore[arg-type, return-value]
    assert error.__notes__ == ["its classification failed: ZeroDivisionError('division by zero')"]
