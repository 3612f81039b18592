"""Plain text for terminals: nothing hostile in it, columns that line up."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

import msgspec

COLUMN_CHARACTERS_MAX: Final = 80  # a wider cell is cut: tables are read, data comes from --format json

RESET: Final = "\x1b[0m"
COLOURS: Final[dict[str, str]] = {
    "green": "\x1b[32m",
    "red": "\x1b[31m",
    "yellow": "\x1b[33m",
    "blue": "\x1b[34m",
    "magenta": "\x1b[35m",
    "dim": "\x1b[2m",
    "bold": "\x1b[1m",
}


class Cell(msgspec.Struct, frozen=True):
    """Text of a table, with the colour (a name in COLOURS) it has where colours are shown."""

    text: str
    colour: str | None = None


def clean(text: object) -> str:
    """The text without anything a terminal would obey: control characters become visible escapes."""
    return "".join(
        character
        if character.isprintable() or character == " "
        else character.encode("unicode_escape").decode("ascii")
        for character in str(text)
    )


def width(text: str) -> int:
    """How many columns the text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def cut(text: str, *, limit: int = COLUMN_CHARACTERS_MAX) -> str:
    """The text, ended with … where it is too long."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def paint(text: str, colour: str | None, *, in_colour: bool) -> str:
    """The text in its colour, where colours are shown."""
    return f"{COLOURS[colour]}{text}{RESET}" if in_colour and colour else text


def columns(heads: Sequence[str], rows: Sequence[Sequence[Cell | str]], *, in_colour: bool) -> str:
    """A table without borders: columns two spaces apart, heads dim, no trailing spaces."""
    cells = [[Cell(head, "dim") for head in heads], *([_cell(cell) for cell in row] for row in rows)]
    widths = [max(width(row[column].text) for row in cells) for column in range(len(heads))]
    return "".join(_line(row, widths, in_colour=in_colour) for row in cells)


def _cell(cell: Cell | str) -> Cell:
    if isinstance(cell, str):
        return Cell(cut(clean(cell)))
    return Cell(cut(clean(cell.text)), cell.colour)


def _line(row: Sequence[Cell], widths: Sequence[int], *, in_colour: bool) -> str:
    last = max((column for column, cell in enumerate(row) if cell.text), default=-1)
    parts = [
        paint(cell.text, cell.colour, in_colour=in_colour)
        + " " * (0 if column == last else widths[column] - width(cell.text))
        for column, cell in enumerate(row[: last + 1])
    ]
    return "  ".join(parts) + "\n"
