"""Log lines on stderr: one line each, for people or as JSON."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from perdure.runtime.cli.text import clean

ROOT: Final = "perdure"  # every logger of ours hangs below it; others' stay as they are


class _Stderr(logging.Handler):
    """Writes to whatever stderr is at the moment: a live display puts its own in place."""

    left_out: frozenset[str] = frozenset()

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line; a line that cannot be printed is reported as logging does it."""
        if getattr(record, "event", None) in self.left_out:
            return
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - logging's own way: handleError records it
            self.handleError(record)


class _ForPeople(logging.Formatter):
    """`2026-03-01 12:34:56Z info     step_started step='a'`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback, where there is one, is the field `exception`."""
        at = datetime.fromtimestamp(record.created, UTC)
        return f"{at:%Y-%m-%d %H:%M:%SZ} {record.levelname.lower():<8} {clean(record.getMessage())}"


class _ForPrograms(logging.Formatter):
    """One JSON object a line: at, level, event, logger, then the line's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Never fails over a value: what is no JSON becomes its text."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.getMessage()),
            "logger": record.name,
            **getattr(record, "fields", {}),
        }
        return msgspec.json.encode(line, enc_hook=repr).decode()


def leave_out(*events: str) -> None:
    """From now on print no line of these events: what they say is told in another way."""
    for handler in logging.getLogger(ROOT).handlers:
        if isinstance(handler, _Stderr):
            handler.left_out = frozenset(events)


def show_logs(*, level: str, format: str) -> None:
    """Print what perdure logs from `level` on, `format` being `console` or `json`."""
    handler = _Stderr()
    handler.setFormatter(_ForPrograms() if format == "json" else _ForPeople())
    logger = logging.getLogger(ROOT)
    for old in [each for each in logger.handlers if isinstance(each, _Stderr)]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
