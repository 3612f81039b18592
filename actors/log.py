"""Structured log lines, silent until the program that embeds us wants them.

Lines go to the standard library's loggers below `perdure`, which have no handler of their own; so
an embedding program sees them through whatever `logging` set-up it has. The events are listed in
`docs/events.md`; each is logged once, at the seam where it happens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger

logging.getLogger("perdure").addHandler(logging.NullHandler())


class _Logger:
    """A logger that is made when its first line is: to import structlog is a tenth of all we import."""

    __slots__ = ("_made", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._made: FilteringBoundLogger | None = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = _make_logger(self._name)
        return getattr(self._made, name)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry their fields as `extra` and, rendered, in the message."""
    return cast("FilteringBoundLogger", _Logger(name))


def bind(**fields: str) -> None:
    """Let every line that is logged from here on in this task, whoever logs it, carry these fields."""
    _binder()(**fields)


@cache
def _binder() -> Callable[..., object]:
    from structlog.contextvars import bind_contextvars  # noqa: PLC0415

    return bind_contextvars


def _make_logger(name: str) -> FilteringBoundLogger:
    import structlog  # noqa: PLC0415

    logger: FilteringBoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            _to_stdlib,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return logger


def _to_stdlib(_logger: object, _name: str, line: EventDict) -> EventDict:
    """Hand the event over as the message and its fields as one attribute, `fields`, of the record."""
    event = line.pop("event")
    line.pop("level", None)
    shown = " ".join(f"{key}={value!r}" for key, value in line.items())
    return {"msg": f"{event} {shown}".rstrip().replace("%", "%%"), "extra": {"event": event, "fields": line}}
