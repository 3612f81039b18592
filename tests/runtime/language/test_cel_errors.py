"""What CEL says of an expression that cannot be, in words: what, where, what to do."""

from __future__ import annotations

import pytest

from perdure.runtime.language.cel_errors import explained
from perdure.runtime.language.conditions import BadCondition, check_condition

SAID = {
    "inputs.a +": "it ends too early after `+`: "
    "there has to follow a value, such as inputs.name, 3 or 'text'",
    "inputs.a ? 1": "`:` is missing (at the end): write condition ? one : other",
    "(inputs.a": "`)` is missing (at the end): close what is open",
    "inputs['a' == 1": "`]` is missing (at the end): close what is open",
    "inputs.a)": "there is a `)` too many (character 9, at `)`): nothing is open there",
    "inputs.a = 1": "`=` means nothing (character 10, at `= 1`): to compare, write ==",
    "inputs.a === 1": "`===` is no operator (character 12, at `= 1`): to compare, write ==",
    "inputs.a <> 1": "`<>` is no word of CEL (character 11, at `> 1`): for not equal, write !=",
    "inputs.a == 'x": "a text is not closed (character 13, at `'x`): end it with '",
    "inputs.a and inputs.b": "`and` is no word of CEL (character 10, at `and inputs.b`): write && for and",
    "not inputs.a": "`not` is no word of CEL (character 5, at `inputs.a`): write ! for not",
    "if inputs.a then 1": "`if` is no word of CEL (character 1, at `if inputs.a then 1`): "
    "write condition ? one : other",
    "inputs.é == 1": "`é` means nothing (character 8, at `é == 1`): "
    'a name with such a character is written inputs["name"]',
    "inputs.in": '`.in` cannot stand here (character 8, at `in`): as a name it is written inputs["in"]',
    "inputs.a == None": "`None` is not known (character 13, at `None`): write null",
    "inputs.a\n&& foo": "`foo` is not known (line 2, character 4, at `foo`): "
    "there are `inputs` and `steps`, as in inputs.foo or steps.foo.output; a text stands in quotes",
    "steps.to-scan.state == 'x'": "`scan.state` is not known (character 14, at `.state == 'x'`): "
    'a name with - is written in brackets, steps["a-b"]',
    "foo(1)": "`foo` is no function, or takes no such arguments (character 4, at `(1)`)",
    "1 + 'a' == 2": "`+` cannot be asked of a whole number and a text (character 3, at `+ 'a' == 2`): "
    "convert one of them, with string(…), int(…) or double(…)",
    "inputs.a && 1": "`&&` cannot be asked of any value and a whole number (character 10, at `&& 1`): "
    "compare it with something, so that it is true or false",
    "inputs.a ? [1, 2] : null": "`?:` gives either a list or null (character 10, at `? [1, 2] : null`): "
    "both have to be of one type; write dyn(…) around one of them",
    "inputs.a == 1 ? {'a': 1} : 'x'": "`?:` gives either a mapping or a text "
    "(character 15, at `? {'a': 1} : 'x'`): both have to be of one type; write dyn(…) around one of them",
    "1 ? inputs.a : [inputs.b]": "`?:` cannot be asked of a whole number "
    "(character 3, at `? inputs.a : [inputs.b]`): compare it with something, so that it is true or false",
    "{'a': [1]} + [1]": "`+` cannot be asked of a mapping and a list (character 12, at `+ [1]`): "
    "lists and mappings take only ==, in and size(), two lists also +",
    "inputs.a == 99999999999999999999": "the number is too large "
    "(character 13, at `99999999999999999999`): whole numbers have 64 bits; write it as 1e20, or as a text",
    "inputs.a, inputs.b": "`,` cannot follow `a` (character 9, at `, inputs.b`): "
    "put an operator between them, such as && or ==",
    "in": "`in` cannot stand here (character 1, at `in`): "
    "there has to be a value, such as inputs.name, 3 or 'text'",
}


@pytest.mark.parametrize("text", SAID)
def test_what_cannot_be_is_told_in_words_with_its_place_and_what_to_do(text: str):
    """Of several complaints the first: the others follow from it."""
    with pytest.raises(BadCondition) as refused:
        check_condition(text)
    assert str(refused.value) == SAID[text]


@pytest.mark.parametrize(
    "text", ["inputs.a == 1 &", "?", "inputs.a[", "1..2", "{", "[1, 2", "🙂", "a.b.c(", "!!"]
)
def test_nothing_of_the_parser_shows(text: str):
    """No tokens, no sets of them, no codes."""
    with pytest.raises(BadCondition) as refused:
        check_condition(text)
    for word in ("<EOF>", "expecting", "Syntax error", "INVALID", "<input>", "IDENTIFIER", "\n"):
        assert word not in str(refused.value)


def test_what_is_not_known_here_is_passed_on_with_its_place():
    """Better said in other words than not at all."""
    raw = "INVALID_ARGUMENT: ERROR: <input>:1:3: something new (in container '')\n | abc [INVALID_ARGUMENT]"
    assert explained(raw, "abcdef", names=()) == "something new (character 3, at `cdef`)"
    assert explained("recursion limit exceeded", "((", names=()) is None
