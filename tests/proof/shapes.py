"""The workflows that are played, as a runtime and as the model get them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from model import Model
from modelled_step import Step

from perdure.runtime import Retry, Workflow

Bodies = Callable[[int, int], Callable[..., Any]]  # of a shape and a step, by their numbers


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow as it is given to both; times in ms end in 5."""

    steps: tuple[dict[str, Any], ...]
    eager: bool = False
    parallelism: int | None = None
    continue_on_error: bool = False
    timeout_ms: int | None = None


TWICE: Final = {"retries": 1, "delay_ms": 15}
LATER: Final = {"retries": 1, "delay_ms": 20_005}  # long enough to leave memory
SHAPES: Final = (
    Shape(steps=({}, {"needs": (0,)}, {"needs": (1,)})),
    Shape(steps=({}, {}, TWICE, {"needs": (0, 1)}, {"needs": (2,)}), eager=True, parallelism=2),
    Shape(steps=({"is_optional": True}, LATER, {"needs": (0, 1)}), timeout_ms=60_005),
    Shape(steps=({}, {"is_parallel": False}, {}, {"needs": (0,)}, {"needs": (1, 2)}), continue_on_error=True),
    Shape(steps=(TWICE, {"needs": (0,), "is_optional": True, **TWICE}), timeout_ms=345),
)


def workflow_of(no: int, shape: Shape, body: Bodies) -> Workflow:
    """The shape as a runtime gets it; `body` makes the function of a step."""
    workflow = Workflow(
        f"shape-{no}",
        scheduling="eager" if shape.eager else "level",
        parallelism=shape.parallelism,
        continue_on_error=shape.continue_on_error,
        timeout=None if shape.timeout_ms is None else shape.timeout_ms / 1000,
    )
    for step_no, step in enumerate(shape.steps):
        retry = Retry(max_retries=step.get("retries", 0), delay=step.get("delay_ms", 0) / 1000, jitter=False)
        workflow.step(
            key=f"s{step_no}",
            retry=retry,
            optional=step.get("is_optional", False),
            parallel=step.get("is_parallel", True),
            after=[f"s{need}" for need in step.get("needs", ())],
        )(body(no, step_no))
    return workflow


def model_of(shape: Shape) -> Model:
    """The shape as the model gets it."""
    return Model(
        [
            Step(step.get("needs", ()), **{k: v for k, v in step.items() if k != "needs"})
            for step in shape.steps
        ],
        eager=shape.eager,
        parallelism=shape.parallelism,
        continue_on_error=shape.continue_on_error,
        timeout_ms=shape.timeout_ms,
        context={"a": 1},
    )
