"""What steps call: named handlers, where they are registered, how their parameters are filled."""

from perdure.runtime.agents.binding import bind
from perdure.runtime.agents.errors import (
    AgentsNotLoaded,
    BadSignature,
    DuplicateAgent,
    InputError,
    UnknownAgent,
)
from perdure.runtime.agents.guards import CircuitBreaker, InvalidGuard
from perdure.runtime.agents.loading import load_agents
from perdure.runtime.agents.registry import Agent, Agents, FunctionSource
from perdure.runtime.agents.signature import From, Parameter, parameters_of

__all__ = [
    "Agent",
    "Agents",
    "AgentsNotLoaded",
    "BadSignature",
    "CircuitBreaker",
    "DuplicateAgent",
    "From",
    "FunctionSource",
    "InputError",
    "InvalidGuard",
    "Parameter",
    "UnknownAgent",
    "bind",
    "load_agents",
    "parameters_of",
]
