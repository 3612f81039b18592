"""The schedules a workflow declares: what is wrong with them, and the rules they come to."""

from __future__ import annotations

from typing import Any

from perdure.runtime.language import inputs
from perdure.runtime.language.definition import Definition, ScheduleDefinition, plain
from perdure.runtime.language.findings import Findings
from perdure.runtime.near import quoted
from perdure.runtime.schedules.rule import ID_RULE, Rule, is_schedule_id, problems_of, rule_of


def check_schedules(definition: Definition, findings: Findings) -> None:
    """Add everything that is wrong with the schedules of a definition."""
    seen: dict[str, int] = {}
    for no, (id_, schedule) in enumerate(zip(ids_of(definition), definition.schedule, strict=True)):
        path = ("schedule", no)
        is_known_bad = findings.has(path)
        at_id = path if schedule.id is None else (*path, "id")
        if not is_schedule_id(id_):
            findings.add(at_id, f"{quoted(id_)} is not an id of a schedule", expected=ID_RULE)
        elif id_ in seen:
            findings.add(
                at_id, f"{quoted(id_)} is also the id of schedule[{seen[id_]}]", expected="another id"
            )
        seen.setdefault(id_, no)
        for field, sentence in problems_of(_words(schedule)):
            if field or not is_known_bad:
                findings.add((*path, field) if field else path, sentence)
        if not is_known_bad and not findings.has(("inputs",)):
            for problem in inputs.problems_of(definition.inputs, _context(definition, schedule)):
                at_input = path if schedule.input is None else (*path, "input")
                findings.add(at_input, f"{problem.message}: no start would be accepted")


def rules_of(definition: Definition) -> dict[str, Rule]:
    """The rules of a sound definition by the ids of their schedules."""
    found = zip(ids_of(definition), definition.schedule, strict=True)
    return {id_: rule_of(_words(schedule)) for id_, schedule in found}


def ids_of(definition: Definition) -> list[str]:
    """What its schedules are called: as they say, else `NAME`, `NAME-2`, … by their places."""
    return [
        schedule.id or (f"{definition.name}-{no}" if no > 1 else definition.name)
        for no, schedule in enumerate(definition.schedule, start=1)
    ]


def _context(definition: Definition, schedule: ScheduleDefinition) -> dict[str, Any]:
    """What its executions are started with."""
    return inputs.filled(definition.inputs, dict(schedule.input or {}))


def _words(schedule: ScheduleDefinition) -> dict[str, Any]:
    return {name: value for name, value in plain(schedule).items() if name != "id"}
