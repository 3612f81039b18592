"""How much each agent has in flight in this process, as far as somebody chooses by it."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakSet


class Ticket:
    """One body of that agent, from the moment it was chosen until it has ended.

    It counts for as long as somebody holds it: a turn that is never written takes its choice along.
    """

    __slots__ = ("__weakref__", "_workload", "agent")

    def __init__(self, workload: Workload, agent: str) -> None:
        """Made by `Workload.take`."""
        self.agent = agent
        self._workload = workload

    def give_back(self) -> None:
        """The body has ended."""
        self._workload.forget(self)


class Workload:
    """The tickets that are out, by agent."""

    def __init__(self) -> None:
        """Nothing is in flight."""
        self._out: dict[str, WeakSet[Ticket]] = {}

    def take(self, agent: str) -> Ticket:
        """One more for that agent."""
        ticket = Ticket(self, agent)
        self._out.setdefault(agent, WeakSet()).add(ticket)
        return ticket

    def of(self, agent: str) -> int:
        """How many it has."""
        return len(self._out.get(agent, ()))

    def least(self, agents: Iterable[str]) -> str:
        """The agent that has the least; of several the first by name."""
        return min(agents, key=lambda agent: (self.of(agent), agent))

    def forget(self, ticket: Ticket) -> None:
        """Count that one no more."""
        self._out.get(ticket.agent, WeakSet()).discard(ticket)
