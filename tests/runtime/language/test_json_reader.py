"""JSON is read strictly, and in agreement with the standard library."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.runtime.language.document import DEPTH_MAX, NODES_MAX
from perdure.runtime.language.errors import DefinitionError
from perdure.runtime.language.json_reader import read_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), inner)
    ),
)


@given(JSON, st.sampled_from([None, 2]), st.booleans())
def test_what_the_standard_library_writes_is_read_equal(value, indent, ascii_only):
    """Numbers keep their type."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    found = read_json(text, source="t.json").value
    assert found == value
    assert json.dumps(found) == json.dumps(value)


@given(st.text(alphabet='ab01-+.eE{}[],:" \n\t\\u/nultrefs', max_size=40))
def test_what_is_read_is_what_the_standard_library_reads(text):
    """Both accept the same texts, but for repeated keys and what JSON has no form for."""
    try:
        found = read_json(text, source="t.json").value
    except DefinitionError as error:
        problem = str(error)
        if any(word in problem for word in ("twice", "surrogate", "NUL", "64 bits", "infinite", "absurd")):
            return
        with pytest.raises(ValueError, match=r".+"):
            json.loads(text, parse_constant=_refuse)
        return
    expected = json.loads(text, parse_constant=_refuse)
    assert found == expected or math.isinf(expected)


def _refuse(word: str) -> None:
    raise ValueError(word)


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ('{"a": 1,\n "a": 2}', 2, 2, "'a' is there twice, first in line 1"),
        ('{"a": 1,}', 1, 9, "a key in double quotes"),
        ("{'a': 1}", 1, 2, "a key in double quotes"),
        ("[1,]", 1, 4, "a value belongs here"),
        ("[1 2]", 1, 4, "',' belongs here"),
        ('{"a" 1}', 1, 6, "':' belongs here"),
        ("[1] x", 1, 5, "more after the end"),
        ("{", 1, 2, "a key in double quotes"),
        ("", 1, 1, "ends too early"),
        ("NaN", 1, 1, "a value belongs here"),
        ("[1e999]", 1, 2, "infinite"),
        ("[" + "9" * 30 + "]", 1, 2, "64 bits"),
        ('["\\ud83d"]', 1, 2, "surrogate"),
        ('["\\u0000"]', 1, 2, "NUL"),
        ('["\t"]', 1, 3, "control character"),
    ],
)
def test_every_refusal_says_where_and_why(text, line, column, words):
    """One problem, with its place."""
    with pytest.raises(DefinitionError) as caught:
        read_json(text, source="t.json")
    (problem,) = caught.value.problems
    assert words in problem.message
    assert (problem.line, problem.column) == (line, column)


def test_depth_and_size_are_limited():
    """Before anything recurses."""
    with pytest.raises(DefinitionError, match="nested more than"):
        read_json("[" * 100_000, source="t.json")
    with pytest.raises(DefinitionError, match="values in one document"):
        read_json("[" + "1," * NODES_MAX + "1]", source="t.json")
    assert read_json("[" * DEPTH_MAX + "]" * DEPTH_MAX, source="t.json").value


def test_marks_lead_to_values_and_keys():
    """As in YAML."""
    document = read_json('{\n  "a": [1,\n   {"b": 2}]}', source="t.json")
    assert document.locate(("a", 1, "b"), at_key=False)[1:] == (3, 10)
    assert document.locate(("a", 1, "b"), at_key=True)[1:] == (3, 5)
