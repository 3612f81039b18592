"""A definition is refused with all its problems at once, each where it stands."""

from __future__ import annotations

import json

import pytest

from perdure.runtime.language import CycleError, Definition, DefinitionError, Workflow, parse
from perdure.runtime.language.errors import PROBLEMS_MAX
from perdure.runtime.language.parsing import DEFINITION_BYTES_MAX

DOCUMENTED = """
name: code-review
description: Review a change
version: 1.0.0
author: Jane Doe
tags: [review, ci]
config: {timeout: 600000, maxRetries: 2, checkpointInterval: 5000, parallelism: 4, continueOnError: false}
steps:
  - key: parse-changes
    agent: parser
    prompt: "Parse {{filePath}}"
    outputSchema: {type: object, required: [functions], properties: {functions: {type: array}}}
  - key: review
    agent: reviewer
    dependencies: [parse-changes]
    prompt: "Review {{parse-changes.functions}} in {{filePath}}"
    parallel: false
    optional: true
    timeoutMs: 30000
    retryPolicy: {maxRetries: 3, retryDelayMs: 1000, retryBackoffMultiplier: 2, retryMaxDelayMs: 5000,
                  retryableErrors: [TimeoutError], jitter: false}
"""


def test_the_times_of_a_workflow_are_lengths_of_time_as_those_of_its_steps():
    """In milliseconds or as people write them: one revision."""
    written = "{{name: w, config: {{timeout: {}, checkpointInterval: {}}}, steps: [{{key: a, sleep: 1}}]}}"
    config = parse(written.format("1h30m", "30s")).config
    assert (config.timeout, config.checkpoint_interval) == (5_400_000, 30_000)
    assert parse(written.format(5_400_000, 30_000)).config == config


def test_every_documented_field_is_read():
    """The documented form loads unchanged."""
    definition = parse(DOCUMENTED)
    assert definition.version == "1.0.0"
    assert definition.config.timeout == 600_000
    assert definition.config.parallelism == 4
    review = definition.steps[1]
    assert (review.parallel, review.optional, review.timeout_ms) == (False, True, 30_000)
    assert review.retry_policy is not None
    assert review.retry_policy.retry_backoff_multiplier == 2.0
    assert review.retry_policy.retryable_errors == ("TimeoutError",)
    assert definition.steps[0].output_schema is not None


def test_all_problems_are_reported_at_once_in_the_order_of_the_text(refused):
    """Schema, names, graph, templates: nobody repairs one fault to be told the next."""
    error = refused(
        """\
name: a b
version: 1.0
confg: {}
steps:
  - key: x
    agent: noop
    dependencies: [y, zed]
    retryPolicy: {maxRetrys: 3, retryDelayMs: -1}
  - key: zet
    agnt: noop
    prompt: "{{ 1 + 1 }}"
    dependencies: [x, zet]
    timeoutMs: soon
  - key: y
    agent: noop
    dependencies: [zet]
  - key: y
    agent: noop
""",
        source="bad.yaml",
    )
    found = [(p.line, p.column, p.path) for p in error.problems]
    assert found == [
        (1, 7, "name"),
        (2, 10, "version"),
        (3, 1, "confg"),
        (7, 19, "steps[0].dependencies"),
        (7, 23, "steps[0].dependencies[1]"),
        (8, 19, "steps[0].retryPolicy.maxRetrys"),
        (8, 47, "steps[0].retryPolicy.retryDelayMs"),
        (9, 5, "steps[1]"),
        (10, 5, "steps[1].agnt"),
        (11, 13, "steps[1].prompt"),
        (12, 23, "steps[1].dependencies[1]"),
        (13, 16, "steps[1].timeoutMs"),
        (17, 10, "steps[3].key"),
    ]
    text = str(error)
    assert "bad.yaml:3:1: confg: unknown field 'confg' (did you mean 'config'?)" in text
    assert "1.0 is a number, not text: quote it" in text
    assert "x → y → zet → x" in text
    assert "step 'x' depends on 'zed', which does not exist (did you mean 'zet'?)" in text
    assert "step 'zet' depends on itself: zet → zet" in text
    assert "step 'y' is defined twice: it is also steps[2]" in text


def test_a_document_of_another_program_is_one_problem_that_says_so(refused):
    """Instead of one for each of its fields."""
    error = refused("id: w\nnamespace: n\ninputs: []\ntasks: [{id: a, type: b}]\n")
    (problem,) = error.problems
    assert str(problem) == (
        "w.yaml:1:1: this is no workflow as perdure writes them: there is neither 'name' nor 'steps', "
        "but 'id', 'namespace', 'tasks', expected a mapping with name and steps"
    )
    many = refused(json.dumps({f"field-{no}": no for no in range(100)}))
    assert str(many).endswith("'field-4' and 95 more, expected a mapping with name and steps")


@pytest.mark.parametrize("text", ["name: w\ntasks: []\nid: 1", "steps: []\ntasks: []\nid: 1", "tasks: []"])
def test_whoever_has_written_a_part_of_a_workflow_is_told_of_each_field(refused, text):
    """What is there, and what is missing."""
    assert "unknown field 'tasks' (did you mean" in str(refused(text))


def test_a_circle_is_an_error_of_its_own_with_its_path(refused):
    """The first circle can be read from the error."""
    error = refused(
        "name: w\nsteps:\n"
        "- {key: step-a, agent: x, dependencies: [step-b]}\n"
        "- {key: step-b, agent: x, dependencies: [step-a]}\n"
    )
    assert isinstance(error, CycleError)
    assert error.path == ("step-a", "step-b", "step-a")
    assert "step-a → step-b → step-a" in str(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the document is empty"),
        ("null", "the document is empty"),
        ("- a", "the document is a list"),
        ("just text", "the document is text"),
        ("name: w", "'steps' is missing"),
        ("name: w\nsteps: []", "steps has 0 items"),
        ("name: w\nsteps: {a: 1}", "a mapping does not fit here, expected a list"),
        ("name: w\nsteps: [a]", "'a' does not fit here, expected a mapping"),
        ("name: w\nsteps: [{key: a, agent: x, dependencies: [1]}]", "1 is a number, not text: quote it"),
        (
            "name: w\nsteps: [{key: a, agent: x, parallel: yes}]",
            "'yes' does not fit here, expected true or false",
        ),
        ("name: w\nsteps: [{key: a, agent: x, prompt: true}]", "true is true or false, not text"),
        ("name: w\nsteps: [{key: a, agent: x, timeoutMs: 0}]", "a whole number, 1 to"),
        ("name: w\nsteps: [{key: a, agent: x, timeoutMs: 1.5}]", "a whole number, 1 to"),
        ("name: w\nsteps: [{key: a, agent: x}]\nconfig: {scheduling: eagr}", "(did you mean 'eager'?)"),
        ("name: w\nsteps: [{key: a, agent: x}]\ntags: [a, a]", "tag 'a' is there twice"),
        ("name: w\nsteps: [{key: '', agent: x}]", "steps[0].key: '' does not fit here"),
        ("name: w\nsteps: [{key: a.b, agent: x}]", "'a.b' is not a step key"),
        ('name: w\nsteps: [{key: "e\\u0301", agent: x}]', "in Unicode's composed form"),
        ("name: w.\nsteps: [{key: a, agent: x}]", "'w.' is not a workflow name"),
        ('name: w\nsteps: [{key: a, agent: "x\\ny"}]', "is not an agent name"),
        ("name: w\nsteps: [{key: a, agent: x}, {key: b, agent: x, dependencies: [a, a]}]", "'a' twice"),
        (
            "name: w\nsteps: [{key: a, agent: x, outputSchema: {type: nope}}]",
            "outputSchema.type: not a JSON Schema",
        ),
        (
            "name: w\nsteps: [{key: a, agent: x, outputSchema: {$ref: 'http://x/y'}}]",
            "are not fetched",
        ),
        ("name: w\nsteps: [{key: a, agent: x, outputSchema: {pattern: '('}}]", "not a JSON Schema"),
        ("name: w\nsteps: [{key: a, agent: x, prompt: '{{a.b}}'}]", "is the output of step 'a' itself"),
        (
            "name: w\nsteps: [{key: a, agent: x, prompt: '{{b}}'}, {key: b, agent: x}]",
            "the prompt looks up 'b', which need not run before 'a'",
        ),
    ],
)
def test_what_is_wrong_is_said_in_words(refused, text, words):
    """One sentence, with what would be right."""
    assert words in str(refused(text))


@pytest.mark.parametrize(
    "step",
    [
        "{key: a, sleep: 3 days}",
        "{key: a, waitFor: paid}",
        "{key: a, agent: 3}",
        "{key: a, agent: x, forEach: {items: -1}}",
        "{key: a, agent: x, forEach: {}}",
        "{key: a, gate: {criteria: [{reason: r}]}}",
    ],
)
def test_one_mistake_is_one_problem(refused, step):
    """What does not fit is not missing as well, nor is it judged as if it were empty."""
    assert len(refused(f"name: w\nsteps: [{step}]").problems) == 1


def test_a_template_may_look_up_what_runs_before_its_dependencies(steps):
    """Ancestors are enough."""
    definition = steps(
        "- {key: a, agent: x}\n- {key: b, agent: x, dependencies: [a]}\n"
        "- {key: c, agent: x, dependencies: [b], prompt: '{{a.result}}'}\n"
    )
    assert len(definition.steps) == 3


def test_a_list_of_problems_ends_somewhere(refused):
    """A hundred are shown, the rest is counted."""
    error = refused("name: w\nsteps: [{key: a, agent: x}]\n" + "".join(f"f{no}: 1\n" for no in range(250)))
    assert len(error.problems) == PROBLEMS_MAX
    assert str(error).endswith("and 150 more problems")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name: \xc3\x28\n", "is not UTF-8"),
        (b"name: a\x00b\n", "NUL"),
        ("name: \ud800\n", "surrogate"),
        ("name: w\ndescription: '\ud83d'\n", "surrogate"),
        (b"\xff\xfen\x00", "is not UTF-8"),
        (b"x" * (DEFINITION_BYTES_MAX + 1), "longer than 1,000,000 bytes"),
    ],
)
def test_bytes_are_judged_before_they_are_parsed(refused, content, words):
    """Size and encoding come first."""
    assert words in str(refused(content))


def test_a_byte_order_mark_is_no_part_of_the_text():
    """Some editors write one."""
    assert parse(b"\xef\xbb\xbf" + DOCUMENTED.encode()) == parse(DOCUMENTED)


def test_json_is_told_by_extension_or_content(tmp_path, refused):
    """A .json file is strict JSON; text that is JSON is read as such; a flow mapping is YAML."""
    definition = {"name": "w", "steps": [{"key": "a", "agent": "x"}]}
    text = json.dumps(definition)
    path = tmp_path / "w.json"
    path.write_text(text)
    assert Workflow.load(path).definition == parse(text) == parse("{name: w, steps: [{key: a, agent: x}]}")
    assert "not JSON" in str(refused("{name: w}", source="w.json"))
    with pytest.raises(DefinitionError, match="not JSON"):
        parse("name: w", format="json")
    emoji = json.dumps(definition | {"description": "😀"})
    assert parse(emoji).description == "😀"


def test_a_file_that_cannot_be_read_is_a_problem_with_its_name(tmp_path):
    """No OSError reaches the user."""
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(DefinitionError, match="the file cannot be read") as caught:
            Workflow.load(path)
        assert str(path) in str(caught.value)


def test_the_same_content_has_the_same_revision_however_it_is_written():
    """Formatting, order of fields and spelled-out defaults do not count; content does."""
    plain = Workflow.parse("name: w\nsteps:\n- key: a\n  agent: x\n")
    spelled = Workflow.parse(
        '{"steps": [{"agent": "x", "key": "a", "parallel": true, "timeoutMs": null, "dependencies": []}],'
        ' "config": {"maxRetries": 0, "scheduling": "level"}, "name": "w", "tags": []}'
    )
    other = Workflow.parse("name: w\nsteps:\n- key: a\n  agent: x\n  optional: true\n")
    assert plain.revision == spelled.revision
    assert plain.revision != other.revision
    assert len(plain.revision) == 64


def test_a_definition_is_what_parse_returns(steps):
    """Structs all the way."""
    assert isinstance(steps("- {key: a, agent: x}\n"), Definition)
