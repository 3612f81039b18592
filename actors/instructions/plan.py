"""The instruction set of the machine: what a compiler hands over and the actors execute.

A `Plan` is the executable form of one revision. It knows nothing of YAML, templates or agents:
whatever a step needs is a closure in it. Plans are immutable and shared by all executions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Protocol

import msgspec

from perdure.actors.instructions.breaker import Breaker
from perdure.actors.instructions.budget import Budget
from perdure.actors.instructions.context import StepContext
from perdure.actors.instructions.gate import Gate
from perdure.actors.instructions.guard import Guard
from perdure.actors.instructions.waits import Wait
from perdure.actors.instructions.webhook import Webhook
from perdure.store.states import Role
from perdure.store.usage import Usage

PAST: Final = "imported-"  # how revisions begin that are made of what earlier systems have performed
ITEMS_MAX: Final = 1_000_000  # of one step; who has more gives each item a range


class Mode(StrEnum):
    """Where a step's body runs."""

    ASYNC = "async"  # on the event loop
    THREAD = "thread"  # a plain function, in a worker thread
    PROCESS = "process"  # in a worker process that can really be killed


class Scheduling(StrEnum):
    """When a step may start."""

    LEVEL = "level"  # when every step of the levels below it has settled
    EAGER = "eager"  # as soon as its own needs are met


class DependenciesPolicy(StrEnum):
    """Which ends of its needs let a step in, once all of them have settled.

    A number in its place lets it in as soon as so many have come, whether others are still to settle or not.
    """

    ALL_SUCCESS = "all_success"  # every one completed, or failed and was optional
    ALL_DONE = "all_done"  # whatever became of them
    ANY = "any"  # at least one completed, or failed and was optional


class Hook(StrEnum):
    """The ends of an execution at which something may run."""

    SUCCESS = "onSuccess"
    FAILURE = "onFailure"
    CANCEL = "onCancel"
    FINALLY = "finally"  # after the one of these, whichever it was


class OnFailure(StrEnum):
    """What becomes of what was done when an execution fails."""

    FAIL = "fail"  # it stays
    COMPENSATE = "compensate"  # it is undone


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how patiently a failed step is tried again. Times are milliseconds.

    The delay before retry n (1, 2, …) is `delay_ms * multiplier ** (n - 1)`, at most
    `max_delay_ms`; jitter then takes a random part of it (full jitter, as in Brooker's "Exponential
    Backoff And Jitter"). `retryable_errors` empty means every error.
    """

    max_retries: int = 0
    delay_ms: int = 1_000
    multiplier: float = 2.0
    max_delay_ms: int = 60_000
    jitter: bool = True
    retryable_errors: tuple[str, ...] = ()


class Values(Protocol):
    """What a step may read: the context and the outputs of the steps before it, decoded JSON."""

    @property
    def context(self) -> Mapping[str, Any]:
        """The execution's context as it is now."""
        ...

    def output(self, step_no: int) -> Any:
        """The output of a settled step; None where it was optional and failed, or was skipped."""
        ...

    def state(self, step_no: int) -> str:
        """The state of a step, as people read it."""
        ...

    def error(self, step_no: int) -> Mapping[str, str] | None:
        """Why a step has failed: its `type` and its `message`; None where it has not."""
        ...

    @property
    def execution(self) -> Mapping[str, Any]:
        """What hooks and compensations may know: its id, the state it comes to, its error, the reason."""
        ...


Inputs = Callable[[Values], Any]
Outputs = Callable[[Values], dict[str, Any]]
Condition = Callable[[Values], Any]
Perform = Callable[[StepContext, Any], Awaitable[Any]] | Callable[[StepContext, Any], Any]


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """How often a step is performed: after each iteration `goes_on` says whether another follows.

    `goes_on` is pure; it is given what the step may read, the output and the number (1, 2, …) of the
    iteration that has just ended. Anything but True or False fails the step.
    """

    goes_on: Callable[[Values, Any, int], Any]
    max_iterations: int
    delay_ms: int = 0
    fails_when_exhausted: bool = True


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that may perform a step: how its arguments are picked up, what is called, and where."""

    agent: str
    inputs: Inputs
    perform: Perform
    mode: Mode
    guard: Guard | None = None
    asks: frozenset[str] = frozenset()  # what the context has to have, for it to be called


class ForEach(msgspec.Struct, frozen=True, kw_only=True):
    """What a step is performed for: `items` is pure and gives a list, or a count.

    `as_name` and `index_name` are what the body and its inputs know an item and its number by. Of those
    that are open at most `max_concurrency` are in flight. An item that fails for good fails the step,
    unless it is to `continue_on_error`.
    """

    items: Callable[[Values], Any]
    as_name: str = "item"
    index_name: str = "index"
    max_concurrency: int = 100
    continue_on_error: bool = False


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step, ready to run.

    `inputs` is pure and runs on the loop just before the body; what it raises fails the step.
    `perform` is the body: a coroutine function for ASYNC, else a plain function (importable by name
    for PROCESS). `check_output` raises when the output is not what was promised. `when` is pure and
    asked once the needs have let the step in: False skips it, anything but True or False fails it.
    A step with a `wait` never runs its body: it waits, and what it has waited for is its output. Nor
    does one with a `gate`: it is judged, and the verdicts are its output.
    With `repeat` the output of the last iteration is the step's; each is a generation of its own.
    With `for_each` the body is run for each item, and the list of what they give is the step's output.

    Where it has `candidates` one of them performs it instead, chosen when an attempt starts (see
    `choosing`). `agent` is who performs it, where others may choose that one, too.

    Hooks and compensations are steps, too, of another `role`: nothing in the graph needs them, and
    they start when their moment has come. `undo` is the step that undoes this one, `undoes` the
    other way round.
    """

    no: int
    key: str
    level: int
    needs: tuple[int, ...]
    dependents: tuple[int, ...]
    inputs: Inputs
    perform: Perform
    mode: Mode = Mode.ASYNC
    timeout_ms: int | None = None
    retry: RetryPolicy = RetryPolicy()
    is_optional: bool = False
    is_parallel: bool = True
    check_output: Callable[[Any], None] | None = None
    dependencies: DependenciesPolicy | int = DependenciesPolicy.ALL_SUCCESS
    when: Condition | None = None
    wait: Wait | None = None
    gate: Gate | None = None
    repeat: Repeat | None = None
    guard: Guard | None = None  # of its agent
    estimate: Usage | None = None  # what one attempt will use, where that is known before
    role: Role = Role.GRAPH
    undo: int | None = None
    undoes: int | None = None
    agent: str | None = None
    capabilities: tuple[str, ...] = ()
    candidates: Callable[[], Sequence[Candidate]] | None = None
    for_each: ForEach | None = None

    @property
    def is_asked_first(self) -> bool:
        """Whether more than its needs has a say in whether it runs."""
        plain = self.when is None and self.wait is None and self.gate is None and self.for_each is None
        return not plain


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What a function, as it is here, asks of the context, to be called in a step.

    `choices` has by the name of each that may be called the inputs it cannot do without, and the
    parameter that takes each; `place` is the step and its version in words.
    """

    step_no: int
    place: str
    choices: Mapping[str, Mapping[str, str]]

    @property
    def inputs(self) -> frozenset[str]:
        """All of them."""
        return frozenset(name for choice in self.choices.values() for name in choice)

    def lacks(self, context: Mapping[str, Any]) -> tuple[str, ...]:
        """What is not here, where none can be called with that context: functions that fit, in words."""
        found = []
        for function, asked in self.choices.items():
            unmet = [repr(parameter) for name, parameter in asked.items() if name not in context]
            if not unmet:
                return ()
            why = f"the one here needs {', '.join(unmet)}, which nothing gives it there"
            found.append(f"{function} as it was for {self.place} ({why})")
        return tuple(found)


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """At most `most` executions run at once of those for which `queue` gives the same name."""

    most: int
    queue: Callable[[Mapping[str, Any]], str]  # of a context; raises PerdureError where that lacks the key


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One revision, ready to run. `steps[i].no == i`; `levels` hold step numbers, lowest first.

    `outputs` is pure: what a completed execution gives back, where that is not what each step did.
    The last `outside` steps are not of the graph: hooks and compensations, in no level.
    """

    workflow: str
    workflow_no: int
    revision: str
    steps: tuple[PlannedStep, ...]
    levels: tuple[tuple[int, ...], ...]
    scheduling: Scheduling = Scheduling.LEVEL
    parallelism: int | None = None
    continue_on_error: bool = False
    timeout_ms: int | None = None
    checkpoint_interval_ms: int | None = None
    warn_after_ms: int | None = None  # tell of pauses, and of waits for signals or people, that last so long
    outputs: Outputs | None = None
    budget: Budget | None = None
    circuit_breaker: Breaker | None = None
    webhooks: tuple[Webhook, ...] = ()
    rule: Callable[[str], Callable[[Mapping[str, Any]], Any]] | None = None  # compiles a rule to resume on
    limit: Limit | None = None
    missing: tuple[str, ...] = ()  # functions and agents that are not registered here
    demands: tuple[Demand, ...] = ()  # of those that are
    asked: frozenset[str] = frozenset()  # all inputs that some demand asks for
    outside: int = 0
    hooks: dict[Hook, int] = {}
    on_failure: OnFailure = OnFailure.FAIL

    @property
    def size(self) -> int:
        """How many steps the graph has."""
        return len(self.steps) - self.outside

    @property
    def is_of_the_past(self) -> bool:
        """Whether it stands for what an earlier system has performed, and nobody ever can again."""
        return self.revision.startswith(PAST)

    @property
    def is_performable(self) -> bool:
        """Whether everything the steps need is registered in this process."""
        return not self.missing

    def fits(self, context: Mapping[str, Any]) -> bool:
        """Whether every function that is registered here can be called with that context, in any step."""
        return self.asked <= context.keys()
