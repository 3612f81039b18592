"""What must hold for a definition beyond its types: names, graph, templates, schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perdure.runtime.language import names
from perdure.runtime.language.definition import Definition, StepDefinition
from perdure.runtime.language.findings import Findings
from perdure.runtime.language.graph import cycles_of, not_ancestors, order_of
from perdure.runtime.language.outputs import BadSchema, check_schema
from perdure.runtime.language.templates import BadTemplate, Template, parse_template
from perdure.runtime.near import quoted

CYCLE_STEPS_SHOWN_MAX: Final = 128  # steps of a circle named in a message; the rest is counted


def check(definition: Definition, findings: Findings) -> None:
    """Add everything that is wrong with a definition whose types are right."""
    _check_labels(definition, findings)
    numbers = _check_keys(definition, findings)
    templates = list(_check_steps(definition, findings))
    needs = _check_needs(definition, numbers, findings)
    if not _check_cycles(definition, needs, findings):
        _check_templates(definition, numbers, needs, templates, findings)


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


def _check_steps(definition: Definition, findings: Findings) -> Iterator[tuple[int, Template]]:
    """Check what concerns each step alone; yield the templates that can be read."""
    for no, step in enumerate(definition.steps):
        if not names.is_label(step.agent):
            findings.add(
                ("steps", no, "agent"), f"{quoted(step.agent)} is not an agent name", expected="visible text"
            )
        if step.output_schema is not None:
            try:
                check_schema(step.output_schema)
            except BadSchema as error:
                findings.add(("steps", no, "outputSchema", *error.path), f"not a JSON Schema: {error}")
        if step.prompt is not None:
            try:
                template = parse_template(step.prompt)
            except BadTemplate as error:
                findings.add(("steps", no, "prompt"), str(error))
            else:
                if template.paths:
                    yield no, template


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


def _check_templates(
    definition: Definition,
    numbers: dict[str, int],
    needs: list[list[int]],
    templates: list[tuple[int, Template]],
    findings: Findings,
) -> None:
    """Refuse templates that look up a step which does not come before theirs."""
    asked: dict[tuple[int, int], None] = {}
    for no, template in templates:
        direct = set(needs[no])
        for path in template.paths:
            target = numbers.get(path.segments[0])
            if target == no:
                findings.add(
                    ("steps", no, "prompt"),
                    f"{path} is the output of step {quoted(definition.steps[no].key)} itself",
                )
            elif target is not None and target not in direct:
                asked[no, target] = None
    wrong = not_ancestors(needs, order_of(needs), asked) if asked else set()
    for no, target in asked:
        if (no, target) in wrong:
            step, other = definition.steps[no], definition.steps[target]
            findings.add(
                ("steps", no, "prompt"),
                f"the prompt looks up {quoted(other.key)}, which need not run before {quoted(step.key)}",
                expected=f"{quoted(other.key)} among its dependencies, or theirs",
            )


def needs_of(definition: Definition) -> list[list[int]]:
    """Return the step numbers each step needs, of a definition that is sound."""
    numbers = {step.key: no for no, step in enumerate(definition.steps)}
    return [[numbers[key] for key in step.dependencies] for step in definition.steps]


def template_of(step: StepDefinition) -> Template | None:
    """Return the template of a sound step's prompt."""
    return None if step.prompt is None else parse_template(step.prompt)
