"""Steps that are performed more than once: what is odd about them, and how they are compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from perdure.actors.names import ITERATION, OUTPUT, NamedValues
from perdure.actors.plan import Repeat, Values
from perdure.runtime.language.definition import RepeatDefinition, StepDefinition
from perdure.runtime.language.questions import Answer


def odd_loops(step: StepDefinition) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with how a step is repeated: where, and a sentence."""
    repeat = step.repeat
    if repeat is not None and (repeat.until is None) is (repeat.while_ is None):
        has = "neither until nor while" if repeat.until is None else "both until and while"
        yield ("repeat",), f"step {step.key!r} has {has}: repeat has one of them"


def compile_repeat(repeat: RepeatDefinition | None, answer: Answer | None) -> Repeat | None:
    """How a step is repeated; `answer` is its condition, None where that cannot be asked here."""
    if repeat is None:
        return None
    return Repeat(
        goes_on=_goes_on(answer, is_until=repeat.until is not None),
        max_iterations=repeat.max_iterations,
        delay_ms=repeat.delay,
        fails_when_exhausted=repeat.on_exhausted == "fail",
    )


def _goes_on(answer: Answer | None, *, is_until: bool) -> Callable[[Values, Any, int], Any]:
    """`while` goes on where the condition holds, `until` where it does not; what is no answer stays none."""

    def goes_on(values: Values, output: Any, iteration: int) -> Any:
        assert answer is not None, "a plan with something missing is not performed"
        found = answer(NamedValues(values, {OUTPUT: output, ITERATION: iteration}))
        return not found if is_until and isinstance(found, bool) else found

    return goes_on
