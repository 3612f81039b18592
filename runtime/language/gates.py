"""Steps that are gates, as they are written, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from perdure.actors.instructions.gate import Criterion, Gate, OnNo
from perdure.runtime.language.definition import StepDefinition
from perdure.runtime.language.findings import Path
from perdure.runtime.language.questions import Answer
from perdure.store.errors import PerdureError


class NotHere(PerdureError):
    """What would judge a criterion is not in this process."""


def compile_gate(step: StepDefinition, answers: Mapping[Path, Answer]) -> Gate | None:
    """The gate of a step; `answers` are the closures of its criteria, by place."""
    gate = step.gate
    if gate is None:
        return None
    return Gate(
        criteria=tuple(
            Criterion(
                holds=answers.get(("gate", "criteria", no, "when"), _not_here),
                written=criterion.when,
                reason=criterion.reason,
            )
            for no, criterion in enumerate(gate.criteria)
        ),
        on_no=OnNo(gate.on_no),
    )


def _not_here(_values: Any) -> NoReturn:
    raise NotHere("what would judge it is not here: a runner that has it does")
