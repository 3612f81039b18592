"""Steps that ask people, as they are written: what is wrong with them, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from perdure.actors.instructions.plan import Values
from perdure.actors.instructions.waits import ForApproval, OnReject, OnUndecided, People
from perdure.runtime.language.definition import ApprovalDefinition, StepDefinition
from perdure.runtime.language.findings import Path
from perdure.runtime.language.outputs import make_validator, written_path
from perdure.runtime.language.templates import compile_template, parse_template, rendered
from perdure.runtime.language.values import compile_value
from perdure.runtime.near import quoted

if TYPE_CHECKING:
    from jsonschema_rs import Validator

MISFITS_SHOWN_MAX: Final = 5  # of what is wrong with the data of a decision; they stand in one line


def odd_approvals(step: StepDefinition) -> Iterator[tuple[Path, str]]:
    """What is wrong with what a step asks people: where in the step, and a sentence."""
    asked = step.approval
    if asked is None:
        return
    key = quoted(step.key)
    for field, people in (("approvers", asked.approvers), ("escalateTo", asked.escalate_to)):
        for no, name in enumerate(people):
            if name in people[:no]:
                yield ("approval", field, no), f"{quoted(name)} is there twice: everybody has one voice"
        is_known = not any("{{" in name for name in people)
        if people and is_known and asked.quorum > len(people):
            yield (
                ("approval", "quorum"),
                f"step {key} needs {asked.quorum} approvals, and {field} has {len(people)}",
            )
    if asked.timeout is None and asked.on_timeout != "fail":
        yield ("approval", "onTimeout"), f"step {key} has onTimeout and no timeout"
    if asked.on_timeout == "escalate" and not asked.escalate_to:
        yield ("approval", "onTimeout"), f"step {key} escalates to nobody: say escalateTo"
    if asked.escalate_to and asked.on_timeout != "escalate":
        yield ("approval", "escalateTo"), f"step {key} has escalateTo, and its onTimeout is not escalate"


def compile_approval(asked: ApprovalDefinition, *, step: str, numbers: Mapping[str, int]) -> ForApproval:
    """What the machine is to wait for."""
    return ForApproval(
        message=None if asked.message is None else _message(asked.message, step=step, numbers=numbers),
        approvers=_people(asked.approvers, step=step, numbers=numbers),
        quorum=asked.quorum,
        timeout_ms=asked.timeout,
        on_timeout=OnUndecided(asked.on_timeout),
        escalate_to=_people(asked.escalate_to, step=step, numbers=numbers),
        on_reject=OnReject(asked.on_reject),
        form=asked.form,
        misfit=None if asked.form is None else _misfit(asked.form),
    )


def _message(text: str, *, step: str, numbers: Mapping[str, int]) -> Callable[[Values], str]:
    look = compile_template(parse_template(text), step=step, numbers=numbers)
    return lambda values: rendered(look(values))


def _people(names: tuple[str, ...], *, step: str, numbers: Mapping[str, int]) -> People:
    """Who is asked: the names, or where some are templates what tells them."""
    if not any("{{" in name for name in names):
        return names
    return compile_value(names, step=step, numbers=numbers)


def _misfit(form: dict[str, Any]) -> Callable[[Any], str | None]:
    """What says what is wrong with data; the form is read when the first decision comes."""

    @lru_cache(maxsize=1)
    def validator() -> Validator:
        return make_validator(form)

    def misfit(data: Any) -> str | None:
        errors = list(validator().iter_errors(data))
        shown = [f"{written_path(error.instance_path)}: {error.message}" for error in errors]
        more = len(shown) - MISFITS_SHOWN_MAX
        return "; ".join([*shown[:MISFITS_SHOWN_MAX], *([f"and {more} more"] if more > 0 else [])]) or None

    return misfit
