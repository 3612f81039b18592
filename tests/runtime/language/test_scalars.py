"""Plain scalars mean what YAML 1.2 says, not what 1.1 said."""

from __future__ import annotations

import math

import pytest

from perdure.runtime.language.scalars import DIGITS_MAX, resolve


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "yes",
        "on",
        "off",
        "NO",
        "y",
        "n",
        "1:30",
        "2024-01-01",
        "0o8",
        "0b1",
        "1_000",
        "0x",
        "nan",
        "inf",
        "<<",
        "=",
        "-",
        "+",
        ".",
        "+.",
        "1.2.3",
        "e5",
        "tRUE",
    ],
)
def test_what_only_yaml_1_1_retyped_stays_text(text):
    """Switch words, times, dates and odd numbers are text."""
    assert resolve(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("Null", None),
        ("true", True),
        ("FALSE", False),
        ("0123", 123),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("+7", 7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.Inf", -math.inf),
    ],
)
def test_the_core_schema_is_read(text, value):
    """Null, truth values, three kinds of whole numbers and floats."""
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_read_and_absurd_numbers_are_refused():
    """NaN has no equal; ten thousand digits are nobody's number."""
    assert math.isnan(resolve(".nan"))
    with pytest.raises(ValueError, match="digits"):
        resolve("1" * (DIGITS_MAX + 1))
