"""Which names are allowed: they become file names, URLs, command line arguments and template paths."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

KEY_MAX: Final = 128  # characters of a step key: it labels a node and heads a table row
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
NAME_RULE: Final = "1–128 of A–Z a–z 0–9 . _ -, beginning with a letter or digit, not ending in '.'"
KEY_RULE: Final = (
    "1–128 visible characters without spaces, dots and braces, in Unicode's composed form (NFC), "
    "not beginning with '-'"
)


def is_name(text: str) -> bool:
    """Whether a workflow or an execution may be called so."""
    return NAME.fullmatch(text) is not None and not text.endswith(".")


def is_key(text: str) -> bool:
    """Whether a step may be called so. Only one spelling of each text is allowed (NFC)."""
    return (
        0 < len(text) <= KEY_MAX
        and text.isprintable()
        and not text.startswith("-")
        and not any(character in "{}." or character.isspace() for character in text)
        and unicodedata.is_normalized("NFC", text)
    )


def is_label(text: str) -> bool:
    """Whether a text can be shown in one line as it is."""
    return text.isprintable()
