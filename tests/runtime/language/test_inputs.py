"""Declared inputs and outputs: how they are written, what is refused, and what becomes of a context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.runtime import DefinitionError, Workflow
from perdure.runtime.language.inputs import filled, names_of, problems_of, schema_of, typed

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["path", "n"],
    "properties": {
        "path": {"type": "string", "description": "the file"},
        "n": {"type": "integer", "default": 3, "minimum": 1},
        "mode": {"enum": ["fast", "slow"]},
        "sizes": {"type": "object", "properties": {"w": {"type": "number", "default": 1.5}}},
    },
}


class Order(msgspec.Struct):
    """Inputs as a struct."""

    path: str
    n: int = 3


class Address(msgspec.Struct):
    """A part of inputs."""

    city: str
    country: str = "DE"


class Parcel(msgspec.Struct):
    """Inputs with a struct in them."""

    to: Address


class Typed(TypedDict):
    """Inputs as a typed dict."""

    path: Annotated[str, msgspec.Meta(description="the file")]
    n: NotRequired[int]


def test_defaults_are_filled_in_also_inside_mappings():
    """What is given stays; the caller's mapping is not changed."""
    given_: dict[str, Any] = {"path": "a", "sizes": {}}
    assert filled(SCHEMA, given_) == {"path": "a", "n": 3, "sizes": {"w": 1.5}}
    assert given_ == {"path": "a", "sizes": {}}
    assert filled(SCHEMA, {"path": "a", "n": 5}) == {"path": "a", "n": 5}
    assert filled(None, given_) is given_


def test_defaults_are_filled_in_also_where_a_reference_leads():
    """As the schema of a type within a type has it."""
    schema = schema_of(Parcel)
    assert filled(schema, {"to": {"city": "Ulm"}}) == {"to": {"city": "Ulm", "country": "DE"}}
    endless = {"properties": {"next": {"$ref": "#/$defs/node"}}, "$defs": {"node": {"default": {}}}}
    endless["$defs"]["node"]["properties"] = endless["properties"]
    assert filled(endless, {"next": {}}) == {"next": {"next": {}}}
    odd = {"properties": {"a": {"$ref": "#/$defs/no"}, "b": {"$ref": "elsewhere"}, "c": {"$ref": "#/type/x"}}}
    assert filled({**odd, "type": "object"}, {"a": {}, "b": {}, "c": {}}) == {"a": {}, "b": {}, "c": {}}


def test_everything_that_is_wrong_is_told_at_once_with_the_name_that_may_be_meant():
    """Missing, misspelt, too small, none of the choices."""
    told = problems_of(SCHEMA, {"pathh": "a", "n": 0, "mode": "x", "sizes": {"w": "wide"}})
    assert {problem.message for problem in told} == {
        "input 'path' is missing: string, the file (is 'pathh' meant to be it?)",
        "input 'n': 0 is less than the minimum of 1",
        """input 'mode': "x" is not one of "fast" or "slow\"""",
        """input 'sizes.w': "wide" is not of type "number\"""",
    }
    assert problems_of(SCHEMA, {"path": "a", "n": 1, "anything": "else"}) == []


def test_where_no_others_are_allowed_each_is_named():
    """With what it may be meant to be."""
    closed = {**SCHEMA, "additionalProperties": False}
    told = [problem.message for problem in problems_of(closed, {"path": "a", "n": 1, "mod": "fast", "z": 1})]
    assert told == ["input 'mod' is not declared (did you mean 'mode'?)", "input 'z' is not declared"]
    with_pattern = {**closed, "patternProperties": {"^x-": {}}}
    told = [problem.message for problem in problems_of(with_pattern, {"path": "a", "n": 1, "x-a": 1, "z": 1})]
    assert told == ["input 'z' is not declared"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("path", "12", "12"),
        ("path", '"12"', "12"),
        ("path", "plain", "plain"),
        ("n", "12", 12),
        ("n", "many", "many"),
        ("mode", "fast", "fast"),
        ("sizes", '{"w": 2}', {"w": 2}),
        ("unknown", "12", 12),
        ("unknown", "yes", "yes"),
    ],
)
def test_a_text_is_what_its_input_is_declared_to_be(name: str, text: str, value: Any):
    """A path that looks like a number is a path."""
    assert typed(SCHEMA, name, text) == value


@given(st.text())
def test_an_input_that_is_text_takes_any_text(text: str):
    """Without quotes; what is in JSON's quotes is what they hold."""
    value = typed(SCHEMA, "path", text)
    assert (
        value == text or text.strip() == msgspec.json.encode(value).decode() or text.strip().startswith('"')
    )


@pytest.mark.parametrize("kind", [Order, Typed])
def test_a_type_with_fields_is_a_schema(kind: type):
    """Its root is written out, so that names can be looked up."""
    schema = schema_of(kind)
    assert schema is not None
    assert names_of(schema) == {"path", "n"}
    assert schema["required"] == ["path"]
    assert Workflow("w", inputs=kind).sleep_step("a", 1).definition.inputs == schema


def test_a_workflow_with_inputs_and_outputs_is_the_same_in_each_form():
    """YAML, JSON and Python."""
    made = Workflow("w", inputs=SCHEMA, outputs={"done": "{{a}}", "all": ["{{n}}", {"at": "{{a}}"}]})
    made.sleep_step("a", 1)
    assert Workflow.parse(made.to_yaml()).revision == made.revision
    assert Workflow.parse(made.to_json()).revision == made.revision


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("inputs: {type: strin}", "w.yaml:2:16: inputs.type: not a JSON Schema"),
        (
            "inputs: {moment: {type: string}}",
            "w.yaml:2:18: inputs.moment: 'moment' is no word of JSON Schema",
        ),
        ("inputs: {moment: string}", "declares nothing, expected the inputs under `properties`"),
        ("inputs: {type: array}", "w.yaml:2:16: inputs.type: inputs are a mapping of names to values"),
        ("inputs: {properties: {a: {}}}", "the input 'a' is also the key of a step"),
        ("inputs: {properties: {n: {type: integer, default: x}}}", 'the default does not fit: "x" is not of'),
        (
            "inputs: {properties: {n: {type: integer}, m: {$ref: '#/properties/n', default: x}}}",
            'inputs.properties.m.default: the default does not fit: "x" is not of',
        ),
        (
            "inputs: {properties: {momnet: {}}}",
            "{{moment}} is neither a step nor a declared input (did you mean",
        ),
        ('outputs: {x: "{{b}"}', "outputs.x: '{{b}' is not closed"),
        (
            'inputs: {properties: {moment: {}}}\noutputs: {x: ["{{z}}"]}',
            "outputs.x[0]: {{z}} is neither a step nor",
        ),
        (
            "inputs: {properties: {moment: {}, n: {}}}\noutputs: {x: {cel: inputs.nn}}",
            "outputs.x.cel: inputs['nn'] is neither a step nor a declared input (did you mean 'n'?)",
        ),
        (
            "config: {limits: {concurrency: 1, key: '{{tenannt}}'}}\ninputs: {properties: {tenant: {}}}",
            "config.limits.key: {{tenannt}} is neither a step nor a declared input (did you mean 'tenant'?)",
        ),
        ("outputs: {x: {cel: '1 +'}}", "outputs.x.cel: not an expression:"),
        ("outputs: {x: {cel: steps.b.output}}", "outputs.x.cel: it looks at step 'b', which does not exist"),
        ("outputs: [a]", "a list does not fit here, expected a mapping"),
    ],
)
def test_what_is_wrong_is_told_when_it_is_read(refused: Callable[..., DefinitionError], head: str, told: str):
    """With its place."""
    assert told in str(refused(f"name: w\n{head}\nsteps:\n  - {{key: a, until: '{{{{moment}}}}'}}\n"))


@pytest.mark.parametrize("place", ["when: '{}'", "gate: {{criteria: [{{when: '{}', reason: r}}]}}"])
def test_what_a_condition_takes_must_be_declared(refused: Callable[..., DefinitionError], place: str):
    """As what a template looks up; but not what it asks for first, or only speaks of."""
    head = "name: w\ninputs: {properties: {limit: {}}}\nsteps:\n  - {key: a, sleep: 1}\n  - {key: b, "
    kind = "" if place.startswith("gate") else "sleep: 1, "
    wrong = refused(head + kind + place.format("inputs.limti > 3") + "}\n")
    assert "inputs['limti'] is neither a step nor a declared input (did you mean 'limit'?)" in str(wrong)
    for sound in (
        'inputs["limit"] > 3',
        "has(inputs.more) && inputs.more > 3",
        '"more" in inputs && inputs.more > 3',
        'inputs.limit == "inputs.more"',
    ):
        Workflow.parse(head + kind + place.format(sound) + "}\n")


def test_names_are_not_checked_where_the_schema_lets_others_in():
    """Nobody can say then what there will be."""
    for opening in (
        "additionalProperties: true",
        "patternProperties: {m: {}}",
        "allOf: [{required: [moment]}]",
    ):
        head = f"name: w\ninputs: {{properties: {{}}, {opening}}}\n"
        text = head + "steps: [{key: a, until: '{{moment}}'}]\n"
        assert Workflow.parse(text).definition.inputs is not None
