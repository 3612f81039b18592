"""Agents by name: registered by hand, or found in the workflow that defines them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from perdure.actors.instructions.guard import Guard
from perdure.actors.instructions.plan import Mode
from perdure.runtime.agents.errors import NAMES_SHOWN_MAX, BadSignature, DuplicateAgent, UnknownAgent
from perdure.runtime.agents.guards import CircuitBreaker, guard_of
from perdure.runtime.agents.reading import why_not_to_import
from perdure.runtime.agents.signature import (
    Function,
    Parameter,
    is_async,
    parameters_of,
    place_of,
    qualified_name,
)
from perdure.runtime.arguments import InvalidArgument, several

PYTHON: Final = "python:"  # the prefix of agents that are named by where they are defined
JOINT: Final = ", "  # between capabilities in messages
CAPABLE: Final = "any agent capable of "  # the prefix of what is missing where nobody can perform a step

F = TypeVar("F", bound=Function)


class FunctionSource:
    """A module-level object whose functions may be called by their qualified names: a Workflow."""

    @property
    def functions(self) -> Mapping[str, Function]:
        """Functions by `python:module:qualname`."""
        raise NotImplementedError


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """A named handler that performs steps; `where` is its module and line."""

    name: str
    function: Function
    parameters: tuple[Parameter, ...]
    mode: Mode
    capabilities: frozenset[str] = frozenset()
    where: str = ""
    guard: Guard | None = None


class Agents:
    """A registry of agents. Reusable: one may serve any number of runtimes."""

    def __init__(self, agents: Iterable[Agent] = ()) -> None:
        """Begin with `agents`."""
        self._agents: dict[str, Agent] = {agent.name: agent for agent in agents}
        self._why_not: dict[str, str] = {}
        self.changes = 0  # how often one was registered: what was made of the agents may be out of date

    def agent(
        self,
        name: str,
        *,
        capabilities: Iterable[str] = (),
        process: bool = False,
        replace: bool = False,
        max_concurrency: int | None = None,
        rate: str | None = None,
        circuit_breaker: CircuitBreaker | None = None,
    ) -> Callable[[F], F]:
        """Register the decorated function, and return it unchanged.

        `async def` runs on the loop, a plain `def` in a worker thread, with `process` in a worker
        process that can be killed. At most `max_concurrency` of its steps run at a time and `rate`
        (`10/s`) of them begin, in all runners together; `circuit_breaker` stops calling it while it
        fails. Raises DuplicateAgent, BadSignature, InvalidGuard.
        """
        _check_name(name)
        guard = guard_of(name, max_concurrency=max_concurrency, rate=rate, circuit_breaker=circuit_breaker)

        def register(function: F) -> F:
            self.add(name, function, capabilities=capabilities, process=process, replace=replace, guard=guard)
            return function

        return register

    def add(
        self,
        name: str,
        function: Function,
        *,
        capabilities: Iterable[str] = (),
        process: bool = False,
        replace: bool = False,
        guard: Guard | None = None,
    ) -> Agent:
        """Register a function under a name; a second time with the same function changes nothing.

        Raises DuplicateAgent when another function has the name (unless `replace`), and
        BadSignature.
        """
        _check_name(name)
        known = self._agents.get(name)
        if known is not None and known.function is not function and not replace:
            raise DuplicateAgent(name, where=known.where)
        agent = make_agent(name, function, capabilities=capabilities, process=process, guard=guard)
        self._agents[name] = agent
        self.changes += 1
        self._why_not.pop(name, None)
        return agent

    def find(self, name: str) -> Agent | None:
        """Return the agent of that name, or None.

        A name of the form `python:module:qualname` that is not registered is imported, but only if
        that module holds a Workflow with a step of exactly this name: a definition cannot call
        whatever happens to be importable. A module whose source shows that it has no such step is
        not even imported.
        """
        known = self._agents.get(name)
        if known is not None or not name.startswith(PYTHON):
            return known
        found = _import_step(name)
        if isinstance(found, str):
            self._why_not[name] = found
            return None
        return self.add(name, found)

    def get(self, name: str) -> Agent:
        """Return the agent of that name. Raises UnknownAgent with the nearest one."""
        agent = self.find(name)
        if agent is None:
            raise self.unknown(name)
        return agent

    def unknown(self, name: str, *others: str) -> UnknownAgent:
        """Return the error that says why there are no such agents, and which ones may be meant."""
        if name.startswith(CAPABLE):
            wanted = name.removeprefix(CAPABLE)
            error = UnknownAgent(name, what=f"agent capable of {wanted}", why=self._who_can(wanted))
        else:
            error = UnknownAgent(name, known=self._agents, why=self._why_not.get(name, ""))
        return error.beside([self.unknown(other) for other in others])

    def _who_can(self, wanted: str) -> str:
        """Which agents can do some of what is wanted."""
        capabilities = frozenset(wanted.split(JOINT))
        some = [
            f"{agent.name} ({JOINT.join(sorted(agent.capabilities & capabilities))})"
            for agent in self._agents.values()
            if agent.capabilities & capabilities
        ]
        return f"in part are {', '.join(sorted(some)[:NAMES_SHOWN_MAX])}" if some else ""

    def names(self) -> tuple[str, ...]:
        """Return the names of all agents, in the order of their registration."""
        return tuple(self._agents)

    def by_capability(self, *capabilities: str) -> tuple[Agent, ...]:
        """Return the agents that have all of the given capabilities."""
        wanted = frozenset(capabilities)
        return tuple(agent for agent in self._agents.values() if wanted <= agent.capabilities)

    def merge(self, other: Agents, *, replace: bool = False) -> Agents:
        """Take over the agents of `other`, and return self. Raises DuplicateAgent."""
        for agent in other:
            known = self._agents.get(agent.name)
            if known is not None and known.function is not agent.function and not replace:
                raise DuplicateAgent(agent.name, where=known.where)
            self._agents[agent.name] = agent
            self.changes += 1
        return self

    def __iter__(self) -> Iterator[Agent]:
        """Iterate over the agents."""
        return iter(tuple(self._agents.values()))

    def __len__(self) -> int:
        """Count the agents."""
        return len(self._agents)

    def __contains__(self, name: object) -> bool:
        """Tell whether an agent of that name is registered."""
        return name in self._agents


def capable_of(capabilities: Iterable[str]) -> str:
    """What is missing where nobody has all of these, as it is called in messages."""
    return CAPABLE + JOINT.join(sorted(capabilities))


def make_agent(
    name: str,
    function: Function,
    *,
    capabilities: Iterable[str] = (),
    process: bool = False,
    guard: Guard | None = None,
) -> Agent:
    """Read a function and say how it is to be run. Raises BadSignature."""
    if not callable(function):
        raise BadSignature(repr(function), why="is not a function")
    if isinstance(capabilities, str):
        why = f"capabilities={capabilities!r}: give a set of names, such as {{{capabilities!r}}}"
        raise InvalidArgument(why)
    place = place_of(function)
    return Agent(
        name=name,
        function=function,
        parameters=parameters_of(function),
        mode=mode_of(function, process=process),
        capabilities=frozenset(several(capabilities, what="capabilities")),
        where=qualified_name(function) + (f" line {place[1]}" if place else ""),
        guard=guard,
    )


def _check_name(name: Any) -> None:
    """Raise InvalidArgument for what is no text, as the function where the parentheses are missing."""
    if not isinstance(name, str):
        raise InvalidArgument(f"agent({name!r:.60}): give it a name, as in @agents.agent('writer')")


def mode_of(function: Function, *, process: bool) -> Mode:
    """Where a function runs. Raises BadSignature for a process step that could not run there."""
    if not process:
        return Mode.ASYNC if is_async(function) else Mode.THREAD
    name = qualified_name(function)
    if is_async(function):
        raise BadSignature(name, why="a process step is a plain def: worker processes have no event loop")
    if "<" in name or not hasattr(function, "__qualname__"):
        raise BadSignature(
            name, why="a process step is imported by its worker: define it with def at the top of a module"
        )
    if any(parameter.is_context for parameter in parameters_of(function)):
        raise BadSignature(name, why="a process step cannot have a StepContext: it stays in this process")
    return Mode.PROCESS


def _import_step(name: str) -> Function | str:
    """Import the step a qualified name speaks of, or say why it cannot be had."""
    module_name, _, qualname = name.removeprefix(PYTHON).partition(":")
    if not module_name or not qualname or "<" in qualname:
        return "it can only be registered by the program that defines it"
    why_not = why_not_to_import(module_name, qualname)
    if why_not is not None:
        return why_not
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a foreign module raises whatever it likes
        return f"importing {module_name} failed with {type(error).__name__}: {error}"
    for each in vars(module).values():
        if isinstance(each, FunctionSource) and name in each.functions:
            return each.functions[name]
    return f"module {module_name} has no workflow with the step {qualname}"
