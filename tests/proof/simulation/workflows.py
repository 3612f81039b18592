"""Workflows drawn from a seed, as data: what a model can read and a runtime can perform."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

import msgspec

from perdure.runtime import Retry, StepContext, Workflow

HOUR: Final = 3_600.0
ALWAYS: Final = 1_000_000
GENEROUS_S: Final = 5_000 * HOUR  # a deadline that no clock of a simulation reaches


class StepSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How one step behaves: first it hangs so often, then it fails so often, then it succeeds."""

    key: str
    needs: tuple[str, ...]
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


class WorkflowSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow; steps stand after what they need."""

    name: str
    steps: tuple[StepSpec, ...]
    is_eager: bool = False
    continue_on_error: bool = False
    parallelism: int | None = None
    timeout_s: float | None = None

    @property
    def is_endless(self) -> bool:
        """Whether one of its steps never ends."""
        return any(step.is_endless for step in self.steps)

    @property
    def is_broken(self) -> bool:
        """Whether a repair would help it."""
        return any(step.is_broken for step in self.steps)


class RetryableError(Exception):
    """What a step raises that may be tried again."""


class FatalError(Exception):
    """What a step raises that is not worth another try."""


def digest(key: str, word: str, needs: dict[str, Any]) -> int:
    """The output of a step: depends on its input and on everything it needs."""
    return zlib.crc32(repr((key, word, sorted(needs.items()))).encode())


def draw_workflow(chance: Random, name: str) -> WorkflowSpec:
    """Some workflow of one to nine steps."""
    keys = [f"s{no}" for no in range(chance.randint(1, 9))]
    may_end_late = chance.random() < 0.12
    steps = [_draw_step(chance, keys, no) for no in range(len(keys))]
    if may_end_late:
        no = chance.randrange(len(steps))
        steps[no] = StepSpec(key=steps[no].key, needs=steps[no].needs, is_endless=True)
    timeout_s = chance.choice([None, None, GENEROUS_S])
    return WorkflowSpec(
        name=name,
        steps=tuple(steps),
        is_eager=chance.random() < 0.5,
        continue_on_error=chance.random() < 0.3,
        parallelism=chance.choice([None, None, 1, 2, 3]),
        timeout_s=chance.uniform(1, 40) * HOUR if may_end_late else timeout_s,
    )


def _draw_step(chance: Random, keys: list[str], no: int) -> StepSpec:
    before = keys[:no]
    needs = tuple(sorted(chance.sample(before, min(len(before), chance.choice([0, 1, 1, 2, 3])))))
    retries = chance.choice([0, 0, 1, 2, 4])
    hangs = chance.choice([0, 0, 0, 0, 1, 2])
    fails = chance.choice([0, 0, 0, 1, 2, ALWAYS if chance.random() < 0.2 else 0])
    is_optional = chance.random() < 0.2
    return StepSpec(
        key=keys[no],
        needs=needs,
        sleep_s=0.0 if hangs else chance.choice([0, 0, 0, 0.01, 5, 600, 4 * HOUR]),
        hangs=hangs,
        fails=fails,
        is_broken=not is_optional and chance.random() < 0.06,
        is_fatal=chance.random() < 0.1,
        timeout_s=chance.choice([0.5, 30, 2 * HOUR]) if hangs else None,
        retries=retries,
        delay_s=chance.choice([0, 0, 0.2, 8, 60, 1_800, 2 * HOUR]),
        is_optional=is_optional,
        is_parallel=chance.random() > 0.1,
    )


Perform = Callable[[StepSpec, StepContext], Awaitable[Any]]


def build(spec: WorkflowSpec, perform: Perform) -> Workflow:
    """The workflow that a runtime performs; `perform` is the body of every step."""
    workflow = Workflow(
        spec.name,
        timeout=spec.timeout_s,
        parallelism=spec.parallelism,
        continue_on_error=spec.continue_on_error,
        scheduling="eager" if spec.is_eager else "level",
    )
    for step in spec.steps:
        _add(workflow, step, perform)
    return workflow


def _add(workflow: Workflow, step: StepSpec, perform: Perform) -> None:
    async def body(context: StepContext) -> Any:
        return await perform(step, context)

    body.__qualname__ = f"<{workflow.name}>"  # local functions are told apart by their names alone
    workflow.step(
        key=step.key,
        after=step.needs,
        timeout=step.timeout_s,
        optional=step.is_optional,
        parallel=step.is_parallel,
        retry=Retry(
            max_retries=step.retries,
            delay=step.delay_s,
            max_delay=8 * HOUR,
            retryable_errors=("RetryableError", "StepTimeout"),
        ),
    )(body)
