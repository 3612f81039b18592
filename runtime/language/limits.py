"""How many executions of a workflow may run at once: what is wrong with that, and the queue of a context."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from perdure.actors.instructions.plan import Limit
from perdure.runtime.language.definition import Definition, LimitsDefinition
from perdure.runtime.language.errors import TemplateError
from perdure.runtime.language.findings import Findings, Path
from perdure.runtime.language.templates import BadTemplate, compile_template, parse_template, rendered

KEY_CHARS_MAX: Final = 200  # of a key that people can read; longer ones are told apart by their hash


class _OnlyContext:
    """What is there before any step has run."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.context = context

    @property
    def execution(self) -> Mapping[str, Any]:
        raise AssertionError

    def output(self, step_no: int) -> Any:
        raise AssertionError(step_no)

    def state(self, step_no: int) -> str:
        raise AssertionError(step_no)

    def error(self, step_no: int) -> Mapping[str, str] | None:
        raise AssertionError(step_no)


def check_limits(definition: Definition, findings: Findings) -> list[tuple[Path, str, str]]:
    """Add a key that is no template, looks up steps, or is the same for all; answers what it looks up."""
    limits = definition.config.limits
    if limits is None or limits.key is None:
        return []
    path = ("config", "limits", "key")
    try:
        template = parse_template(limits.key)
    except BadTemplate as error:
        findings.add(path, str(error))
        return []
    steps = {step.key for step in definition.steps}
    if not template.paths:
        findings.add(path, "the key is the same for every execution", expected="a template, as {{tenant}}")
    for each in template.paths:
        if each.segments[0] in steps:
            findings.add(path, f"the key looks up step {each.segments[0]!r}, which has not run yet")
    return [(path, each.segments[0], str(each)) for each in template.paths]


def compile_limit(workflow: str, limits: LimitsDefinition | None) -> Limit | None:
    """The limit of a plan; its queues are named `WORKFLOW` or `WORKFLOW/KEY`."""
    if limits is None:
        return None
    return Limit(most=limits.concurrency, queue=_queue(workflow, limits.key))


def _queue(workflow: str, key: str | None) -> Callable[[Mapping[str, Any]], str]:
    if key is None:
        return lambda _context: workflow
    look = compile_template(parse_template(key), step="", numbers={})

    def queue(context: Mapping[str, Any]) -> str:
        try:
            name = rendered(look(_OnlyContext(context)))
        except TemplateError as error:
            raise TemplateError(f"config.limits.key: {error}") from None
        if len(name) > KEY_CHARS_MAX:
            name = hashlib.sha256(name.encode()).hexdigest()
        return f"{workflow}/{name}"

    return queue
