"""What the bodies of steps do to the world, and whether they were allowed to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio

from perdure.runtime import Agents, CircuitBreaker, StepContext
from perdure.runtime.testing import Effect
from simulation.loop import current
from simulation.workflows import HOUR, TOKENS, FatalError, RetryableError, StepSpec, WorkflowSpec, digest

if TYPE_CHECKING:
    from simulation.machine import Machine, Runner

FOREVER_S: Final = 10**8


class World:
    """The one agent of all workflows, with a memory of its own."""

    def __init__(self, machine: Machine, workflows: Sequence[WorkflowSpec]) -> None:
        """Nobody has acted yet."""
        self.ledger: list[Effect] = []
        self.mended: set[tuple[str, str]] = set()  # (execution, step): what was broken, and no more
        self.is_repaired: set[str] = set()  # words: what they were given to works from now on
        self.most_active_steps = 0
        self._workflow_of: dict[str, str] = {}  # by execution
        self._machine = machine
        self._workflows = {spec.name: spec for spec in workflows}

    def agents(self, workflows: Sequence[WorkflowSpec]) -> Agents:
        """Who performs the steps of those workflows: an agent that is called as the workflow is."""
        agents = Agents()
        for spec in workflows:
            guards = spec.agent
            circuit = None
            if guards.cooldown_s is not None:
                circuit = CircuitBreaker(errors=2, window=HOUR, cooldown=guards.cooldown_s)
            guarded = agents.agent(
                spec.name, max_concurrency=guards.at_once, rate=guards.rate, circuit_breaker=circuit
            )
            guarded(self._perform)
        return agents

    async def _perform(self, context: StepContext, prompt: Any = None) -> int:
        """The body of every step of every workflow."""
        process = current.get()
        assert process is not None
        process.check()
        runner = next(runner for runner in self._machine.runners if runner.process is process)
        spec = self._workflows[context.workflow]
        step = spec.step(context.step.partition("[")[0])
        body = (context.execution_id, step.key)
        self._begin(runner, spec, step, context)
        context.usage(tokens=TOKENS)
        try:
            return await self._act(step, context, prompt)
        finally:
            runner.bodies[body] -= 1
            runner.bodies += Counter()  # forgets those that are at zero

    async def _act(self, step: StepSpec, context: StepContext, prompt: Any) -> int:
        process = current.get()
        assert process is not None
        is_odd = step.items is None or context.index == step.items.odd
        hangs, fails = (step.hangs, step.fails) if is_odd else (0, 0)
        if step.is_endless or context.attempt <= hangs:
            await anyio.sleep(FOREVER_S)
        if step.sleep_s:
            await anyio.sleep(step.sleep_s)
        process.check()
        word = context.context["word"]
        if step.is_broken and is_odd:
            if word.partition("/")[0] not in self.is_repaired:
                raise _error(step)
            self.mended.add((context.execution_id, step.key))
        if context.attempt <= hangs + fails:
            raise _error(step)
        return digest(step.key, word, _part(step, context, prompt), context.needs)

    def _begin(self, runner: Runner, spec: WorkflowSpec, step: StepSpec, context: StepContext) -> None:
        """Act on the world, and look whether that was allowed."""
        id_ = context.execution_id
        self._machine.trace(runner.process.name, "performs", id_, context.step, context.attempt)
        self.ledger.append(
            Effect(
                execution_id=id_,
                step=context.step,
                generation=context.generation,
                attempt=context.attempt,
                idempotency_key=context.idempotency_key,
            )
        )
        self._workflow_of[id_] = spec.name
        runner.bodies[id_, step.key] += 1
        steps = [spec.step(key) for execution_id, key in runner.bodies if execution_id == id_]
        self._check(f"steps of {id_}", len(steps), spec.parallelism)
        if any(not each.is_parallel for each in steps):
            self._check(f"steps of {id_}, with one that has to run alone,", len(steps), 1)
        if step.items is not None:
            self._check(f"items of {id_} {step.key}", runner.bodies[id_, step.key], step.items.at_once)
        if not self._machine.had_stops:
            self._check(f"steps of agent {spec.name}", self._performed_by(spec), spec.agent.at_once)
        active = runner.bodies.total()
        self.most_active_steps = max(self.most_active_steps, active)
        self._check(f"steps in {runner.process.name}", active, self._machine.max_active_steps)

    def _performed_by(self, spec: WorkflowSpec) -> int:
        """How many steps an agent performs, in all processes."""
        bodies: Counter[tuple[str, str]] = sum((each.bodies for each in self._machine.runners), Counter())
        return sum(count for body, count in bodies.items() if self._workflow_of[body[0]] == spec.name)

    def _check(self, what: str, count: int, most: int | None) -> None:
        if most is not None and count > most:
            self._machine.complain(f"{count} {what} run at once, and {most} may")


def _part(step: StepSpec, context: StepContext, prompt: Any) -> object:
    """Which part of a step a body performs, and what it was given for it."""
    if step.repeated is not None:
        return [context.iteration, prompt]
    return None if step.items is None else [context.index, prompt]


def _error(step: StepSpec) -> Exception:
    return FatalError(step.key) if step.is_fatal else RetryableError(step.key)
