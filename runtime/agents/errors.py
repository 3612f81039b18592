"""What can be wrong about agents and about the values their functions are called with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from perdure.actors.errors import InvalidContext
from perdure.runtime.near import nearest
from perdure.store.errors import PerdureError

NAMES_SHOWN_MAX: Final = 10  # known names listed in a message; the rest is counted

PROBLEMS_SHOWN_MAX: Final = 100  # sentences in one message


class UnknownAgent(PerdureError):
    """No agent of that name is registered here."""

    def __init__(self, name: str, *, known: Collection[str] = (), why: str = "", what: str = "") -> None:
        """`known` are the names there are; `why` says more; `what` is asked for, if no name is."""
        near = nearest(name, known)
        parts = [f"no {what} is registered" if what else f"no agent {name!r} is registered"]
        if why:
            parts.append(f": {why}")
        if near is not None:
            parts.append(f" (did you mean {near!r}?)")
        listed = "" if what else f"; {_listed(known)}"
        parts.append(f"{listed}; register it with Agents().add(…) or --agents module:registry")
        super().__init__("".join(parts))
        self.name = name
        self.near = near
        self.names: tuple[str, ...] = (name,)

    def beside(self, others: Sequence[UnknownAgent]) -> UnknownAgent:
        """The same error telling of others as well, one on each line."""
        self.args = ("\n".join(str(error) for error in (self, *others)),)
        self.names = (self.name, *(other.name for other in others))
        return self


class DuplicateAgent(PerdureError):
    """Another function is registered under that name."""

    def __init__(self, name: str, *, where: str) -> None:
        """`where` is the place of the function that has the name."""
        super().__init__(
            f"agent {name!r} is already registered ({where}): choose another name, or replace=True"
        )
        self.name = name
        self.where = where


class AgentsNotLoaded(PerdureError):
    """A registry of agents could not be imported."""

    def __init__(self, spec: str, *, why: str) -> None:
        """`spec` is what was asked for, `why` what went wrong and what to do."""
        super().__init__(f"cannot load agents from {spec!r}: {why}")
        self.spec = spec


class BadSignature(PerdureError):
    """A function that cannot be called: it yields, or has parameters that cannot be filled by name."""

    def __init__(self, function: str, *, why: str) -> None:
        """`function` is its qualified name."""
        super().__init__(f"{function}: {why}")
        self.function = function
        self.why = why


class InputError(InvalidContext):
    """Values a step needs are missing, or are not of the type its function asks for."""

    def __init__(self, problems: Sequence[str]) -> None:
        """`problems` are sentences, each naming the step, the parameter and what was expected."""
        more = len(problems) - PROBLEMS_SHOWN_MAX
        shown = [*problems[:PROBLEMS_SHOWN_MAX], *([f"and {more} more problems"] if more > 0 else [])]
        super().__init__("\n".join(shown))
        self.problems = tuple(problems)


def _listed(known: Collection[str]) -> str:
    """The names there are, in words."""
    if not known:
        return "no agents are registered"
    names = sorted(known)
    more = len(names) - NAMES_SHOWN_MAX
    return "known: " + ", ".join(names[:NAMES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
