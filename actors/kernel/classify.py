"""What kind of crash an error is, and which error, when it may be several errors in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from perdure.actors.kernel.restart import Crash

_GRAVITY: Final = (Crash.TRANSIENT, Crash.OUTAGE, Crash.DETERMINISTIC, Crash.LOST)  # gravest last


def classify(error: BaseException, classifier: Callable[[Exception], Crash | None] | None) -> Crash:
    """Tell what kind of crash an error is: the gravest of its leaves, transient when in doubt.

    The classifier is asked about each leaf; an exit, and an error that breaks the classifier, are
    transient.
    """
    kinds = [_classify_leaf(leaf, classifier) for leaf in flatten(error)]
    return max(kinds, key=_GRAVITY.index)


def flatten(error: BaseException) -> Iterator[BaseException]:
    """The errors in an exception group, however deep; the error itself, if it is none."""
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in error.exceptions:
        yield from flatten(inner)


def unwrapped(error: BaseException) -> BaseException:
    """The error inside the wrappings of task groups, where there is just one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _classify_leaf(error: BaseException, classifier: Callable[[Exception], Crash | None] | None) -> Crash:
    """Ask the classifier, if there is one and the error is for it."""
    if classifier is None or not isinstance(error, Exception):
        return Crash.TRANSIENT
    try:
        return classifier(error) or Crash.TRANSIENT
    except Exception as failure:  # noqa: BLE001 recorded on the error it was asked about
        error.add_note(f"its classification failed: {failure!r}")
        return Crash.TRANSIENT
