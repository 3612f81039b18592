"""What an error says of itself is had of every error there is, and the store can hold it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perdure.actors.wording import (
    STACK_CHARS_MAX,
    TEXT_CHARS_MAX,
    name_of,
    repr_of,
    stack_of,
    text_of,
    type_of,
)


class Stubborn(Exception):
    """Answers nothing."""

    def __str__(self) -> str:
        """Exit."""
        raise SystemExit(1)

    __repr__ = __str__

    @property
    def __cause__(self) -> BaseException:  # type: ignore[override]
        """Interrupt."""
        raise KeyboardInterrupt


class Grown(str):
    """A text of somebody's own, which cannot be encoded."""

    __slots__ = ()

    def encode(self, *_: object, **__: object) -> bytes:
        """Refuse."""
        raise OSError

    def __getitem__(self, _: object) -> str:
        """Refuse."""
        raise OSError


class Speaking(Exception):
    """Says it in a text of its own."""

    def __str__(self) -> str:
        """A grown one."""
        return Grown("hello")


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (text_of, "(its text cannot be had: SystemExit)"),
        (repr_of, "(its text cannot be had: SystemExit)"),
        (stack_of, "(its stack cannot be had: KeyboardInterrupt)"),
        (type_of, "Stubborn"),
    ],
)
def test_what_cannot_be_had_is_said_to_be_so(ask: Callable[[BaseException], str], told: str) -> None:
    """With the kind of what stood in the way."""
    assert ask(Stubborn()) == told


def test_a_text_is_a_plain_one_that_utf_8_can_hold() -> None:
    """Half a character is written as what it is."""
    assert type(text_of(Speaking())) is str
    assert text_of(Speaking()) == "hello"
    assert text_of(ValueError("half \ud800")) == "half \\ud800"


def test_a_text_has_an_end() -> None:
    """However much an error has to say."""
    error = ValueError("x" * 1_000_000)
    assert [len(ask(error)) for ask in (text_of, repr_of)] == [TEXT_CHARS_MAX] * 2
    assert len(stack_of(error)) == STACK_CHARS_MAX


def test_no_error_has_no_stack() -> None:
    """And is of no type but that of nothing."""
    assert stack_of(None) == ""
    assert type_of(None) == name_of(type(None)) == "NoneType"
