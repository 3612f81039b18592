"""What runs beside the graph, hooks and compensations: as it is written, checked, and as steps of a plan.

Each is a step of its own, whose key no step of the graph can have: `charge.compensate`,
`hooks.onFailure`. It may look at every step, for any of them may have run: null where one has no
output. Under the name `execution` it is told what becomes of the execution.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from perdure.actors.instructions.names import NamedValues
from perdure.actors.instructions.plan import Hook, Inputs, Values
from perdure.runtime.agents.signature import Parameter
from perdure.runtime.language import names
from perdure.runtime.language.definition import ActionDefinition, Definition, StepDefinition
from perdure.runtime.language.findings import Findings, Path
from perdure.runtime.language.questions import names_of
from perdure.runtime.language.templates import BadTemplate, parse_template
from perdure.runtime.language.templates import Path as TemplatePath
from perdure.runtime.near import quoted
from perdure.store.states import Role

EXECUTION: Final = "execution"  # what is known of the execution, for templates and parameters
COMPENSATE: Final = "compensate"


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """A hook or a compensation: where it stands in the definition, and what it would be as a step."""

    path: Path
    step: StepDefinition
    undoes: int | None = None
    hook: Hook | None = None

    @property
    def role(self) -> Role:
        """What it is there for."""
        return Role.HOOK if self.undoes is None else Role.UNDO

    @property
    def agent(self) -> str:
        """What performs it."""
        return self.step.agent or ""


def beside_the_graph(definition: Definition) -> Iterator[Beside]:
    """All of a definition, in the order in which they are numbered after the steps of the graph."""
    for no, step in enumerate(definition.steps):
        if step.compensate is not None:
            prompt = step.prompt if step.compensate.prompt is None else step.compensate.prompt
            as_step = _as_step(step.compensate, key=f"{step.key}.{COMPENSATE}", prompt=prompt)
            yield Beside(path=("steps", no, COMPENSATE), step=as_step, undoes=no)
    for hook, action in hooks_of(definition).items():
        key = f"hooks.{hook}"
        as_step = _as_step(action, key=key, prompt=action.prompt)
        yield Beside(path=("hooks", hook.value), step=as_step, hook=hook)


def hooks_of(definition: Definition) -> dict[Hook, ActionDefinition]:
    """The hooks that a definition has."""
    hooks = definition.hooks
    if hooks is None:
        return {}
    found = {
        Hook.SUCCESS: hooks.on_success,
        Hook.FAILURE: hooks.on_failure,
        Hook.CANCEL: hooks.on_cancel,
        Hook.FINALLY: hooks.finally_,
    }
    return {hook: action for hook, action in found.items() if action is not None}


def check_beside(definition: Definition, findings: Findings) -> list[tuple[Path, str, str]]:
    """Add everything that is wrong with hooks and compensations; answers which inputs they look up."""
    keys = {step.key for step in definition.steps}
    reads: list[tuple[Path, str, str]] = []
    for each in beside_the_graph(definition):
        if "{{" in each.agent:
            findings.add((*each.path, "agent"), f"{quoted(each.agent)} is a template, and an agent is a name")
        elif each.agent and not names.is_label(each.agent):
            findings.add(
                (*each.path, "agent"), f"{quoted(each.agent)} is not an agent name", expected="visible text"
            )
        try:
            template = parse_template(each.step.prompt or "")
        except BadTemplate as error:
            findings.add((*each.path, "prompt"), str(error))
            continue
        _check_inherited(definition, each, template.paths, findings)
        reads += [
            ((*each.path, "prompt"), path.segments[0], str(path))
            for path in template.paths
            if path.segments[0] not in keys and path.segments[0] != EXECUTION
        ]
    has_any = any(step.compensate is not None or step.workflow is not None for step in definition.steps)
    if definition.config.on_failure == COMPENSATE and not has_any:
        findings.add(
            ("config", "onFailure"),
            "a failure is to be compensated, and no step says how",
            expected=f"{COMPENSATE} in at least one step",
        )
    return reads


def _check_inherited(
    definition: Definition, each: Beside, paths: Iterable[TemplatePath], findings: Findings
) -> None:
    """What undoes all of a step at once, by the prompt of its parts, knows nothing of a single part."""
    step = None if each.undoes is None else definition.steps[each.undoes]
    if step is None or step.compensate is None or step.compensate.prompt is not None:
        return
    keys = {step.key for step in definition.steps}
    for name in sorted({path.segments[0] for path in paths} & names_of(step) - keys):
        findings.add(
            each.path,
            f"the prompt of {step.key!r} speaks of {quoted(name)}, and all of the step is undone at once",
            expected="a prompt of its own",
        )


def spellings(keys: Iterable[str]) -> dict[str, str]:
    """Step keys by every spelling a parameter may have for them; their own comes first."""
    known = list(keys)
    return {key.replace("-", "_"): key for key in known} | {key: key for key in known}


def looking_at(each: Beside, parameters: tuple[Parameter, ...], keys: Mapping[str, str]) -> StepDefinition:
    """It as a step that depends on whatever its function's parameters take; `keys` by every spelling."""
    taken: dict[str, None] = {}
    for parameter in parameters:
        key = keys.get(parameter.wants)
        if key is not None and not parameter.is_context and (parameter.wants == key or parameter.takes(key)):
            taken[key] = None
    return msgspec.structs.replace(each.step, dependencies=tuple(taken))


def told(inputs: Inputs) -> Inputs:
    """Pick the arguments up with what becomes of the execution among the names."""

    def pick_up(values: Values) -> Any:
        return inputs(NamedValues(values, {EXECUTION: values.execution}))

    return pick_up


def _as_step(action: ActionDefinition, *, key: str, prompt: str | None) -> StepDefinition:
    return StepDefinition(
        key=key,
        agent=action.agent,
        prompt=prompt,
        timeout_ms=action.timeout_ms,
        retry_policy=action.retry_policy,
    )
