"""What a plain YAML scalar means: the core schema of YAML 1.2, nothing of 1.1.

So `no`, `on` and `1:30` are text, octal is `0o17`, and there are no dates.
"""

from __future__ import annotations

import re
from typing import Final

Scalar = str | int | float | bool | None

DIGITS_MAX: Final = 400  # of a number: more is not a number anybody meant

_WORDS: Final[dict[str, bool | None]] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NOT_A_NUMBER: Final = re.compile(r"\.(nan|NaN|NAN)")


def resolve(text: str) -> Scalar:
    """Return what a plain scalar stands for. Raises ValueError for numbers of absurd length."""
    if text in _WORDS:
        return _WORDS[text]
    if not (text[0].isdigit() or text[0] in "+-."):
        return text
    if len(text) > DIGITS_MAX and _FLOAT.fullmatch(text):
        raise ValueError(f"a number of {len(text):,} digits")
    return _number(text)


def _number(text: str) -> Scalar:
    """Return the number a text stands for, or the text."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text, 0)
    if _HEXADECIMAL.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float("-inf") if text.startswith("-") else float("inf")
    return float("nan") if _NOT_A_NUMBER.fullmatch(text) else text
