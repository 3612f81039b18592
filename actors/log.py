"""Structured log lines, silent until the program that embeds us wants them.

Lines go to the standard library's loggers below `perdure`, which have no handler of their own; so
an embedding program sees them through whatever `logging` set-up it has. The events are listed in
`docs/events.md`; each is logged once, at the seam where it happens.
"""

from __future__ import annotations

import logging

import structlog
from structlog.typing import FilteringBoundLogger

logging.getLogger("perdure").addHandler(logging.NullHandler())


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry their fields as `extra` and, rendered, in the message."""
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


def _to_stdlib(_logger: object, _name: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Hand the event over as the message and its fields as one attribute, `fields`, of the record."""
    event = line.pop("event")
    line.pop("level", None)
    shown = " ".join(f"{key}={value!r}" for key, value in line.items())
    return {"msg": f"{event} {shown}".rstrip().replace("%", "%%"), "extra": {"event": event, "fields": line}}
