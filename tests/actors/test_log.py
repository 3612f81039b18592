"""Log lines carry what was bound where they are logged, and cost nothing where nobody reads them."""

from __future__ import annotations

import logging
from contextvars import copy_context

import pytest
import structlog

from perdure.actors.log import bind, bound, get_logger


def test_lines_carry_what_was_bound_in_their_task_and_nobody_elses(caplog: pytest.LogCaptureFixture):
    """What is bound later wins over what was bound before, and what the line itself says over both."""

    def step() -> None:
        bind(step="a", trace_id="t2")
        get_logger("perdure.test").warning("noted", step="b")

    def execution() -> None:
        bind(trace_id="t1", execution_id="e")
        copy_context().run(step)
        get_logger("perdure.test").warning("noted")

    copy_context().run(execution)
    fields = [getattr(record, "fields", None) for record in caplog.records]
    assert fields == [
        {"trace_id": "t2", "execution_id": "e", "step": "b"},
        {"trace_id": "t1", "execution_id": "e"},
    ]
    assert dict(bound()) == {}


def test_what_was_bound_is_in_the_lines_of_a_program_that_uses_structlog_too():
    """By its context variables, which such a program merges into its lines."""

    def step() -> dict[str, object]:
        bind(step="a")
        return structlog.contextvars.merge_contextvars(None, "info", {})

    assert copy_context().run(step) == {"step": "a"}


class Full(logging.Handler):
    """A handler that cannot take a line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Refuse."""
        raise OSError("no room on the device")


def test_a_handler_that_raises_fails_nobody_who_logs(capsys: pytest.CaptureFixture[str]):
    """Not the machine in the middle of its work; what was raised is on stderr."""
    stdlib = logging.getLogger("perdure.test_full")
    handler = Full()
    stdlib.addHandler(handler)
    try:
        get_logger("perdure.test_full").warning("noted", n=1)
    finally:
        stdlib.removeHandler(handler)
    told = capsys.readouterr().err
    assert told.startswith("perdure: logging failed on noted n=1\n")
    assert "OSError: no room on the device" in told


def test_an_error_that_cannot_be_formatted_is_logged_all_the_same(caplog: pytest.LogCaptureFixture):
    """Whoever logs what a function of others raised must not fail of it."""
    log = get_logger("perdure.test_unformatted")
    misplaced = SyntaxError("misplaced", ("file", "line", "column", 5))  # type: ignore[arg-type]
    log.error("noted", exc_info=misplaced)
    log.error("noted", exc_info=ValueError("known"))
    odd, known = (record.fields["exception"] for record in caplog.records)  # type: ignore[attr-defined]
    assert odd == "(its stack cannot be had: AttributeError)"
    assert known == "ValueError: known\n"


@pytest.mark.parametrize("is_read", [True, False])
def test_values_after_the_event_are_filled_in_and_fail_nobody(
    *, is_read: bool, caplog: pytest.LogCaptureFixture
):
    """As the standard library's loggers take them; the same whether or not somebody reads it."""
    log = get_logger(f"perdure.test_values_{is_read}")
    logging.getLogger(f"perdure.test_values_{is_read}").setLevel("INFO" if is_read else "ERROR")
    log.info("%d of %s", 3, "100%", step="a")
    log.info("%d", "many")
    log.info("%d of %d", *[3])
    assert [record.getMessage() for record in caplog.records] == is_read * [
        "3 of 100% step='a'",
        "%d values=('many',)",
        "%d of %d values=(3,)",
    ]


def test_a_line_that_nobody_reads_makes_no_logger():
    """And one that somebody reads does, whoever asked for the logger before."""
    log = get_logger("perdure.test_unread")
    stdlib = logging.getLogger("perdure.test_unread")
    stdlib.setLevel(logging.ERROR)
    log.warning("unread", n=1)
    assert log._made is None  # type: ignore[attr-defined]
    stdlib.setLevel(logging.WARNING)
    log.warning("read", n=1)
    assert log._made is not None  # type: ignore[attr-defined]
