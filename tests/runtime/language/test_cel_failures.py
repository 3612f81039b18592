"""What CEL says of an expression that fails over its values, in words: which value, what to do."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.runtime.language.cel_failures import failed
from perdure.runtime.language.conditions import BadCondition, compile_rule

DATA: dict[str, Any] = {
    "inputs": {
        "text": "5",
        "few": 1,
        "some": 1.5,
        "is_new": True,
        "box": {"size": 1},
        "all": [1, 2],
        "no": None,
    },
    "steps": {
        "late": {"state": "skipped", "output": None},
        "in-time": {"state": "completed", "output": {"n": 5}},
    },
    "execution": {},
    "signal": {},
}
SAID = {
    "inputs.text > 3": (
        "`>` cannot be asked of a text and a whole number: convert the text, with "
        "int(inputs.text) or double(inputs.text), or the number, with string(…) (inputs.text is a"
        ' text: "5")'
    ),
    "inputs.some + inputs.few > 1.0": (
        "`+` cannot be asked of a number and a whole number: convert the whole number, with "
        "double(inputs.few), or write it as 1.0 (inputs.some is a number: 1.5; inputs.few is a "
        "whole number: 1)"
    ),
    "inputs.no > 3": (
        "`>` cannot be asked of null and a whole number: ask inputs.no != null first (inputs.no is null)"
    ),
    "inputs.all > 3": (
        "`>` cannot be asked of a list and a whole number: lists and mappings take only ==, in "
        "and size(), two lists also + (inputs.all is a list)"
    ),
    "inputs.few.startsWith('a')": (
        "`startsWith` cannot be asked of a whole number with a text: convert the text, with "
        "int(…) or double(…), or the number, with string(inputs.few) (inputs.few is a whole "
        "number: 1)"
    ),
    "inputs.few && inputs.is_new": (
        "`&&` asks for true or false: compare the value with something (inputs.few is a whole "
        "number: 1; inputs.is_new is true)"
    ),
    "inputs.few ? true : false": (
        "`?` asks for true or false: compare the value with something (inputs.few is a whole number: 1)"
    ),
    "1 in inputs.few": (
        "what stands after `in` has to be a list or a mapping (inputs.few is a whole number: 1)"
    ),
    "inputs.box.sise == 1": (
        "inputs.box has no 'sise': did you mean 'size'? Else ask has(inputs.box.sise) first"
    ),
    "inputs['a b'] == 1": ("inputs has no 'a b': ask \"a b\" in inputs first"),
    "steps.late.output.n == 1": (
        "steps.late.output is null, and has no 'n': ask steps.late.output != null first"
    ),
    'steps["in-time"].output.m == 1': (
        'steps["in-time"].output has no \'m\': ask has(steps["in-time"].output.m) first'
    ),
    "inputs.text.size == 1": (
        "inputs.text is a text: \"5\", and has no 'size': only a mapping has names in it"
    ),
    "inputs.all.exists(one, one.x == 1)": (
        "what stands before a dot is no mapping: only a mapping has names in it (inputs.all is a list)"
    ),
    "inputs.all[7] == 1": ("there is no place 7 in a list of 2: places count from 0; ask size(…) first"),
    "int(inputs.box) == 1": (
        "`int` cannot be asked of a mapping: lists and mappings take only ==, in and size(), two "
        "lists also + (inputs.box is a mapping)"
    ),
    "int('five') == 1": ("int(…) cannot read this text: it is no number; ask text.matches('^[0-9]+$') first"),
    "1 / (inputs.few - 1) == 1": (
        "it divides by zero: ask whether the divisor is 0 first (inputs.few is a whole number: 1)"
    ),
    "timestamp(inputs.text) > timestamp(0)": (
        "timestamp(…) cannot read this text: a time is written 2030-01-31T09:00:00Z (inputs.text "
        'is a text: "5")'
    ),
}


@pytest.mark.parametrize("text", SAID)
def test_a_failure_names_the_expression_the_value_and_what_to_do(text: str):
    """As the library fails, not as we think that it does."""
    with pytest.raises(BadCondition) as refused:
        compile_rule(text)(DATA)
    assert str(refused.value) == f"`{text}`: {SAID[text]}"


def test_what_is_not_known_here_is_passed_on_with_the_expression():
    """And long things are cut."""
    data = {"inputs": {"word": "x" * 50}}
    text = "inputs.word == '" + "y" * 80 + "'"
    told = failed("something new", text, data)
    assert told.startswith("`inputs.word == 'yyy")
    assert told.endswith(f'…`: something new (inputs.word is a text: "{"x" * 29}…)')
