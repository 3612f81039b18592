"""What an error says of itself: asked where nothing may fail, for each of its methods is other people's code.

An exception may raise from its `__str__`, by an exit, too; a SyntaxError with a line number that is no
number cannot be formatted. Whoever records an error asks here, or the record itself would be what fails.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Final

STACK_CHARS_MAX: Final = 4_000  # of a traceback that is kept or logged
TEXT_CHARS_MAX: Final = 2_000  # of what an error says


def type_of(error: BaseException | None) -> str:
    """The name of its class."""
    return name_of(type(error))


def name_of(kind: type) -> str:
    """The name of a class, whose metaclass may be anybody's."""
    return _said(lambda: kind.__name__, what="name")


def text_of(error: BaseException | None, *, chars_max: int = TEXT_CHARS_MAX) -> str:
    """Its message, where it can be had, as UTF-8 can hold it."""
    return _said(lambda: str(error), what="text")[:chars_max]


def repr_of(error: BaseException | None) -> str:
    """How a log line shows it."""
    return _said(lambda: repr(error), what="text")[:TEXT_CHARS_MAX]


def stack_of(error: BaseException | None) -> str:
    """The end of its traceback; empty where there is no error."""
    if error is None:
        return ""
    return _said(lambda: "".join(traceback.format_exception(error)), what="stack")[-STACK_CHARS_MAX:]


def _said(ask: Callable[[], str], *, what: str) -> str:
    try:
        return str.encode(ask(), "utf-8", "backslashreplace").decode()
    except BaseException as failed:  # noqa: BLE001 - whatever it raises must not pass for an end of ours
        return f"(its {what} cannot be had: {type(failed).__name__})"
