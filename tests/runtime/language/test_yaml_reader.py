"""YAML is read by events: with marks, in bounds, and without surprises."""

from __future__ import annotations

import contextlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from perdure.runtime.language.document import DEPTH_MAX, NODES_MAX
from perdure.runtime.language.errors import DefinitionError
from perdure.runtime.language.yaml_reader import ALIASES_MAX, DIRECTIVES_MAX, read_yaml

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def value_of(text: str) -> object:
    """What a text says."""
    return read_yaml(text, source="t.yaml").value


def place_of(text: str) -> tuple[int | None, int | None, str]:
    """Where and why a text is refused."""
    with pytest.raises(DefinitionError) as caught:
        read_yaml(text, source="t.yaml")
    (problem,) = caught.value.problems
    return problem.line, problem.column, problem.message


def test_marks_lead_to_values_and_keys():
    """Lines and columns count from 1; what does not exist is placed at what is around it."""
    document = read_yaml("a: 1\nb:\n  - x\n  - c: 2\n", source="t.yaml")
    assert document.locate(("b", 1, "c"), at_key=False)[1:] == (4, 8)
    assert document.locate(("b", 1, "c"), at_key=True)[1:] == (4, 5)
    assert document.locate(("b", 1, "nothing"), at_key=True)[1:] == (4, 5)
    assert document.locate((), at_key=False) == ("t.yaml", 1, 1)


def test_aliases_stand_for_their_anchors():
    """They are values like others; where they are used as keys too."""
    assert value_of("a: &x [1, 2]\nb: *x\nc: &k key\n*k : 1\n") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": "key",
        "key": 1,
    }


def test_core_tags_are_read():
    """They only say what the text says already, or that it is text."""
    assert value_of("a: !!str 1\nb: !!int 2\nc: !!float 3\nd: ! 4\ne: !!map {}\nf: !!null ''\n") == {
        "a": "1",
        "b": 2,
        "c": 3,
        "d": "4",
        "e": {},
        "f": None,
    }


def test_quoted_scalars_are_text():
    """So are block scalars."""
    assert value_of("a: '1'\nb: \"no\"\nc: |\n  2\n") == {"a": "1", "b": "no", "c": "2\n"}


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "'a' is there twice, first in line 1"),
        ("a: *x\n", 1, 4, "'*x' stands for nothing"),
        ("a: &x [*x]\n", 1, 8, "stands inside of what it stands for"),
        ("<<: {a: 1}\n", 1, 1, "merge keys"),
        ("1: a\n", 1, 1, "the key 1 is not text"),
        ("no: a\n~: b\n", 2, 1, "the key null is not text"),
        ("? [a]\n: 1\n", 1, 3, "a key is text"),
        ("x: &k {a: 1}\n*k : 1\n", 2, 1, "a key is text"),
        ("a: !!python/name:os.system\n", 1, 4, "is not read"),
        ("a: !!int x\n", 1, 4, "is not what its tag"),
        ("a: !!int true\n", 1, 4, "is not what its tag"),
        ("a: !!set {x}\n", 1, 4, "is not read"),
        ("a: 1\n---\nb: 2\n", 2, 1, "a second document"),
        ("a: .inf\n", 1, 4, "infinite"),
        ("a: 1e999\n", 1, 4, "infinite"),
        ("a: 99999999999999999999\n", 1, 4, "64 bits"),
        ("a: [1\n", 2, 1, "not YAML"),
        ("a:\n\t- b\n", 2, 1, "a tab stands where only spaces may indent"),
        ("a: b\r\rc: @b\n", 3, 4, "text that begins with '@' has to stand in quotes"),
        ("a: @b\n", 1, 4, "text that begins with '@' has to stand in quotes"),
        ("a: */5 * * * *\n", 1, 5, "text that begins with '*' has to stand in quotes"),
        ("a: & b\n", 1, 5, "text that begins with '&' has to stand in quotes"),
        ("a: !has(b)\n", 1, 4, "text that begins with '!' has to stand in quotes"),
        ("a: {{b}}\n", 1, 5, "text with '{{' has to stand in quotes"),
        ("a: b: {{c}}\n", 1, 5, "text with ': ' in it has to stand in quotes"),
        ("- a: b\n   c: d\n", 2, 5, "begin in the same column"),
        ('a: "\\0"\n', 1, 4, "NUL"),
    ],
)
def test_every_refusal_says_where_and_why(text, line, column, words):
    """One problem, with the place where it begins."""
    found_line, found_column, message = place_of(text)
    assert words in message
    assert (found_line, found_column) == (line, column)


def test_depth_is_limited_on_the_way():
    """64 levels are read; a hundred thousand open brackets are refused at the 65th."""
    assert value_of("[" * DEPTH_MAX + "]" * DEPTH_MAX)
    assert place_of("[" * 100_000) == (1, DEPTH_MAX + 1, "nested more than 64 levels deep")
    assert "nested" in place_of("- " * 5_000 + "x\n")[2]
    assert "nested" in place_of("a: &a [[[[]]]]\nb: " + "[" * 62 + "*a" + "]" * 62)[2]


def test_values_are_counted_with_what_aliases_repeat():
    """A bomb is refused by what it would become."""
    assert f"{NODES_MAX:,} values" in place_of("[" + "1," * NODES_MAX + "]")[2]
    bomb = "a: &a [" + "x," * 100 + "]\n"
    for name, before in zip("bcd", "abc", strict=True):
        bomb += f"{name}: &{name} [" + f"*{before}," * 100 + "]\n"
    assert f"{NODES_MAX:,} values" in place_of(bomb)[2]
    assert "aliases" in place_of("a: &a x\nb: [" + "*a," * (ALIASES_MAX + 1) + "]\n")[2]
    long = "a: &a " + "x" * 10_000 + "\nb: [" + "*a," * 200 + "]\n"
    assert "characters" in place_of(long)[2]


def test_directives_are_few_and_of_a_version_that_is_known():
    """The parser compares each tag directive with all others: their number is limited."""
    assert value_of("%YAML 1.1\n---\na: 1\n") == {"a": 1}
    assert "directives" in place_of("%TAG !a! x\n" * (DIRECTIVES_MAX + 1))[2]
    assert place_of("%YAML 9.9\n---\na: 1\n")[2]


@given(JSON)
def test_what_other_tools_write_is_read_as_they_meant_it(value):
    """Values dumped as YAML with quoted text come back equal."""
    text = yaml.safe_dump(value, default_style='"', allow_unicode=False)
    assert value_of(text) == value


@given(st.text(alphabet="ab:- \n\t[]{},&*!|>'\"%#?0.~<\\", max_size=60))
def test_any_text_is_a_document_or_one_refusal(text):
    """Nothing else comes out of the reader."""
    with contextlib.suppress(DefinitionError):
        read_yaml(text, source="t.yaml")
