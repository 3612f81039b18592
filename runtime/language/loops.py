"""Steps that are performed more than once: what is odd about them, and how they are compiled."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

from perdure.actors.instructions.names import ITERATION, OUTPUT, NamedValues
from perdure.actors.instructions.plan import ForEach, Repeat, Values
from perdure.runtime.language.definition import RepeatDefinition, StepDefinition
from perdure.runtime.language.findings import Path
from perdure.runtime.language.questions import Answer, repeat_question
from perdure.runtime.language.templates import compile_template, parse_template


def odd_loops(step: StepDefinition, keys: Container[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with how often a step is performed: where, and a sentence."""
    repeat, for_each = step.repeat, step.for_each
    if repeat is not None and (repeat.until is None) is (repeat.while_ is None):
        has = "neither until nor while" if repeat.until is None else "both until and while"
        yield ("repeat",), f"step {step.key!r} has {has}: repeat has one of them"

    if for_each is None:
        return
    if repeat is not None:
        yield (
            ("repeat",),
            f"step {step.key!r} has forEach and repeat: let a child workflow repeat, or the body itself",
        )
    for field, name in (("as", for_each.as_), ("index", for_each.index)):
        if not (name.isidentifier() and name.isascii()):
            yield ("forEach", field), f"{name!r:.80} is no name: letters, digits and _, no digit first"
        elif name in keys:
            yield ("forEach", field), f"{name!r} is the key of a step: call one of them otherwise"
    if for_each.as_ == for_each.index:
        yield ("forEach", "index"), f"an item and its number cannot both be called {for_each.as_!r}"


def compile_loops(
    step: StepDefinition, answers: Mapping[Path, Answer], *, numbers: Mapping[str, int]
) -> dict[str, Any]:
    """How often a step is performed, and for what; `answers` are those to what is asked for it."""
    question = repeat_question(step)
    return {
        "repeat": _repeat(step.repeat, None if question is None else answers.get(question.path)),
        "for_each": _for_each(step, answers.get(("forEach", "items")), numbers),
    }


def _for_each(step: StepDefinition, answer: Answer | None, numbers: Mapping[str, int]) -> ForEach | None:
    """What a step is performed for; `answer` gives the items where they are asked for."""
    for_each = step.for_each
    if for_each is None:
        return None
    return ForEach(
        items=_items(step, for_each.items, answer, numbers),
        as_name=for_each.as_,
        index_name=for_each.index,
        max_concurrency=for_each.max_concurrency,
        continue_on_error=for_each.continue_on_error,
    )


def _items(
    step: StepDefinition, items: Any, answer: Answer | None, numbers: Mapping[str, int]
) -> Callable[[Values], Any]:
    if isinstance(items, str):
        if "{{" in items:
            return compile_template(parse_template(items), step=step.key, numbers=numbers)
        return answer or _unasked
    return lambda _values: items


def _repeat(repeat: RepeatDefinition | None, answer: Answer | None) -> Repeat | None:
    """How a step is repeated; `answer` is its condition, None where that cannot be asked here."""
    if repeat is None:
        return None
    return Repeat(
        goes_on=_goes_on(answer, is_until=repeat.until is not None),
        max_iterations=repeat.max_iterations,
        delay_ms=repeat.delay,
        fails_when_exhausted=repeat.on_exhausted == "fail",
    )


def _unasked(_values: Values) -> Any:
    raise AssertionError("a plan with something missing is not performed")


def _goes_on(answer: Answer | None, *, is_until: bool) -> Callable[[Values, Any, int], Any]:
    """`while` goes on where the condition holds, `until` where it does not; what is no answer stays none."""

    def goes_on(values: Values, output: Any, iteration: int) -> Any:
        assert answer is not None, "a plan with something missing is not performed"
        found = answer(NamedValues(values, {OUTPUT: output, ITERATION: iteration}))
        return not found if is_until and isinstance(found, bool) else found

    return goes_on
