"""From a sound definition to a plan, and the checks that need to know the agents or the context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from perdure.actors.instructions.context import StepContext
from perdure.actors.instructions.plan import (
    DependenciesPolicy,
    Hook,
    Inputs,
    Mode,
    OnFailure,
    Perform,
    Plan,
    PlannedStep,
    RetryPolicy,
    Scheduling,
)
from perdure.runtime.agents.binding import bind
from perdure.runtime.agents.errors import BadSignature
from perdure.runtime.agents.process import ProcessCall
from perdure.runtime.agents.registry import Agent, Agents, mode_of
from perdure.runtime.language.beside import beside_the_graph, looking_at, spellings, told
from perdure.runtime.language.budgets import compile_breaker, compile_budget, compile_usage
from perdure.runtime.language.capable import compile_candidates, missing_performer
from perdure.runtime.language.checks import needs_of, template_of
from perdure.runtime.language.conditions import compile_rule
from perdure.runtime.language.definition import (
    Config,
    Definition,
    RetryDefinition,
    StepDefinition,
)
from perdure.runtime.language.findings import Path
from perdure.runtime.language.fitting import compile_demands
from perdure.runtime.language.gates import compile_gate
from perdure.runtime.language.giving import compile_outputs
from perdure.runtime.language.graph import Needs, by_level, dependents_of, level_of, order_of
from perdure.runtime.language.limits import compile_limit
from perdure.runtime.language.loops import compile_loops
from perdure.runtime.language.outputs import compile_schema
from perdure.runtime.language.questions import Answer, compile_question, questions_of
from perdure.runtime.language.telling import compile_webhooks
from perdure.runtime.language.templates import compile_template
from perdure.runtime.language.waits import compile_wait, performer_of


def compile_plan(definition: Definition, *, agents: Agents, workflow_no: int, revision: str) -> Plan:
    """Return the executable form of a sound definition.

    Agents that are not registered are named in `missing`; their steps raise UnknownAgent if they
    are performed all the same. What those that are ask of each execution's context are its `demands`.
    """
    numbers = {step.key: no for no, step in enumerate(definition.steps)}
    needs = needs_of(definition)
    level = level_of(needs, order_of(needs))
    beside = _beside(definition, level=max(level) + 1, needs=needs, agents=agents)
    undos = {each.step.undoes: each.step.no for each in beside}
    steps = [*_in_graph(definition, level=level, needs=needs, undos=undos, agents=agents), *beside]
    outputs, wanting = compile_outputs(definition.outputs, numbers=numbers, needs=needs)
    lacks = [*(lack for each in steps for lack in each.lacks), *wanting]
    demands = compile_demands(definition, agents, revision=revision)
    return Plan(
        workflow=definition.name,
        workflow_no=workflow_no,
        revision=revision,
        steps=tuple(each.step for each in steps),
        levels=tuple(tuple(each) for each in by_level(level)),
        outputs=outputs,
        rule=compile_rule,
        limit=compile_limit(definition.name, definition.config.limits),
        missing=tuple(dict.fromkeys(lacks)),
        demands=demands,
        asked=frozenset(name for demand in demands for name in demand.inputs),
        outside=len(beside),
        hooks={each.hook: each.step.no for each in beside if each.hook is not None},
        **_policy(definition.config),
    )


def _policy(config: Config) -> dict[str, Any]:
    """What the plan has of the policy of the whole workflow."""
    return {
        "scheduling": Scheduling(config.scheduling),
        "parallelism": config.parallelism,
        "continue_on_error": config.continue_on_error,
        "timeout_ms": config.timeout,
        "checkpoint_interval_ms": config.checkpoint_interval,
        "warn_after_ms": config.warn_after or None,
        "budget": compile_budget(config.budget),
        "circuit_breaker": compile_breaker(config.circuit_breaker),
        "on_failure": OnFailure(config.on_failure),
        "webhooks": compile_webhooks(config.webhooks),
    }


class _Compiled(msgspec.Struct, frozen=True):
    """A step of the plan, and what is missing here to perform it; `hook`: if that is what it is."""

    step: PlannedStep
    lacks: tuple[str, ...]
    hook: Hook | None = None


def _in_graph(
    definition: Definition,
    *,
    level: Sequence[int],
    needs: Needs,
    undos: Mapping[int | None, int],
    agents: Agents,
) -> Iterator[_Compiled]:
    """The steps of the graph; `undos` are the numbers of what undoes them."""
    numbers = {step.key: no for no, step in enumerate(definition.steps)}
    dependents = dependents_of(needs)
    for no, step in enumerate(definition.steps):
        performer = missing_performer(step, agents)
        answers, lacks = _answers(step, no, numbers=numbers, needs=needs, agents=agents)
        planned = PlannedStep(
            no=no,
            key=step.key,
            level=level[no],
            needs=tuple(needs[no]),
            dependents=tuple(dependents[no]),
            timeout_ms=step.timeout_ms,
            retry=_retry_policy(step, definition.config),
            is_optional=step.optional,
            is_parallel=step.parallel,
            check_output=_check_output(step),
            dependencies=_join(step.dependencies_policy),
            when=answers.get(("when",)),
            wait=compile_wait(step, numbers=numbers),
            gate=compile_gate(step, answers),
            **compile_loops(step, answers, numbers=numbers),
            estimate=compile_usage(step.usage),
            undo=undos.get(no),
            **_performed(step, numbers, agents),
        )
        yield _Compiled(planned, (*lacks,) if performer is None else (performer, *lacks))


def _beside(definition: Definition, *, level: int, needs: Needs, agents: Agents) -> list[_Compiled]:
    """Hooks and compensations, numbered after the steps of the graph."""
    numbers = {step.key: no for no, step in enumerate(definition.steps)}
    keys = spellings(numbers)
    found = []
    for no, each in enumerate(beside_the_graph(definition), start=len(numbers)):
        agent = agents.find(each.agent)
        step = each.step if agent is None else looking_at(each, agent.parameters, keys)
        inputs, perform, mode = _closures(step, agent, numbers, agents, or_null=True)
        planned = PlannedStep(
            no=no,
            key=step.key,
            level=level,
            needs=() if each.undoes is None else (each.undoes, *needs[each.undoes]),
            dependents=(),
            inputs=told(inputs),
            perform=perform,
            mode=mode,
            guard=None if agent is None else agent.guard,
            timeout_ms=step.timeout_ms,
            retry=_retry_policy(step, definition.config),
            role=each.role,
            undoes=each.undoes,
        )
        found.append(_Compiled(planned, (each.agent,) if agent is None else (), each.hook))
    return found


def _answers(
    step: StepDefinition, no: int, *, numbers: Mapping[str, int], needs: Needs, agents: Agents
) -> tuple[dict[Path, Answer], list[str]]:
    """What is asked for the step as closures, by place, and what is missing here to ask it."""
    found: dict[Path, Answer] = {}
    missing: list[str] = []
    for question in questions_of(step):
        answer, lacks = compile_question(question, step, no, numbers=numbers, needs=needs, agents=agents)
        missing += lacks
        if answer is not None:
            found[question.path] = answer
    return found, missing


def _join(policy: str | int) -> DependenciesPolicy | int:
    return policy if isinstance(policy, int) else DependenciesPolicy(policy)


def _retry_policy(step: StepDefinition, config: Config) -> RetryPolicy:
    """The step's own policy, else the workflow's number of retries with the usual delays."""
    policy = step.retry_policy or RetryDefinition(max_retries=config.max_retries)
    return RetryPolicy(
        max_retries=policy.max_retries,
        delay_ms=policy.retry_delay_ms,
        multiplier=policy.retry_backoff_multiplier,
        max_delay_ms=policy.retry_max_delay_ms,
        jitter=policy.jitter,
        retryable_errors=policy.retryable_errors,
    )


def _check_output(step: StepDefinition) -> Callable[[Any], None] | None:
    """What the step promises about its output, if anything."""
    return None if step.output_schema is None else compile_schema(step.output_schema, step=step.key)


def _performed(step: StepDefinition, numbers: Mapping[str, int], agents: Agents) -> dict[str, Any]:
    """The fields of a planned step that say who performs it, and how."""
    agent = None if step.agent is None else agents.find(step.agent)
    inputs, perform, mode = _closures(step, agent, numbers, agents)
    closures = partial(_closures, step, numbers=numbers, agents=agents)
    return {
        "inputs": inputs,
        "perform": perform,
        "mode": mode,
        "guard": None if agent is None else agent.guard,
        "agent": agent.name if agent is not None and agent.capabilities else None,
        "capabilities": step.capabilities or (),
        "candidates": compile_candidates(step, agents, closures=closures),
    }


def _closures(
    step: StepDefinition,
    agent: Agent | None,
    numbers: Mapping[str, int],
    agents: Agents,
    *,
    or_null: bool = False,
) -> tuple[Inputs, Perform, Mode]:
    """How the step's arguments are picked up, what is called with them, and where."""
    if agent is None:
        return _no_inputs, _refuse(agents, performer_of(step)), Mode.ASYNC
    template = template_of(step)
    render = None
    if template is not None:
        render = compile_template(template, step=step.key, numbers=numbers, or_null=or_null)
    inputs = bind(
        agent.parameters,
        step=step.key,
        dependencies={key: numbers[key] for key in step.dependencies},
        render=render,
    )
    if not step.process and agent.mode is not Mode.PROCESS:
        return inputs, _call(agent), agent.mode
    try:
        mode_of(agent.function, process=True)
    except BadSignature as error:
        return inputs, _raise(error), Mode.ASYNC
    return inputs, ProcessCall(agent.function), Mode.PROCESS


def _call(agent: Agent) -> Perform:
    """Call the function with the arguments that were picked up, and the context where it wants it."""
    function = agent.function
    wanted = [parameter.name for parameter in agent.parameters if parameter.is_context]
    if not wanted:
        return lambda _context, bound: function(**bound)

    def perform(context: StepContext, bound: dict[str, Any]) -> Any:
        return function(**bound, **dict.fromkeys(wanted, context))

    return perform


def _no_inputs(_values: object) -> dict[str, Any]:
    return {}


def _refuse(agents: Agents, name: str) -> Perform:
    """Perform a step whose agent is not here: say so."""

    async def perform(_context: StepContext, _bound: Any) -> Any:
        raise agents.unknown(name)

    return perform


def _raise(error: Exception) -> Callable[[StepContext, Any], Any]:
    """Perform a step whose function cannot run where it should: say so."""

    async def perform(_context: StepContext, _bound: Any) -> Any:
        raise error

    return perform
