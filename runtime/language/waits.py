"""Steps that wait: exactly one of the words in `KINDS` says what a step is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from perdure.actors.instructions.plan import Values
from perdure.actors.instructions.waits import ForSignal, OnTimeout, Sleep, Wait
from perdure.runtime.agents.registry import capable_of
from perdure.runtime.language.approvals import compile_approval, odd_approvals
from perdure.runtime.language.calls import compile_call
from perdure.runtime.language.definition import StepDefinition
from perdure.runtime.language.findings import Path
from perdure.runtime.language.templates import compile_template, parse_template
from perdure.store.errors import PerdureError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT: Final = (
    "a time with its offset, such as 2030-01-31T09:00:00Z; what a template looks up may be milliseconds "
    "since 1970, too"
)
KINDS: Final = {  # what a step is, by its name in text
    "agent": "agent",
    "capabilities": "capabilities",
    "sleep": "sleep",
    "until": "until",
    "waitFor": "wait_for",
    "approval": "approval",
    "gate": "gate",
    "workflow": "workflow",
}
PERFORMED: Final = frozenset({"agent", "capabilities"})  # the kinds with a body
FOR_BODIES: Final = {  # what only a step with a body can have, by its name in text
    "prompt": "prompt",
    "timeout_ms": "timeoutMs",
    "retry_policy": "retryPolicy",
    "output_schema": "outputSchema",
    "process": "process",
    "parallel": "parallel",
    "repeat": "repeat",
    "usage": "usage",
    "compensate": "compensate",
    "for_each": "forEach",
}
FOR_CALLS: Final = frozenset(  # a child is much like a body
    {"timeout_ms", "retry_policy", "output_schema", "compensate"}
)


class BadMoment(PerdureError):
    """A step was to wait for something that is no time."""


def kinds_of(step: StepDefinition) -> list[str]:
    """Which of the fields that say what a step is it has."""
    return [name for name, field in KINDS.items() if getattr(step, field) is not None]


def performer_of(step: StepDefinition) -> str:
    """What performs the step, in a few words: its agent, what one is to be capable of, what it waits for."""
    if step.capabilities is not None:
        return capable_of(step.capabilities)
    return step.agent if step.agent is not None else (kinds_of(step) or [""])[0]


def misfits(step: StepDefinition) -> Iterator[tuple[Path, str]]:
    """What is wrong with the kind of a step: where in the step, and a sentence."""
    kinds = kinds_of(step)
    if len(kinds) > 1:
        yield (kinds[1],), f"step {step.key!r} has {' and '.join(kinds)}: a step is one of them"
    if kinds and not PERFORMED.intersection(kinds):
        defaults = {field.name: field.default for field in _fields()}
        for name, written in FOR_BODIES.items():
            if step.workflow is not None and name in FOR_CALLS:
                continue
            if getattr(step, name) != defaults[name]:
                yield (written,), f"step {step.key!r} waits and runs nothing: {written} means nothing to it"
    if step.wait_for is not None and step.wait_for.timeout is None and step.wait_for.on_timeout != "fail":
        yield ("waitFor",), f"step {step.key!r} has onTimeout and no timeout"
    if step.until is not None and "{{" not in step.until:
        try:
            moment_ms(step.until)
        except BadMoment as error:
            yield ("until",), str(error)
    yield from odd_approvals(step)


def compile_wait(step: StepDefinition, *, numbers: Mapping[str, int]) -> Wait | None:
    """What the step waits for, or None for one with a body."""
    if step.sleep is not None:
        sleep_ms = step.sleep
        return Sleep(until=lambda _values, now: now + sleep_ms)
    if step.until is not None:
        return Sleep(until=_until(step.until, step=step.key, numbers=numbers))
    if step.wait_for is not None:
        return ForSignal(
            name=step.wait_for.signal,
            timeout_ms=step.wait_for.timeout,
            on_timeout=OnTimeout(step.wait_for.on_timeout),
        )
    if step.approval is not None:
        return compile_approval(step.approval, step=step.key, numbers=numbers)
    return compile_call(step, numbers=numbers)


def moment_ms(value: Any) -> int:
    """A moment as milliseconds since 1970. Raises BadMoment."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    moment: datetime | None = None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            moment = None
    if moment is None or moment.tzinfo is None:
        raise BadMoment(f"{value!r:.80} is no moment: give {MOMENT}")
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _until(text: str, *, step: str, numbers: Mapping[str, int]) -> Callable[[Values, int], int]:
    look = compile_template(parse_template(text), step=step, numbers=numbers)
    return lambda values, _now: moment_ms(look(values))


def _fields() -> tuple[Any, ...]:
    from msgspec.structs import fields  # noqa: PLC0415 - asked once for each workflow that waits

    return fields(StepDefinition)
