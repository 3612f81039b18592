"""Workflows as data: what a model can read, and the document that a runtime is given of it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

HOUR: Final = 3_600.0
ALWAYS: Final = 1_000_000
GENEROUS_S: Final = 5_000 * HOUR  # a deadline that no clock of a simulation reaches
SIGNAL: Final = "note"  # what all steps wait for that wait for a signal
TOKENS: Final = 10  # what every attempt of a body uses
TOKENS_ENOUGH: Final = 1_000_000
TOLD: Final = ("paused", "resumed", "completed", "failed", "cancelled", "rolled_back")  # to those who listen
VERSIONS: Final = ("early", "late")
KEY_NAME: Final = "PERDURE_SIMULATED_KEY"  # the variable with the key that signs what they are told
APPROVERS: Final = ("ann", "bob", "eve")
HOOK: Final = "hooks."  # before the moment, in the key of a hook
UNDO: Final = ".compensate"  # after the key of the step, in the key of what undoes it
REASON: Final = "it is closed"  # of every gate
REOPENING: Final = frozenset({"workflow_retried", "checkpoint_restored"})  # lines of a log
RETRYABLE: Final = ("RetryableError", "StepTimeout", "ChildFailed", "ChildNotStarted")


class RetryableError(Exception):
    """What a step raises that may be tried again."""


class FatalError(Exception):
    """What a step raises that is not worth another try."""


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a workflow."""


class Repeated(Spec, frozen=True, kw_only=True):
    """A step is performed until `divisor` divides its output, at most so often."""

    divisor: int
    times_max: int
    is_enough: bool  # whether the last output will do where none is divided
    delay_s: float = 0.0


class Itemised(Spec, frozen=True, kw_only=True):
    """A step is performed for each of so many items; one of them, the odd one, behaves as the step says."""

    count: int
    count_by: str | None = None  # a need; as many items as its output modulo `count` says
    odd: int
    at_once: int
    goes_on: bool  # without items that fail


class Called(Spec, frozen=True, kw_only=True):
    """A step starts an execution of another workflow, with a word that has its key at the end."""

    name: str
    waits: bool
    follows: bool  # whether the child rests, goes on and stops with its parent


class Awaited(Spec, frozen=True, kw_only=True):
    """A step waits for time, for a signal or for people, with some patience or without end."""

    what: Literal["sleep", "signal", "approval"]
    sleep_s: float = 0.0
    quorum: int = 1
    timeout_s: float | None = None
    on_timeout: str = "fail"
    on_reject: str = "skip"


class Guarded(Spec, frozen=True, kw_only=True):
    """A step is a gate: it opens if 3 does not divide the output of a need, or when somebody opens it."""

    need: str | None
    on_no: str

    @property
    def criterion(self) -> str:
        """The condition, as it is written."""
        return "has(inputs.open) && inputs.open" if self.need is None else _is_fine(self.need)


class StepSpec(Spec, frozen=True, kw_only=True):
    """How one step behaves: first it hangs so often, then it fails so often, then it succeeds."""

    key: str
    needs: tuple[str, ...]
    policy: str = "all_success"
    when: str | None = None  # a need: it runs if that has completed with an output that 3 does not divide
    sleep_s: float = 0.0
    hangs: int = 0
    fails: int = 0
    is_broken: bool = False  # it fails until somebody repairs the world
    is_fatal: bool = False  # its errors are none of those that are tried again
    is_endless: bool = False
    timeout_s: float | None = None
    retries: int = 0
    delay_s: float = 0.0
    is_optional: bool = False
    is_parallel: bool = True
    repeated: Repeated | None = None
    items: Itemised | None = None
    child: Called | None = None
    awaited: Awaited | None = None
    gate: Guarded | None = None
    undo: StepSpec | None = None  # what undoes it, a step beside the graph

    @property
    def has_body(self) -> bool:
        """Whether it performs something itself."""
        return not (self.awaited or self.gate or self.child)


class Scheduled(Spec, frozen=True, kw_only=True):
    """When a workflow starts by itself."""

    every_s: float
    missed: str
    overlap: str


class AgentSpec(Spec, frozen=True, kw_only=True):
    """What guards the agent that performs all steps of a workflow, in all processes together."""

    at_once: int | None = None
    rate: str | None = None
    cooldown_s: float | None = None  # of its circuit, which two failures within an hour open


class Tripping(Spec, frozen=True, kw_only=True):
    """So many attempts that fail within a window stop an execution."""

    errors: int
    window_s: float
    on_trip: str


class Budgeted(Spec, frozen=True, kw_only=True):
    """What all bodies of an execution together may use, of which each attempt uses `TOKENS`."""

    tokens: int
    on_exceeded: str


class Listening(Spec, frozen=True, kw_only=True):
    """Somebody outside is told of an execution."""

    events: tuple[str, ...]
    is_signed: bool


class WorkflowSpec(Spec, frozen=True, kw_only=True):
    """A workflow; steps stand after what they need."""

    name: str
    steps: tuple[StepSpec, ...]
    is_eager: bool = False
    continue_on_error: bool = False
    parallelism: int | None = None
    timeout_s: float | None = None
    at_once: int | None = None  # so many of its executions
    undoes_failure: bool = False
    agent: AgentSpec = AgentSpec()
    scheduled: Scheduled | None = None
    breaker: Tripping | None = None
    budget: Budgeted | None = None
    listening: Listening | None = None
    later: StepSpec | None = None  # a step that its second version has after all others
    hooks: tuple[StepSpec, ...] = ()  # steps beside the graph, `hooks.onFailure` and so on

    @property
    def asking(self) -> tuple[str, ...]:
        """The steps that ask people."""
        return tuple(step.key for step in self.steps if step.awaited and step.awaited.what == "approval")

    @property
    def is_tolerant(self) -> bool:
        """Whether a step may go on from what another has failed to give, and so from something else later."""
        return any(step.policy != "all_success" for step in (*self.steps, *self._later))

    @property
    def undos(self) -> tuple[StepSpec, ...]:
        """What undoes its steps."""
        return tuple(step.undo for step in self.steps if step.undo is not None)

    def step(self, key: str) -> StepSpec:
        """The step of that key, in the graph or beside it."""
        steps = (*self.steps, *self.undos, *self.hooks, *self._later)
        return next(step for step in steps if step.key == key)

    @property
    def _later(self) -> tuple[StepSpec, ...]:
        return () if self.later is None else (self.later,)

    @property
    def versions(self) -> tuple[str, ...]:
        """The labels of its versions, where it has several."""
        return () if self.later is None else VERSIONS

    def of(self, version: str | None) -> WorkflowSpec:
        """What it is in that version."""
        return replace(self, steps=self.steps + self._later) if version == VERSIONS[1] else self


def digest(key: str, word: str, part: object, needs: Mapping[str, Any]) -> int:
    """The output of a body: depends on its input, on which part of a step it is, and on what that needs."""
    return zlib.crc32(json.dumps([key, word, part, needs], sort_keys=True).encode())


def documents(spec: WorkflowSpec) -> list[dict[str, Any]]:
    """The workflow, in each of its versions."""
    if not spec.versions:
        return [_document(spec)]
    return [_document(spec.of(version)) | {"version": version} for version in spec.versions]


def _document(spec: WorkflowSpec) -> dict[str, Any]:
    """The workflow in the words of the language; the agent of its steps is called as it is."""
    config = {
        "timeout": _ms(spec.timeout_s),
        "parallelism": spec.parallelism,
        "continueOnError": spec.continue_on_error,
        "scheduling": "eager" if spec.is_eager else "level",
        "limits": None if spec.at_once is None else {"concurrency": spec.at_once},
        "onFailure": "compensate" if spec.undoes_failure else "fail",
        "circuitBreaker": None if spec.breaker is None else _breaker(spec.breaker),
        "budget": None if spec.budget is None else _budget(spec.budget),
        "webhooks": None if spec.listening is None else [_webhook(spec.listening)],
    }
    steps = [_given(_step(spec, step)) for step in spec.steps]
    hooks = {hook.key.removeprefix(HOOK): _beside(spec, hook) for hook in spec.hooks}
    schedule = None if spec.scheduled is None else [_schedule(spec, spec.scheduled)]
    found = {"name": spec.name, "config": _given(config), "hooks": hooks or None, "schedule": schedule}
    return _given(found) | {"steps": steps}


def _breaker(breaker: Tripping) -> dict[str, Any]:
    return {"errors": breaker.errors, "window": _ms(breaker.window_s), "onTrip": breaker.on_trip}


def _budget(budget: Budgeted) -> dict[str, Any]:
    return {"tokens": budget.tokens, "onExceeded": budget.on_exceeded}


def _webhook(listening: Listening) -> dict[str, Any]:
    secret = KEY_NAME if listening.is_signed else None
    return _given({"url": "http://there/hook", "events": list(listening.events), "secret": secret})


def _schedule(spec: WorkflowSpec, scheduled: Scheduled) -> dict[str, Any]:
    return {
        "id": spec.name,
        "every": _ms(scheduled.every_s),
        "missed": scheduled.missed,
        "overlap": scheduled.overlap,
        "input": {"word": f"by itself {spec.name}"},
    }


def _beside(spec: WorkflowSpec, step: StepSpec) -> dict[str, Any]:
    return {"agent": spec.name, "prompt": step.key, "retryPolicy": _retry(step)}


def _step(spec: WorkflowSpec, step: StepSpec) -> dict[str, Any]:
    return {
        "key": step.key,
        "dependencies": list(step.needs),
        "dependenciesPolicy": step.policy,
        "when": None if step.when is None else _is_fine(step.when),
        "optional": step.is_optional,
        "compensate": None if step.undo is None else _beside(spec, step.undo),
        **_acts(spec, step),
    }


def _acts(spec: WorkflowSpec, step: StepSpec) -> dict[str, Any]:
    """What it does in its turn."""
    if step.awaited is not None:
        return _wait(step.awaited)
    if step.gate is not None:
        criteria = [{"when": step.gate.criterion, "reason": REASON}]
        return {"gate": {"criteria": criteria, "onNo": step.gate.on_no}}
    patience = {"timeoutMs": _ms(step.timeout_s), "retryPolicy": _retry(step)}
    if step.child is not None:
        return patience | {"workflow": _call(step, step.child)}
    body = patience | {"agent": spec.name, "parallel": step.is_parallel}
    if step.repeated is not None:
        return body | {"prompt": "{{previous}}", "repeat": _repeat(step.repeated)}
    if step.items is not None:
        return body | {"prompt": "{{item}}", "forEach": _for_each(step.items)}
    return body


def _wait(awaited: Awaited) -> dict[str, Any]:
    patience = _given({"timeout": _ms(awaited.timeout_s), "onTimeout": awaited.on_timeout})
    match awaited.what:
        case "sleep":
            return {"sleep": _ms(awaited.sleep_s)}
        case "signal":
            return {"waitFor": {"signal": SIGNAL, **patience}}
        case "approval":
            escalation = {"escalateTo": list(APPROVERS)} if awaited.on_timeout == "escalate" else {}
            asked = {"quorum": awaited.quorum, "onReject": awaited.on_reject, **patience, **escalation}
            return {"approval": asked}


def _call(step: StepSpec, child: Called) -> dict[str, Any]:
    return {
        "name": child.name,
        "input": {"word": f"{{{{word}}}}/{step.key}"},
        "wait": child.waits,
        "parentClosePolicy": "cancel" if child.follows else "abandon",
    }


def _retry(step: StepSpec) -> dict[str, Any]:
    return {
        "maxRetries": step.retries,
        "retryDelayMs": _ms(step.delay_s),
        "retryMaxDelayMs": _ms(8 * HOUR),
        "retryableErrors": list(RETRYABLE),
    }


def _repeat(repeated: Repeated) -> dict[str, Any]:
    return {
        "until": f"output % {repeated.divisor} == 0",
        "maxIterations": repeated.times_max,
        "delay": _ms(repeated.delay_s),
        "onExhausted": "continue" if repeated.is_enough else "fail",
    }


def _for_each(items: Itemised) -> dict[str, Any]:
    key = items.count_by
    if key is None:
        count: int | str = items.count
    else:
        count = f"{_is_done(key)} ? {_output(key)} % {items.count} : {items.count}"
    return {"items": count, "maxConcurrency": items.at_once, "continueOnError": items.goes_on}


def _is_fine(key: str) -> str:
    return f"{_is_done(key)} && {_output(key)} % 3 != 0"


def _is_done(key: str) -> str:
    return f"steps.{key}.state == 'completed'"


def _output(key: str) -> str:
    return f"steps.{key}.output"


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
