"""Steps that start an execution of another workflow: what is wrong with them, and what they compile to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from perdure.actors.instructions.waits import ForChild
from perdure.runtime.language import names
from perdure.runtime.language.definition import StepDefinition
from perdure.runtime.language.findings import Findings
from perdure.runtime.language.findings import Path as Place
from perdure.runtime.language.templates import Path
from perdure.runtime.language.values import compile_value, paths_in

INPUT: Final = ("workflow", "input")  # where the templates of such a step stand


def odd_calls(step: StepDefinition) -> Iterator[tuple[Place, str]]:
    """What is wrong with the call of a step: the path from the step, and a sentence."""
    call = step.workflow
    if call is None:
        return
    if call.name and not names.is_name(call.name):
        yield ("workflow", "name"), f"{call.name!r:.80} is not a workflow name: {names.NAME_RULE}"
    if not call.wait and call.parent_close_policy != "cancel":
        yield (
            ("workflow", "parentClosePolicy"),
            f"step {step.key!r} does not wait: its child goes its own way anyhow",
        )
    for field, value in (("timeoutMs", step.timeout_ms), ("outputSchema", step.output_schema)):
        if not call.wait and value is not None:
            yield (
                ("workflow", "wait"),
                f"step {step.key!r} does not wait for its child: {field} means nothing to it",
            )


def lookups(step: StepDefinition, findings: Findings, *, at: Place = ()) -> Iterator[tuple[Place, Path]]:
    """What the input of a call looks up, with the place of each; `at` is the place of the step."""
    if step.workflow is not None and step.workflow.input is not None:
        yield from paths_in(step.workflow.input, (*at, *INPUT), findings)


def compile_call(step: StepDefinition, *, numbers: Mapping[str, int]) -> ForChild | None:
    """What a step with a call waits for."""
    call = step.workflow
    if call is None:
        return None
    return ForChild(
        workflow=call.name,
        version=call.version,
        input=compile_value(call.input or {}, numbers=numbers, step=step.key),
        waits=call.wait,
        follows=call.wait and call.parent_close_policy == "cancel",
    )
