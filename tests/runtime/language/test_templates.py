"""Templates are look-ups, read once; values pass through them untouched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.runtime.language.errors import TemplateError
from perdure.runtime.language.templates import (
    PLACES_MAX,
    RENDERED_CHARACTERS_MAX,
    SEGMENTS_MAX,
    BadTemplate,
    compile_template,
    parse_template,
)

NUMBERS = {"parse-changes": 0, "scan": 1}
OUTPUTS = {
    0: {"functions": ["f<1>", "g"], "count": 2, "ratio": 0.5, "note": None},
    1: {"result": "clean"},
}


@pytest.fixture
def render(seen):
    """Render a text with some inputs and two outputs."""

    def rendered(text: str, context: dict | None = None, outputs: dict | None = None) -> object:
        compiled = compile_template(parse_template(text), step="report", numbers=NUMBERS)
        return compiled(seen(context, OUTPUTS if outputs is None else outputs))

    return rendered


def test_a_template_that_is_the_whole_value_keeps_its_type(render):
    """A list stays a list."""
    assert render("{{parse-changes.functions}}") == ["f<1>", "g"]
    assert render("{{ parse-changes.count }}") == 2
    assert render("{{parse-changes.note}}") is None


def test_inside_text_what_is_not_text_becomes_compact_json(render):
    """Text goes in as it is, without escapes of any kind."""
    assert render("Review {{filePath}}: {{parse-changes.functions}}", {"filePath": "a<b>.py"}) == (
        'Review a<b>.py: ["f<1>","g"]'
    )
    assert render("{{parse-changes.ratio}} {{parse-changes.note}}") == "0.5 null"


def test_a_step_alone_and_its_result_are_the_whole_output(render):
    """`KEY.result` is the whole output unless the output has such a field."""
    assert render("{{parse-changes}}") == OUTPUTS[0]
    assert render("{{parse-changes.result}}") == OUTPUTS[0]
    assert render("{{parse-changes.result.count}}") == 2
    assert render("{{scan.result}}") == "clean"
    assert render("{{scan.result}}", outputs={1: None}) is None
    assert render("{{scan.result.1}}", outputs={1: ["a", "b"]}) == "b"


def test_numbers_index_lists_and_name_fields(render):
    """In a list a number counts from 0; in a mapping it is a name like others."""
    assert render("{{items.1.name}}", {"items": [{}, {"name": "x"}]}) == "x"
    assert render("{{items.1}}", {"items": {"1": "one"}}) == "one"


def test_what_was_looked_up_is_not_a_template(render):
    """One pass: braces in a value stay braces."""
    assert render("{{a}}{{b}}", {"a": "{{b}}", "b": "\\{{"}) == "{{b}}\\{{"


def test_a_backslash_makes_braces_literal(render):
    r"""`\{{` stands for `{{`; closing braces alone are text."""
    assert render(r"\{{name}} is {{name}} }}", {"name": "x"}) == "{{name}} is x }}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{a.nothing}}", "{{a.nothing}} has no 'nothing': there is b"),
        ("{{a.b.c}}", "there is a str"),
        ("{{a.b.__class__}}", "has no '__class__'"),
        ("{{list.5}}", "there is a list of 2"),
        ("{{list.-1}}", "has no '-1'"),
        ("{{list.01}}", "has no '01'"),
        ("{{gone}}", "has no 'gone'"),
        ("{{none.x}}", "there is null"),
        ("{{empty.x}}", "it is empty there"),
    ],
)
def test_a_missing_value_says_what_was_there(render, text, words):
    """The step, the path, the part and what was found instead."""
    with pytest.raises(TemplateError) as caught:
        render(text, {"a": {"b": "text"}, "list": [1, 2], "none": None, "empty": {}})
    assert "step 'report'" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "{{",
        "{{ }}",
        "{{}}",
        "{{a b}}",
        "{{a..b}}",
        "{{.a}}",
        "{{a.}}",
        "{{{a}}}",
        "{{a}",
        "{{ a | upper }}",
        "{{" + ".".join("a" * (SEGMENTS_MAX + 1)) + "}}",
        "{{" + "a" * 300 + "}}",
        "{{a}}" * (PLACES_MAX + 1),
    ],
)
def test_what_is_not_a_path_is_refused(text):
    """There are no expressions, and no guesses at what was meant."""
    with pytest.raises(BadTemplate):
        parse_template(text)


def test_a_rendered_prompt_has_a_limit(render):
    """A template cannot multiply its values without end."""
    with pytest.raises(TemplateError, match="the limit is"):
        render("{{a}} {{a}}", {"a": "x" * (RENDERED_CHARACTERS_MAX - 1)})


@given(st.text())
def test_any_text_is_a_template_or_refused_and_without_braces_stays_itself(text):
    """Nothing else comes out of the parser."""
    try:
        template = parse_template(text)
    except BadTemplate:
        assert "{{" in text
        return
    if "{{" not in text:
        assert "".join(map(str, template.parts)) == text
