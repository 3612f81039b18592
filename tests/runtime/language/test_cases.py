"""Inputs nobody here wrote: each ends in a definition or in one readable error, within a second."""

from __future__ import annotations

import base64
import json
import time
from itertools import pairwise
from pathlib import Path

import pytest

from perdure.runtime.agents import Agents
from perdure.runtime.language import (
    CycleError,
    Definition,
    DefinitionError,
    TemplateError,
    Workflow,
    check_context,
    compile_plan,
    parse,
)
from perdure.runtime.language.definition import plain

SECONDS_MAX = 5.0  # of the processor: what is read or compiled in more has stopped being proportionate


def judge(text: str | bytes, *, source: str) -> Definition | DefinitionError:
    """Parse; anything but a definition or a readable DefinitionError fails the test, and so does time."""
    started = time.process_time()
    try:
        verdict: Definition | DefinitionError = parse(text, source=source)
    except DefinitionError as error:
        verdict = error
    took = time.process_time() - started
    assert took < SECONDS_MAX, f"{source} took {took:.2f} s"
    if isinstance(verdict, DefinitionError):
        assert_readable(verdict)
    return verdict


def assert_readable(error: DefinitionError) -> None:
    """One visible line for each problem, with its file, and no traceback."""
    assert error.problems
    for problem in error.problems:
        line = str(problem)
        assert line.isprintable()
        assert problem.message
        assert len(line) < 2_000
        assert "Traceback" not in line
    assert len(str(error).splitlines()) <= len(error.problems) + 1


def lines(path: Path) -> list[dict]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def document(prompt: str = "", **head: object) -> str:
    """A definition with one step, as JSON text, which is YAML too."""
    step = {"key": "a", "agent": "noop", "prompt": prompt}
    return json.dumps({"name": "w", "steps": [step]} | head)


def payload(row: dict) -> str | bytes:
    """The text of an attack, put together as the row says."""
    if "b64" in row:
        return base64.b64decode(row["b64"])
    if "build" in row:
        return "".join(piece * times for piece, times in row["build"])
    return row["give"]


def attacks(cases: Path, *areas: str) -> list[dict]:
    """The attacks of some areas."""
    return [row for row in lines(cases / "attacks" / "payloads.jsonl") if row["area"] in areas]


def test_broken_graphs_are_judged_as_expected(cases):
    """Each is accepted or refused as it should be; the problem names the step and prints the circle."""
    rows = lines(cases / "broken-dags" / "cases.jsonl")
    assert len(rows) == 80
    for row in rows:
        steps = [
            {"key": step["id"], "agent": "noop", "dependencies": step["depends_on"]} for step in row["steps"]
        ]
        verdict = judge(json.dumps({"name": "broken", "steps": steps}), source=f"{row['case']}.json")
        assert isinstance(verdict, Definition) == (row["expect"] == "accept"), row["case"]
        if row["expect"] == "reject":
            _names_the_fault(row, verdict)


def _names_the_fault(row: dict, error: DefinitionError) -> None:
    text = str(error)
    match row["why"]:
        case "cycle" | "long-cycle" | "two-cycles":
            assert isinstance(error, CycleError)
            _is_a_circle(row, error.path)
            printed = [problem for problem in error.problems if " → " in problem.message]
            for ends in row["at"]:
                assert any(all(f" {end} " in f" {p.message} " for end in ends) for p in printed), row["case"]
        case "self":
            assert f"{row['at'][0]} → {row['at'][0]}" in text
        case "missing":
            assert all(repr(name) in text for name in row["at"])
        case "duplicate":
            assert f"{row['at'][0]!r} is defined twice" in text
        case "empty-id":
            empty = next(no for no, step in enumerate(row["steps"]) if not step["id"])
            assert f"steps[{empty}].key" in text


def _is_a_circle(row: dict, path: tuple[str, ...]) -> None:
    needs = {step["id"]: step["depends_on"] for step in row["steps"]}
    assert path[0] == path[-1]
    assert all(after in needs[before] for before, after in pairwise(path))


def test_hostile_yaml_and_json_are_refused(cases):
    """Bombs, foreign tags, bad bytes, deep nesting: one error each, no dead process."""
    for row in attacks(cases, "yaml", "json"):
        source = f"{row['id']}.{'json' if row['area'] == 'json' else 'yaml'}"
        verdict = judge(payload(row), source=source)
        assert isinstance(verdict, DefinitionError), row["id"]


def test_what_yaml_1_1_would_retype_is_literal_or_refused(cases):
    """`no`, `on`, dates: a key is the text that stands there, or an error says to quote it."""
    for row in attacks(cases, "yaml-typing"):
        word = row["give"].partition("id: ")[2].strip()
        verdict = judge(f"name: w\nsteps:\n  - key: {word}\n    agent: noop\n", source=row["id"])
        if isinstance(verdict, Definition):
            assert verdict.steps[0].key == word
        assert isinstance(judge(row["give"], source=row["id"]), DefinitionError)


def test_template_probes_are_refused_or_stay_text(cases):
    """No probe is evaluated: not a template at all, a bad path, or an input that nobody gave."""
    for row in attacks(cases, "template"):
        text = payload(row)
        verdict = judge(document(prompt=text), source=row["id"])
        if row["expect"] == "reject":
            assert isinstance(verdict, DefinitionError), row["id"]
        elif isinstance(verdict, Definition) and "{{" in text:
            with pytest.raises(TemplateError):
                check_context(verdict, {}, Agents())
        elif isinstance(verdict, Definition):
            assert _rendered(verdict, {}) == text


def test_values_are_never_read_as_templates(cases):
    """What comes in as a value goes out as it is."""
    texts = [payload(row) for row in attacks(cases, "second-order", "template")]
    for text in [*texts, "{{ a }}", "{{value}}"]:
        verdict = judge(document(prompt="say {{value}}"), source="literal")
        assert isinstance(verdict, Definition)
        assert _rendered(verdict, {"value": text}) == f"say {text}"


def _rendered(definition: Definition, context: dict) -> str:
    class Seen:
        def __init__(self) -> None:
            self.context = context

    agents = Agents()
    agents.add("noop", lambda prompt: prompt)
    plan = compile_plan(definition, agents=agents, workflow_no=1, revision="r")
    return plan.steps[0].inputs(Seen())["prompt"]


def test_names_are_literal_or_refused(cases):
    """A name is kept exactly as given, in every place that takes one, or it is refused."""
    _in_every_text_field([row["give"] for row in attacks(cases, "name", "markup")])


def test_naughty_strings_are_literal_or_refused(cases):
    """The list everybody knows, in every text field."""
    _in_every_text_field(json.loads((cases / "naughty-strings" / "blns.json").read_text()))


def _in_every_text_field(texts: list[str]) -> None:
    for text in texts:
        for head in _every_field(text):
            given = document(**head)
            verdict = judge(given, source="naughty.json")
            if isinstance(verdict, Definition):
                assert plain(verdict) == json.loads(given)
            if isinstance(verdict, Definition) and "description" in head:
                again = Workflow.from_definition(verdict)
                assert parse(again.to_yaml()) == verdict
                assert parse(again.to_json(), source="again.json") == verdict


def _every_field(text: str) -> list[dict]:
    return [
        {"name": text},
        {"description": text, "steps": [{"key": "a", "agent": "noop", "prompt": text}]},
        {"version": text},
        {"author": text},
        {"tags": [text]},
        {"steps": [{"key": text, "agent": "noop"}]},
        {"steps": [{"key": "a", "agent": text}]},
        {"steps": [{"key": "a", "agent": "noop", "retryPolicy": {"retryableErrors": [text]}}]},
        {"steps": [{"key": "a", "agent": "noop", "dependencies": [text]}]},
        {text: "a field"},
    ]


@pytest.mark.parametrize("suite", ["yaml-test-suite", "json-test-suite", "argo", "asl", "kestra"])
def test_foreign_documents_end_in_one_readable_error_or_a_definition(cases, suite):
    """Conformance suites and other engines' definitions: refused in words."""
    files = [path for path in sorted((cases / suite).rglob("*")) if path.suffix in {".yaml", ".yml", ".json"}]
    assert files
    for path in files:
        content = path.read_bytes()
        if suite == "yaml-test-suite":
            for text in _suite_texts(content.decode()):
                assert isinstance(judge(text, source=path.name), DefinitionError)
            continue
        judge(content, source=str(path))
        judge(content, source=path.with_suffix("").name)
        refused = judge(content, source=str(path))
        assert isinstance(refused, DefinitionError), path
        assert suite == "json-test-suite" or len(refused.problems) == 1, str(refused)


def _suite_texts(content: str) -> list[str]:
    """The texts of the suite's `yaml:` fields, with its visible stand-ins for invisible characters."""
    import yaml

    found = [case["yaml"] for case in yaml.safe_load(content) if "yaml" in case]
    for stand_in, character in (("␣", " "), ("∎", ""), ("↵", ""), ("←", "\r"), ("⇔", "\ufeff")):
        found = [text.replace(stand_in, character) for text in found]
    return [*found, *(_with_tabs(text) for text in found if "»" in text)]


def _with_tabs(text: str) -> str:
    return text.replace("—", "").replace("»", "\t")


@pytest.mark.parametrize("folder", ["wfinstances", "shapes", "recipes-huge"])
def test_real_graphs_have_the_levels_that_others_measured(cases, folder):
    """Thousands of tasks, chains, fans: compiled within a second."""
    for row in lines(cases / folder / "dags.jsonl"):
        workflow = Workflow("graph")
        for no, needs in enumerate(row["deps"]):
            workflow.agent_step(f"t{no}", agent="noop", after=[f"t{need}" for need in needs])
        started = time.process_time()
        plan = compile_plan(workflow.definition, agents=Agents(), workflow_no=1, revision=workflow.revision)
        assert time.process_time() - started < SECONDS_MAX
        assert len(plan.levels) == row["levels"]
        assert row["widths"] in (None, [len(level) for level in plan.levels])
