"""Parameters are filled by name, and with the type they are annotated with."""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import msgspec
import pytest

from perdure.actors.instructions.context import StepContext
from perdure.runtime.agents import From, InputError, bind, parameters_of

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTheTypeChecker


class Finding(msgspec.Struct):
    """A msgspec struct."""

    line: int


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: int
    y: int = 0


class Colour(enum.Enum):
    """An enum by value."""

    RED = "red"


class Options(TypedDict):
    """A typed dict."""

    deep: bool


class Foreign:
    """A class JSON knows nothing of."""


class Seen:
    """A context without outputs."""

    def __init__(self, **context: object) -> None:
        self.context = context

    def output(self, step_no: int) -> Any:
        """There are none."""
        raise AssertionError(step_no)


def bound(function: Any, **context: object) -> dict[str, Any]:
    """The arguments a function would be called with."""
    return bind(parameters_of(function), step="s", dependencies={})(Seen(**context))


def test_values_become_what_the_annotation_says():
    """Structs, dataclasses, enums, typed dicts, containers, paths."""

    def body(
        *,
        finding: Finding,
        point: Point,
        colour: Colour,
        options: Options,
        many: list[Finding],
        where: Path,
        ratio: float,
        maybe: int | None,
    ) -> None: ...

    assert bound(
        body,
        finding={"line": 3},
        point={"x": 1},
        colour="red",
        options={"deep": True},
        many=[{"line": 1}],
        where="a/b",
        ratio=1,
        maybe=None,
    ) == {
        "finding": Finding(3),
        "point": Point(1),
        "colour": Colour.RED,
        "options": {"deep": True},
        "many": [Finding(1)],
        "where": Path("a/b"),
        "ratio": 1.0,
        "maybe": None,
    }


def test_without_a_usable_annotation_the_value_is_passed_as_it_is():
    """None, Any, an unknown class, a name only the type checker knows."""

    def body(a, b: Any, c: Foreign, d: OnlyForTheTypeChecker) -> None: ...

    assert bound(body, a={"x": 1}, b=[1], c="text", d=5) == {"a": {"x": 1}, "b": [1], "c": "text", "d": 5}


@pytest.mark.parametrize(
    ("value", "words"),
    [({"x": "one"}, "Expected `int`, got `str` - at `$.x`"), (3, "Expected `object`"), (None, "got `null`")],
)
def test_a_value_that_does_not_fit_is_refused_with_its_place(value, words):
    """The step, the parameter, what was there and what was expected."""

    def body(point: Point) -> None: ...

    with pytest.raises(InputError) as caught:
        bound(body, point=value)
    assert "step 's': parameter 'point'" in str(caught.value)
    assert words in str(caught.value)


def test_numbers_are_not_read_out_of_text():
    """Nothing is guessed."""

    def body(count: int) -> None: ...

    with pytest.raises(InputError):
        bound(body, count="3")


def test_defaults_make_inputs_optional_and_kwargs_get_nothing():
    """Only what is asked for by name is given."""

    def body(a: int, b: int = 2, **rest: int) -> None: ...

    assert bound(body, a=1, c=3) == {"a": 1}
    assert bound(body, a=1, b=5) == {"a": 1, "b": 5}
    with pytest.raises(InputError, match="parameter 'a' takes the input 'a'"):
        bound(body, b=5)


def test_an_exact_dependency_comes_before_a_similar_one():
    """`a_b` is `a_b` first, and `a-b` when there is no such step."""

    def body(a_b: int) -> None: ...

    class Outputs(Seen):
        def output(self, step_no: int) -> int:
            return step_no

    parameters = parameters_of(body)
    assert bind(parameters, step="s", dependencies={"a-b": 1, "a_b": 2})(Outputs()) == {"a_b": 2}
    assert bind(parameters, step="s", dependencies={"a-b": 1})(Outputs()) == {"a_b": 1}


def test_from_names_exactly():
    """`-` is not read as `_`, and `prompt` is an input."""

    def body(x: Annotated[int, From("a_b")], y: Annotated[str, From("prompt")]) -> None: ...

    inputs = bind(parameters_of(body), step="s", dependencies={"a-b": 1}, render=lambda _values: "rendered")
    assert inputs(Seen(a_b=3, prompt="given")) == {"x": 3, "y": "given"}


def test_the_prompt_is_the_rendered_one_where_the_step_has_one():
    """Without a prompt it is an input like others."""

    def body(prompt: str) -> None: ...

    parameters = parameters_of(body)
    rendered = bind(parameters, step="s", dependencies={}, render=lambda values: values.context["a"] + "!")
    assert rendered(Seen(a="hey", prompt="no")) == {"prompt": "hey!"}
    assert bind(parameters, step="s", dependencies={})(Seen(prompt="yes")) == {"prompt": "yes"}


def test_a_context_is_known_by_its_type():
    """By class, in a union, as text; it is not bound here."""

    def body(one: StepContext, two: StepContext | None, three: nowhere.StepContext) -> None: ...  # noqa: F821

    assert [parameter.is_context for parameter in parameters_of(body)] == [True, True, True]
    assert bound(body) == {}
