"""Who performs a step that asks for capabilities instead of an agent: capable, then least busy, then by name.

Whoever could not be called with the context is not chosen.

The choice is made in the turn that starts the attempt, and stands in the log before the body runs.
Whoever starts the attempt again, after a crash or an interruption, chooses anew: the agent that was
chosen may not be registered there.
"""

from __future__ import annotations

from perdure.actors.effects.turn import Launch, Turn
from perdure.actors.effects.workload import Ticket
from perdure.actors.instructions.plan import Candidate, PlannedStep


def launch(turn: Turn, step: PlannedStep, *, item: int | None = None) -> Launch:
    """The order to start an attempt of a step, or of one of its items, with whoever is to perform it."""
    if step.candidates is None and step.agent is None:
        return Launch(step.no, item=item)
    chosen, ticket = choose(turn, step)
    return Launch(step.no, chosen, ticket, item)


def choose(turn: Turn, step: PlannedStep) -> tuple[Candidate | None, Ticket | None]:
    """The agent for the attempt that starts, and its place in the workload.

    None where the step names its agent: that one is only counted, where others may choose it. None,
    too, where nobody is capable any more: then the body says so.
    """
    workload = turn.workload
    if step.candidates is None:
        return None, None if step.agent is None else workload.take(step.agent)
    context = turn.state.context
    candidates = {each.agent: each for each in step.candidates() if each.asks <= context.keys()}
    if not candidates:
        return None, None
    loads = {agent: workload.of(agent) for agent in sorted(candidates)}
    chosen = workload.least(candidates)
    data = {
        "agent": chosen,
        "capabilities": step.capabilities,
        "why": _why(chosen, loads),
        "candidates": loads,
    }
    attempt = turn.state.steps[step.no].attempt
    turn.note("agent_chosen", step_no=step.no, attempt=attempt, data=data)
    return candidates[chosen], workload.take(chosen)


def _why(chosen: str, loads: dict[str, int]) -> str:
    """What decided, in words."""
    if len(loads) == 1:
        return "the only one"
    least = [agent for agent, load in loads.items() if load == loads[chosen]]
    return "least in flight" if len(least) == 1 else "first by name of those with least in flight"
