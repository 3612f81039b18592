"""Workflows declared in Python: parameters are the graph."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Annotated, Any

import pytest

from perdure.actors.instructions.context import StepContext
from perdure.runtime import InvalidArgument
from perdure.runtime.language import CycleError, DefinitionError, From, Retry, Workflow


def dependencies(workflow: Workflow) -> dict[str, tuple[str, ...]]:
    """What each step needs."""
    return {step.key: step.dependencies for step in workflow.definition.steps}


def refusal(workflow: Workflow) -> DefinitionError:
    """The error a definition ends in."""
    with pytest.raises(DefinitionError) as caught:
        _ = workflow.definition
    return caught.value


def test_a_parameter_named_like_a_step_is_the_dependency_on_it():
    """Also on steps declared later; others are inputs, as is a parameter with the step's own name."""
    workflow = Workflow("w")

    @workflow.step
    def total(first: int, second_part: int, total: int = 0, *, extra: int = 0) -> int:
        return first + second_part + total + extra

    @workflow.step
    def first(number: int) -> int:
        return number

    @workflow.step(key="second-part")
    def second(number: int) -> int:
        return number

    assert dependencies(workflow) == {"total": ("first", "second-part"), "first": (), "second-part": ()}
    assert workflow.levels() == [["first", "second-part"], ["total"]]
    assert workflow.order() == ["first", "second-part", "total"]


def test_the_decorator_returns_the_function_unchanged():
    """Bare and with arguments: it can still be called and tested alone."""
    workflow = Workflow("w")

    async def bare() -> None: ...
    async def dressed() -> None: ...

    assert workflow.step(bare) is bare
    assert workflow.step(timeout=1)(dressed) is dressed


def test_from_names_what_no_identifier_can():
    """A step or an input by its exact name."""
    workflow = Workflow("w")
    workflow.step(key="größe-1!")(lambda: 1)

    @workflow.step
    def use(size: Annotated[int, From("größe-1!")], given: Annotated[int, From("any input")]) -> int:
        return size + given

    assert dependencies(workflow)["use"] == ("größe-1!",)


def test_a_step_context_is_no_dependency():
    """Whatever the parameter is called, and even if its type is only known to the type checker."""
    workflow = Workflow("w")

    @workflow.step
    def first() -> None: ...

    @workflow.step
    def second(first: StepContext) -> None: ...

    @workflow.step
    def third(context: StepContext | None, second: object) -> None: ...

    assert dependencies(workflow) == {"first": (), "second": (), "third": ("second",)}


def test_after_orders_without_data():
    """By key or by function, one or several."""
    workflow = Workflow("w")

    @workflow.step
    def first() -> None: ...

    @workflow.step(after=first)
    def second() -> None: ...

    @workflow.step(after=["first", second])
    def third(second: None) -> None: ...

    assert dependencies(workflow) == {"first": (), "second": ("first",), "third": ("second", "first")}


def test_policy_is_given_in_seconds_and_kept_in_milliseconds():
    """Floats or timedeltas; exceptions by class or name."""
    workflow = Workflow("w", timeout="1m", checkpoint_interval=0.5, max_retries=2, tags="one")
    retry = Retry(
        max_retries=3, delay=0.1, max_delay=timedelta(seconds=5), retryable_errors=[OSError, "Busy"]
    )

    @workflow.step(timeout=0.0001, retry=retry, optional=True, parallel=False, output_schema={"type": "null"})
    def work() -> None: ...

    definition = workflow.definition
    (step,) = definition.steps
    assert definition.tags == ("one",)
    assert (definition.config.timeout, definition.config.checkpoint_interval) == (60_000, 500)
    assert (step.timeout_ms, step.optional, step.parallel) == (1, True, False)
    assert step.retry_policy is not None
    assert (step.retry_policy.retry_delay_ms, step.retry_policy.retry_max_delay_ms) == (100, 5_000)
    assert step.retry_policy.retryable_errors == ("OSError", "Busy")


def test_wrong_policy_is_a_problem_of_the_definition():
    """Ranges are those of the file form."""
    workflow = Workflow("w", parallelism=0)

    @workflow.step(timeout=-1, retry=Retry(max_retries=-1, multiplier=0.5))
    def work() -> None: ...

    text = str(refusal(workflow))
    for path in ("config.parallelism", "timeoutMs", "maxRetries", "retryBackoffMultiplier"):
        assert path in text
    with pytest.raises(ValueError, match="no duration"):
        Workflow("w", timeout=float("nan"))


def test_a_circle_of_parameters_is_printed_as_a_path():
    """With the file and line of the function."""
    workflow = Workflow("w")

    @workflow.step
    def a(b: int) -> int:
        return b

    @workflow.step
    def b(a: int) -> int:
        return a

    error = refusal(workflow)
    assert isinstance(error, CycleError)
    assert error.path == ("a", "b", "a")
    (problem,) = error.problems
    assert problem.file == __file__
    assert problem.line == inspect.getsourcelines(a)[1]


def test_two_keys_that_would_be_one_parameter_are_refused():
    """`a-b` and `a_b` cannot be told apart."""
    workflow = Workflow("w")
    workflow.step(key="a-b")(lambda: 1)
    workflow.step(key="a_b")(lambda: 1)
    assert "one and the same parameter name" in str(refusal(workflow))


def test_parameters_that_cannot_be_filled_by_name_are_refused():
    """Positional-only ones and *args; **kwargs get nothing."""
    workflow = Workflow("w")

    @workflow.step
    def one(a: int, /) -> None: ...

    @workflow.step
    def two(*args: int) -> None: ...

    @workflow.step
    def three(**kwargs: int) -> None: ...

    error = refusal(workflow)
    assert [problem.path for problem in error.problems] == ["steps[0]", "steps[1]"]
    assert "positional-only" in str(error)


def test_functions_that_yield_are_refused():
    """Steps, conditions and compensations alike, each at its place."""
    workflow = Workflow("w")

    def undo() -> Iterator[int]:
        yield 1

    @workflow.step(when=lambda: (yield))
    async def one() -> int:
        return 1

    @workflow.step(compensate=undo)
    async def two() -> AsyncIterator[int]:
        yield 1

    error = refusal(workflow)
    assert [problem.path for problem in error.problems] == [
        "steps[0].when",
        "steps[1]",
        "steps[1].compensate",
    ]
    assert str(error).count("return a list of what it would yield") == 3


def test_a_process_step_must_be_importable_plain_and_without_context():
    """Its worker process has to find it."""
    workflow = Workflow("w")

    @workflow.step(process=True)
    def local() -> None: ...

    @workflow.step(process=True)
    async def asynchronous() -> None: ...

    workflow.step(process=True)(wants_context)
    text = str(refusal(workflow))
    assert "top of a module" in text
    assert "no event loop" in text
    assert "cannot have a StepContext" in text


def wants_context(context: StepContext) -> None:
    """A module-level function."""


def test_a_lambda_needs_a_key():
    """`<lambda>` is nobody's name."""
    workflow = Workflow("w")
    workflow.step(lambda: 1)
    assert "give the step a key" in str(refusal(workflow))


def test_after_must_name_steps():
    """A function that is no step, a key that is none."""
    workflow = Workflow("w")
    workflow.step(key="a", after=[print])(lambda: 1)
    assert "no step of this workflow" in str(refusal(workflow))


def test_the_same_step_twice_is_refused():
    """Keys are unique."""
    workflow = Workflow("w")
    workflow.step(key="a")(lambda: 1)
    workflow.step(key="a")(lambda: 2)
    assert "defined twice" in str(refusal(workflow))


def test_a_workflow_without_steps_is_refused():
    """There would be nothing to run."""
    assert "steps has 0 items" in str(refusal(Workflow("w")))


def test_values_that_no_file_could_hold_are_refused():
    """Circular, deep, not a number, not text: in schemas and in labels."""
    circular: dict = {}
    circular["properties"] = circular
    deep: dict = {}
    for _ in range(100):
        deep = {"not": deep}
    for schema in (
        circular,
        deep,
        {"const": float("nan")},
        {"const": "\ud800"},
        {"const": {1: 2}},
        {"const": print},
    ):
        workflow = Workflow("w").agent_step("a", agent="x", output_schema=schema)
        refusal(workflow)
    for name in (1, None, "a b", "\ud800"):
        refusal(Workflow(name).agent_step("a", agent="x"))


def test_both_forms_come_to_the_same_definition():
    """The builder is the twin of the file."""
    built = (
        Workflow("review", version="1.0", parallelism=2)
        .agent_step("parse", agent="backend", prompt="Parse {{filePath}}")
        .agent_step(
            "report",
            agent="writer",
            after=["parse"],
            prompt="{{parse.result}}",
            timeout=3,
            retry=Retry(max_retries=1, delay=2),
            output_schema={"type": "string"},
        )
    )
    read = Workflow.parse(
        """
        name: review
        version: "1.0"
        config: {parallelism: 2}
        steps:
          - {key: parse, agent: backend, prompt: "Parse {{filePath}}"}
          - key: report
            agent: writer
            dependencies: [parse]
            prompt: "{{parse.result}}"
            timeoutMs: 3000
            retryPolicy: {maxRetries: 1, retryDelayMs: 2000}
            outputSchema: {type: string}
        """
    )
    assert built.definition == read.definition
    assert built.revision == read.revision


def test_a_workflow_that_was_read_can_be_extended():
    """Steps in Python beside those of the file."""
    workflow = Workflow.parse("name: w\nsteps: [{key: a, agent: x}]")

    @workflow.step
    def b(a: int) -> int:
        return a

    assert workflow.levels() == [["a"], ["b"]]


def test_functions_are_found_by_qualified_names():
    """Local ones carry their workflow's name and their step's key, since they share their names."""
    workflow = Workflow("w")
    workflow.step(key="one")(lambda: 1)
    workflow.step(key="two")(lambda: 2)
    workflow.step(wants_context)
    names = list(workflow.functions)
    assert names == [step.agent for step in workflow.definition.steps]
    assert names[2] == f"python:{__name__}:wants_context"
    assert names[0].endswith("<lambda>#w.one")
    assert [workflow.functions[name]() for name in names[:2]] == [1, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": "soon"},
        {"timeout": [1]},
        {"timeout": float("nan")},
        {"retry": 3},
        {"repeat": 3},
        {"for_each": [1, 2]},
    ],
)
def test_what_is_no_policy_is_refused_with_what_is_one(wrong: dict[str, Any]) -> None:
    """Where it is declared, in words."""
    with pytest.raises(InvalidArgument, match="give"):
        Workflow("w").step(**wrong)(lambda: 1)
