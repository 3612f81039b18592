"""Agents that do as they are told and remember what they were asked: `stub("name", returns=…)`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio
import msgspec

from perdure.actors.instructions.context import StepContext
from perdure.runtime.agents import Agents
from perdure.runtime.agents.registry import PYTHON, Agent
from perdure.runtime.agents.signature import Function, qualified_name
from perdure.runtime.arguments import InvalidArgument, function, several
from perdure.runtime.testing.durations import seconds
from perdure.runtime.testing.invariants import Effect

_NOTHING: Final = object()


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One time a stub was called."""

    execution_id: str
    step: str
    generation: int
    attempt: int
    idempotency_key: str
    prompt: Any
    needs: dict[str, Any]
    context: dict[str, Any]


class StubExhausted(AssertionError):
    """A stub was called once more than its sequence is long."""


class Stub:
    """A stand-in for an agent, or for the function of a Python step. Made by `stub`."""

    def __init__(self, name: str, outcomes: Callable[[int], Any], *, takes: float) -> None:
        """`outcomes` answers what the n-th call (from 0) comes to; an exception is raised."""
        self.name = name
        self.calls: list[Call] = []
        self._outcomes = outcomes
        self._takes = takes

    def __repr__(self) -> str:
        """Name it, and how often it was called."""
        return f"<stub {self.name}, called {len(self.calls)} times>"

    def coming_to(self, outcomes: Callable[[int], Any]) -> Stub:
        """The same stub with other outcomes: what the n-th call (from 0) comes to; an exception is raised."""
        return Stub(self.name, outcomes, takes=self._takes)

    @property
    def effects(self) -> list[Effect]:
        """Its calls as lines of a ledger, for `check_store`."""
        return [
            Effect(
                execution_id=call.execution_id,
                step=call.step,
                generation=call.generation,
                attempt=call.attempt,
                idempotency_key=call.idempotency_key,
            )
            for call in self.calls
        ]

    async def perform(self, context: StepContext, prompt: Any = None) -> Any:
        """Note the call, take the time, come to the outcome."""
        no = len(self.calls)
        self.calls.append(
            Call(
                execution_id=context.execution_id,
                step=context.step,
                generation=context.generation,
                attempt=context.attempt,
                idempotency_key=context.idempotency_key,
                prompt=prompt,
                needs=context.needs,
                context=context.context,
            )
        )
        if self._takes:
            await anyio.sleep(self._takes)  # noqa: TID251 - the loop's time, which is virtual
        outcome = self._outcomes(no)
        if isinstance(outcome, BaseException) or _is_exception_type(outcome):
            raise outcome
        return outcome


def stub(
    agent: str | Function,
    *,
    returns: Any = _NOTHING,
    raises: BaseException | type[BaseException] | None = None,
    sequence: Sequence[Any] | None = None,
    takes: str | float = 0.0,
) -> Stub:
    """Stand in for an agent (by its name) or a Python step (by its function).

    It `returns` a value, `raises` an exception, or goes through a `sequence` of values and
    exceptions, one a call; with none of them it returns None. `takes` is how long it works:
    seconds, or text such as "2h". `calls` remembers every call, across crashes, too.
    """
    given = [name for name, is_given in _given(returns, raises, sequence) if is_given]
    if len(given) > 1:
        raise InvalidArgument(f"a stub has one of returns, raises and sequence, not {' and '.join(given)}")
    if raises is not None and not isinstance(raises, BaseException) and not _is_exception_type(raises):
        raise InvalidArgument(f"raises is {raises!r:.60}: give an exception, such as OSError('down')")
    name = agent if isinstance(agent, str) else f"{PYTHON}{qualified_name(function(agent, what='agent'))}"
    if sequence is None:
        outcome = raises if raises is not None else None if returns is _NOTHING else returns
        return Stub(name, lambda _: outcome, takes=seconds(takes))
    outcomes = several(sequence, what="sequence")

    def nth(no: int) -> Any:
        if no >= len(outcomes):
            raise StubExhausted(f"stub {name!r} was called {no + 1} times, its sequence has {len(outcomes)}")
        return outcomes[no]

    return Stub(name, nth, takes=seconds(takes))


def _given(returns: Any, raises: Any, sequence: Any) -> tuple[tuple[str, bool], ...]:
    return (
        ("returns", returns is not _NOTHING),
        ("raises", raises is not None),
        ("sequence", sequence is not None),
    )


def _is_exception_type(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


class StubbedAgents(Agents):
    """Agents some of which are stood in for, whatever is registered under their names afterwards."""

    def __init__(self, agents: Agents | None, stubs: Sequence[Stub]) -> None:
        """The agents of `agents`, those with a stub replaced by it."""
        super().__init__(agents or ())
        self._stubs = {each.name: each for each in stubs}
        self.wanted: set[str] = set()
        for each in stubs:
            self.add(each.name, each.perform, replace=True)

    @property
    def idle(self) -> list[Stub]:
        """Those nobody has asked for, by name or as an agent that can do something."""
        return [each for each in self._stubs.values() if each.name not in self.wanted and not each.calls]

    def find(self, name: str) -> Agent | None:
        """As any registry does; the name is one that somebody wants."""
        self.wanted |= {name, name.partition("#")[0]}
        return super().find(name)

    def add(self, name: str, function: Function, **how: Any) -> Agent:
        """Register a function, or the stub that stands in for it.

        Local functions share their names, so those of their steps have the workflow and the key after a '#'.
        """
        stub = self._stubs.get(name) or self._stubs.get(name.partition("#")[0])
        if stub is None:
            return super().add(name, function, **how)
        return super().add(name, stub.perform, replace=True)
