"""What must hold for a definition beyond its types: names, graph, templates, schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from perdure.runtime.language import names
from perdure.runtime.language.beside import check_beside
from perdure.runtime.language.budgets import check_budget
from perdure.runtime.language.calls import lookups, odd_calls
from perdure.runtime.language.capable import odd_performers
from perdure.runtime.language.conditions import (
    TRUTH,
    BadCondition,
    ConditionsNotInstalled,
    check_condition,
    inputs_taken,
    references,
)
from perdure.runtime.language.definition import Definition, StepDefinition
from perdure.runtime.language.findings import Findings, Path
from perdure.runtime.language.graph import cycles_of, not_ancestors, order_of
from perdure.runtime.language.limits import check_limits
from perdure.runtime.language.loops import odd_loops
from perdure.runtime.language.outputs import BadSchema, check_schema
from perdure.runtime.language.questions import names_of, questions_of, templates_of
from perdure.runtime.language.telling import check_webhooks
from perdure.runtime.language.templates import BadTemplate, Template, parse_template
from perdure.runtime.language.waits import KINDS, kinds_of, misfits
from perdure.runtime.near import quoted

CYCLE_STEPS_SHOWN_MAX: Final = 128  # steps of a circle named in a message; the rest is counted


def check(definition: Definition, findings: Findings) -> None:
    """Add everything that is wrong with a definition whose types are right."""
    _check_labels(definition, findings)
    numbers = _check_keys(definition, findings)
    for no, step in enumerate(definition.steps):
        for path, sentence in odd_loops(step, numbers):
            findings.add(("steps", no, *path), sentence)
    looks = list(_check_steps(definition, findings))
    looks += _check_questions(definition, numbers, findings)
    reads_beside = [*check_beside(definition, findings), *check_limits(definition, findings)]
    if definition.inputs is not None or definition.outputs is not None:
        from perdure.runtime.language.contract import check_contract

        reads: list[tuple[Path, str, str]] = [
            (("steps", look.no, *look.path), look.key, look.written)
            for look in looks
            if look.path != ("prompt",) or look.key not in names_of(definition.steps[look.no])
        ]
        reads += _inputs_asked(definition)
        check_contract(definition, keys=numbers, reads=[*reads, *reads_beside], findings=findings)
    check_webhooks(definition, findings)
    if definition.schedule:  # few have any, and calendars are not read for the others
        from perdure.runtime.language.scheduling import check_schedules

        check_schedules(definition, findings)
    check_budget(definition, findings)
    needs = _check_needs(definition, numbers, findings)
    if not _check_cycles(definition, needs, findings):
        _check_looks(definition, numbers, needs, looks, findings)


def _check_labels(definition: Definition, findings: Findings) -> None:
    """Refuse names and labels that could not be shown or addressed."""
    if definition.name and not names.is_name(definition.name):
        findings.add(("name",), f"{quoted(definition.name)} is not a workflow name", expected=names.NAME_RULE)
    labels = [(("version",), definition.version), (("author",), definition.author)]
    tags = [(("tags", no), tag) for no, tag in enumerate(definition.tags)]
    for path, label in [*labels, *tags]:
        if label is not None and not names.is_label(label):
            findings.add(
                path, f"{quoted(label)} has characters that cannot be shown", expected="one line of text"
            )
    for no, tag in enumerate(definition.tags):
        if tag in definition.tags[:no]:
            findings.add(("tags", no), f"tag {quoted(tag)} is there twice")


def _check_keys(definition: Definition, findings: Findings) -> dict[str, int]:
    """Refuse bad and repeated keys; return the number of each key."""
    numbers: dict[str, int] = {}
    for no, step in enumerate(definition.steps):
        path = ("steps", no, "key")
        if step.key and not names.is_key(step.key):
            findings.add(path, f"{quoted(step.key)} is not a step key", expected=names.KEY_RULE)
        if step.key in numbers:
            first = numbers[step.key]
            findings.add(path, f"step {quoted(step.key)} is defined twice: it is also steps[{first}]")
        elif step.key:
            numbers[step.key] = no
    return numbers


def _check_steps(definition: Definition, findings: Findings) -> Iterator[Look]:
    """Check what concerns each step alone; yield what its template looks up."""
    for no, step in enumerate(definition.steps):
        _check_kind(no, step, findings)
        for path, schema in _schemas_of(step):
            try:
                check_schema(schema)
            except BadSchema as error:
                findings.add(("steps", no, *path, *error.path), f"not a JSON Schema: {error}")
        for place, noun, text, _ in templates_of(step):
            try:
                template = parse_template(text)
            except BadTemplate as error:
                findings.add(("steps", no, *place), str(error))
            else:
                for look in template.paths:
                    yield Look(no, place, noun, look.segments[0], str(look))
        for at, look in lookups(step, findings, at=("steps", no)):
            yield Look(no, at[2:], "input", look.segments[0], str(look))


def _check_kind(no: int, step: StepDefinition, findings: Findings) -> None:
    """Refuse a step of no kind, of several, or with what its kind cannot have."""
    if not kinds_of(step) and not any(findings.has(("steps", no, kind)) for kind in KINDS):
        findings.add(("steps", no), "'agent' is missing", expected=f"one of {', '.join(KINDS)}")
    odd = (misfits, odd_performers, odd_calls)
    for path, sentence in [found for look in odd for found in look(step)]:
        findings.add(("steps", no, *path), sentence)


def _check_questions(definition: Definition, numbers: dict[str, int], findings: Findings) -> Iterator[Look]:
    """Compile each expression in CEL; yield what it looks at. Without the library there is one problem."""
    for no, step in enumerate(definition.steps):
        for question in questions_of(step):
            if question.is_python or not question.text:  # without a text it has been told of
                continue
            path: Path = ("steps", no, *question.path)
            try:
                check_condition(question.text, names=question.names, gives=question.gives)
            except ConditionsNotInstalled as error:
                findings.add(path, str(error))
                return
            except BadCondition as error:
                seen = ", ".join(f"`{name}`" for name in (*question.names, "inputs"))
                what = "a condition" if question.gives is TRUTH else question.gives.words
                findings.add(path, f"not {what}: {error}", expected=f"CEL over {seen} and `steps`")
                continue
            for key in sorted(references(question.text)[0]):
                if key in numbers:
                    yield Look(no, question.path, question.noun, key, f"steps[{quoted(key)}]")
                else:
                    message = f"the {question.noun} looks at step {quoted(key)}, which does not exist"
                    findings.add(path, message, near=(key, numbers))


def _inputs_asked(definition: Definition) -> Iterator[tuple[Path, str, str]]:
    """The inputs that expressions in CEL take: where, the name, and how it is written."""
    for no, step in enumerate(definition.steps):
        for question in questions_of(step):
            for name in () if question.is_python else sorted(inputs_taken(question.text)):
                yield ("steps", no, *question.path), name, f"inputs[{quoted(name)}]"


def _check_needs(definition: Definition, numbers: dict[str, int], findings: Findings) -> list[list[int]]:
    """Refuse dependencies on nothing, on oneself, and twice; return what is sound of them."""
    needs: list[list[int]] = []
    for no, step in enumerate(definition.steps):
        sound: dict[int, None] = {}
        for place, key in enumerate(step.dependencies):
            path = ("steps", no, "dependencies", place)
            need = numbers.get(key)
            if key == step.key:
                findings.add(path, f"step {quoted(step.key)} depends on itself: {key} → {key}")
            elif need is None:
                findings.add(
                    path,
                    f"step {quoted(step.key)} depends on {quoted(key)}, which does not exist",
                    near=(key, numbers),
                )
            elif need in sound:
                findings.add(path, f"step {quoted(step.key)} names the dependency {quoted(key)} twice")
            else:
                sound[need] = None
        policy, count = step.dependencies_policy, len(step.dependencies)
        if isinstance(policy, int) and policy > count:
            sentence = f"step {quoted(step.key)} waits for {policy} of its dependencies, and has {count}"
            findings.add(("steps", no, "dependenciesPolicy"), sentence)
        needs.append(list(sound))
    return needs


def _check_cycles(definition: Definition, needs: list[list[int]], findings: Findings) -> bool:
    """Report each circle as a path; tell whether there is one."""
    cycles = cycles_of(needs)
    for cycle in cycles:
        path = [definition.steps[no].key for no in [*cycle, cycle[0]]]
        if findings.cycle is None:
            findings.cycle = tuple(path)
        if len(path) > CYCLE_STEPS_SHOWN_MAX:
            half = CYCLE_STEPS_SHOWN_MAX // 2
            path = [*path[:half], f"({len(path) - 2 * half} more)", *path[-half:]]
        findings.add(("steps", cycle[0], "dependencies"), f"steps need each other: {' → '.join(path)}")
    return bool(cycles)


class Look(NamedTuple):
    """A step that may look up the output of another: `written` at that path, `key` if that is a step."""

    no: int
    path: Path
    noun: str
    key: str
    written: str


def _check_looks(
    definition: Definition,
    numbers: dict[str, int],
    needs: list[list[int]],
    looks: list[Look],
    findings: Findings,
) -> None:
    """Refuse templates and conditions that look up a step which does not come before theirs."""
    asked: dict[tuple[int, int], Look] = {}
    direct = {look.no: set(needs[look.no]) for look in looks}
    for look in looks:
        target = numbers.get(look.key)
        if target == look.no:
            findings.add(
                ("steps", look.no, *look.path),
                f"{look.written} is the output of step {quoted(look.key)} itself",
            )
        elif target is not None and target not in direct[look.no]:
            asked.setdefault((look.no, target), look)
    wrong = not_ancestors(needs, order_of(needs), asked) if asked else set()
    for (no, target), look in asked.items():
        if (no, target) in wrong:
            step, other = definition.steps[no], definition.steps[target]
            findings.add(
                ("steps", no, *look.path),
                f"the {look.noun} looks up {quoted(other.key)}, which need not run before {quoted(step.key)}",
                expected=f"{quoted(other.key)} among its dependencies, or theirs",
            )


def needs_of(definition: Definition) -> list[list[int]]:
    """Return the step numbers each step needs, of a definition that is sound."""
    numbers = {step.key: no for no, step in enumerate(definition.steps)}
    return [[numbers[key] for key in step.dependencies] for step in definition.steps]


def template_of(step: StepDefinition) -> Template | None:
    """Return the template of a sound step that is filled in for it: its prompt, message or moment."""
    text = next((text for place, _, text, _ in templates_of(step) if len(place) == 1), None)
    return None if text is None else parse_template(text)


def _schemas_of(step: StepDefinition) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The JSON Schemas of a step, and where they stand in it."""
    if step.output_schema is not None:
        yield ("outputSchema",), step.output_schema
    if step.approval is not None and step.approval.form is not None:
        yield ("approval", "form"), step.approval.form
