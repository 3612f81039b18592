"""Structured log lines, silent until the program that embeds us wants them.

Lines go to the standard library's loggers below `perdure`, which have no handler of their own; so
an embedding program sees them through whatever `logging` set-up it has. The events are listed in
`docs/events.md`; each is logged once, at the seam where it happens.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from perdure.actors.wording import stack_of

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
METHODS: Final = frozenset({*LEVELS, "warn", "exception", "critical", "fatal", "log"})
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_bound: ContextVar[Mapping[str, str]] = ContextVar("perdure_log", default=_NOTHING)

logging.getLogger("perdure").addHandler(logging.NullHandler())


class _Logger:
    """A logger that is made for the first line that somebody reads: to import structlog takes its time."""

    __slots__ = ("_made", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._made: FilteringBoundLogger | None = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            level = LEVELS.get(name)
            if level is not None and not logging.getLogger(self._name).isEnabledFor(level):
                return _leave_out
            self._made = _make_logger(self._name)
        return getattr(self._made, name)


def _leave_out(event: str | None = None, *_values: object, **_fields: object) -> None:
    """A line that nobody reads; called as one that somebody reads, or whether logs are read would show."""


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry their fields as `extra` and, rendered, in the message."""
    return cast("FilteringBoundLogger", _Logger(name))


def bind(**fields: str) -> None:
    """Let every line that is logged from here on in this task carry these fields.

    Those of a program that logs by structlog itself, too; for anybody else it is not imported before somebody
    reads a line. Where rich is installed structlog brings that along, which takes longer than a first step.
    """
    _bound.set({**_bound.get(), **fields})
    theirs = sys.modules.get("structlog.contextvars")
    if theirs is not None:
        theirs.bind_contextvars(**fields)


def bound() -> Mapping[str, str]:
    """What lines that are logged here carry."""
    return _bound.get()


def _make_logger(name: str) -> FilteringBoundLogger:
    import structlog  # noqa: PLC0415

    logger: FilteringBoundLogger = structlog.wrap_logger(
        _Steady(logging.getLogger(name)),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _merge_bound,
            structlog.stdlib.add_log_level,
            _format_error,
            _fill_in,
            _to_stdlib,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return logger


class _Steady:
    """A logger of the standard library, none of whose handlers and filters makes whoever logs fail.

    What they raise is told where logging tells what goes wrong in handlers, on stderr.
    """

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._logger, name)
        return partial(_write, found) if name in METHODS else found


def _write(method: Callable[..., None], **line: Any) -> None:
    try:
        method(**line)
    except Exception as error:  # noqa: BLE001 - a handler is other people's code
        if logging.raiseExceptions:
            with suppress(Exception):  # nor has everybody a stderr
                sys.stderr.write(f"perdure: logging failed on {line['msg']}\n{stack_of(error)}")


def _format_error(_logger: object, _name: str, line: EventDict) -> EventDict:
    """The traceback of what is handled just now, where the line wants it."""
    wanted = line.pop("exc_info", None)
    if wanted:
        error = wanted if isinstance(wanted, BaseException) else sys.exc_info()[1]
        line["exception"] = stack_of(error)
    return line


def _fill_in(_logger: object, _name: str, line: EventDict) -> EventDict:
    """Put what was given after the event where it has a `%`; what does not fit there is a field."""
    values = line.pop("positional_args", ())
    if values:
        try:
            line["event"] %= values
        except (TypeError, ValueError):
            line["values"] = values
    return line


def _merge_bound(_logger: object, _name: str, line: EventDict) -> EventDict:
    return {**bound(), **line}


def _to_stdlib(_logger: object, _name: str, line: EventDict) -> EventDict:
    """Hand the event over as the message and its fields as one attribute, `fields`, of the record."""
    event = line.pop("event")
    line.pop("level", None)
    shown = " ".join(f"{key}={value!r}" for key, value in line.items())
    return {"msg": f"{event} {shown}".rstrip(), "extra": {"event": event, "fields": line}}
