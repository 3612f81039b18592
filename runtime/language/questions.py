"""What a definition asks of expressions and functions: everything that is decided while it runs.

Each is text: CEL, or the name of a Python function. They are all read, checked and compiled alike;
what differs is where they stand, what they see beside `inputs` and `steps`, and what they may give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from perdure.actors.instructions.names import ITERATION, OUTPUT, PREVIOUS
from perdure.actors.instructions.plan import Values
from perdure.runtime.agents.binding import bind
from perdure.runtime.agents.registry import PYTHON, Agents
from perdure.runtime.language.conditions import (
    EXTRA,
    ITEMS,
    TRUTH,
    ConditionsNotInstalled,
    Gives,
    compile_condition,
)
from perdure.runtime.language.definition import StepDefinition
from perdure.runtime.language.findings import Path
from perdure.runtime.language.graph import Needs

AFTER_AN_ITERATION: Final = (OUTPUT, ITERATION)  # what is known when it is to be decided about the next


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One of them: `path` leads to it from its step, `names` are what it sees besides."""

    path: Path
    noun: str
    text: str
    names: tuple[str, ...] = ()
    gives: Gives = TRUTH

    @property
    def is_python(self) -> bool:
        """Whether a function is asked."""
        return self.text.startswith(PYTHON)


Answer = Callable[[Values], Any]


def questions_of(step: StepDefinition) -> Iterator[Question]:
    """Everything that is asked for a step."""
    if step.when is not None:
        yield Question(path=("when",), noun="condition", text=step.when)
    if (question := repeat_question(step)) is not None:
        yield question
    for no, criterion in enumerate(() if step.gate is None else step.gate.criteria):
        yield Question(path=("gate", "criteria", no, "when"), noun="criterion", text=criterion.when)
    items = None if step.for_each is None else step.for_each.items
    if isinstance(items, str) and "{{" not in items:
        yield Question(path=("forEach", "items"), noun="list of items", text=items, gives=ITEMS)


def repeat_question(step: StepDefinition) -> Question | None:
    """What decides whether a step is repeated."""
    repeat = step.repeat
    if repeat is None:
        return None
    word, text = ("until", repeat.until) if repeat.until is not None else ("while", repeat.while_)
    if text is None:
        return None
    return Question(path=("repeat", word), noun="repeat condition", text=text, names=AFTER_AN_ITERATION)


def names_of(step: StepDefinition) -> frozenset[str]:
    """What the body of a step, and its prompt, see beside the inputs."""
    if step.for_each is not None:
        return frozenset({step.for_each.as_, step.for_each.index})
    return frozenset() if step.repeat is None else frozenset({ITERATION, PREVIOUS})


def templates_of(step: StepDefinition) -> Iterator[tuple[Path, str, str, frozenset[str]]]:
    """The templates of a step: where they stand, what they are, their text, and what they see besides."""
    if step.prompt is not None:
        yield ("prompt",), "prompt", step.prompt, names_of(step)
    if step.until is not None:
        yield ("until",), "moment", step.until, frozenset()
    if step.approval is not None and step.approval.message is not None:
        yield ("approval",), "message", step.approval.message, frozenset()
    for field, no, name in people_of(step):
        if "{{" in name:
            yield ("approval", field, no), "name", name, frozenset()
    items = None if step.for_each is None else step.for_each.items
    if isinstance(items, str) and "{{" in items:
        yield ("forEach", "items"), "list of items", items, frozenset()


def people_of(step: StepDefinition) -> Iterator[tuple[str, int, str]]:
    """Whom a step asks: the field, the place in it, and the name or the template of some."""
    if step.approval is not None:
        for field, people in (
            ("approvers", step.approval.approvers),
            ("escalateTo", step.approval.escalate_to),
        ):
            yield from ((field, no, name) for no, name in enumerate(people))


def compile_question(
    question: Question,
    step: StepDefinition,
    no: int,
    *,
    numbers: Mapping[str, int],
    needs: Needs,
    agents: Agents,
) -> tuple[Answer | None, tuple[str, ...]]:
    """The question as a closure, and what is missing here to ask it."""
    if not question.is_python:
        try:
            return compile_condition(
                question.text, no=no, numbers=numbers, needs=needs, names=question.names
            ), ()
        except ConditionsNotInstalled:
            return None, (EXTRA,)
    found = agents.find(question.text)
    if found is None:
        return None, (question.text,)
    dependencies = {key: numbers[key] for key in step.dependencies}
    bound = bind(found.parameters, step=step.key, dependencies=dependencies)
    return lambda values: found.function(**bound(values)), ()
