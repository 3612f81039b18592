"""What is printed reads back equal."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.runtime.language import (
    Config,
    Definition,
    NotPrintable,
    RetryDefinition,
    StepDefinition,
    Workflow,
    parse,
)
from perdure.runtime.language.names import is_key

WORDS = [
    "no",
    "on",
    "~",
    "null",
    "1",
    "1.0",
    "0o17",
    "0x1F",
    "1e3",
    ".5",
    "2024-01-01",
    "1:30",
    "<<",
    "=",
    "- a",
    "a: b",
]
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.sampled_from(WORDS)
LABEL = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20).filter(
    str.isprintable
) | (st.sampled_from(WORDS))
KEY = LABEL.filter(is_key)
MS = st.none() | st.integers(1, 10**9)
SCHEMA = st.fixed_dictionaries(
    {"type": st.sampled_from(["object", "array", "string"])},
    optional={"description": TEXT, "minLength": st.integers(0, 9), "const": st.none() | TEXT | st.booleans()},
)
RETRY = st.builds(
    RetryDefinition,
    max_retries=st.integers(0, 99),
    retry_delay_ms=st.integers(0, 10**6),
    retry_backoff_multiplier=st.floats(1, 1000),
    retry_max_delay_ms=st.integers(0, 10**6),
    jitter=st.booleans(),
    retryable_errors=st.lists(LABEL, max_size=3).map(tuple),
)


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """Sound definitions that use every field."""
    keys = draw(st.lists(KEY, min_size=1, max_size=5, unique=True))
    steps = [
        StepDefinition(
            key=key,
            agent=draw(LABEL),
            prompt=draw(st.none() | TEXT.filter(lambda text: "{{" not in text)),
            dependencies=tuple(draw(st.lists(st.sampled_from(keys[:no]), unique=True)) if no else ()),
            parallel=draw(st.booleans()),
            optional=draw(st.booleans()),
            timeout_ms=draw(MS),
            retry_policy=draw(st.none() | RETRY),
            output_schema=draw(st.none() | SCHEMA),
            process=draw(st.booleans()),
        )
        for no, key in enumerate(keys)
    ]
    config = Config(
        timeout=draw(MS),
        max_retries=draw(st.integers(0, 99)),
        checkpoint_interval=draw(MS),
        parallelism=draw(st.none() | st.integers(1, 99)),
        continue_on_error=draw(st.booleans()),
        scheduling=draw(st.sampled_from(["level", "eager"])),
    )
    return Definition(
        name=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)),
        description=draw(st.none() | TEXT),
        version=draw(st.none() | LABEL),
        author=draw(st.none() | LABEL),
        tags=tuple(draw(st.lists(LABEL, unique=True, max_size=3))),
        config=config,
        steps=tuple(steps),
    )


@given(definitions())
def test_yaml_and_json_read_back_equal(definition):
    """Whatever the texts look like: the definition and its revision are the same."""
    workflow = Workflow.from_definition(definition)
    as_yaml, as_json = workflow.to_yaml(), workflow.to_json()
    assert parse(as_yaml) == definition
    assert parse(as_json, source="w.json") == definition
    assert Workflow.parse(as_yaml).revision == workflow.revision
    assert Workflow.parse(as_yaml).to_yaml() == as_yaml


def test_fields_are_printed_in_canonical_order_without_defaults():
    """What a person would have written."""
    workflow = Workflow.parse(
        '{"steps": [{"prompt": "Two\\nlines {{file}}", "agent": "x", "key": "a", "optional": false},'
        ' {"dependencies": ["a"], "agent": "y", "key": "b", "retryPolicy": {"maxRetries": 2}}],'
        ' "version": "1.0", "name": "w"}'
    )
    assert workflow.to_yaml() == (
        "name: w\n"
        "version: '1.0'\n"
        "steps:\n"
        "- key: a\n"
        "  agent: x\n"
        "  prompt: |-\n"
        "    Two\n"
        "    lines {{file}}\n"
        "- key: b\n"
        "  agent: y\n"
        "  dependencies:\n"
        "  - a\n"
        "  retryPolicy:\n"
        "    maxRetries: 2\n"
    )


def test_a_definition_made_of_stored_json_is_the_same():
    """The store keeps msgspec's encoding."""
    definition = parse("name: w\nsteps:\n- {key: a, agent: x, retryPolicy: {maxRetries: 1}}\n")
    from perdure.runtime.language import definition_from_json

    assert definition_from_json(msgspec.json.decode(msgspec.json.encode(definition))) == definition


def test_lambdas_and_local_functions_run_but_cannot_be_printed():
    """A file could not name them; the error says which and what to do."""
    workflow = Workflow("w")

    @workflow.step
    async def local() -> None:
        """Do nothing."""

    workflow.step(key="short")(lambda: None)
    assert len(workflow.definition.steps) == 2
    for print_it in (workflow.to_yaml, workflow.to_json):
        with pytest.raises(NotPrintable, match=r"'local', 'short' are lambdas or local functions") as caught:
            print_it()
        assert caught.value.steps == ("local", "short")


@pytest.mark.parametrize("text", ["\x85", "a\x85 b", "\u2028", "x\u2029\n  y", "a\rb", "a\r\nb", " \x85"])
def test_a_line_break_of_another_alphabet_reads_back_as_itself(text):
    """YAML 1.1 folds them like a new line."""
    workflow = Workflow("w").agent_step("a", agent="b", prompt=text)
    assert parse(workflow.to_yaml()) == workflow.definition
