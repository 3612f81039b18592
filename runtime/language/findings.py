"""A list of problems while it grows: checks add to it, the end places them in the text and raises."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple, Protocol

from perdure.runtime.language.errors import PROBLEMS_MAX, CycleError, DefinitionError, Problem
from perdure.runtime.near import nearest

GUESSES_MAX: Final = 25  # names guessed at; comparing one with a thousand others takes milliseconds
PART_MAX: Final = 80  # characters of one part of a path in a message

Path = tuple[str | int, ...]


class Place(NamedTuple):
    """A position in a text, counted from 1."""

    file: str | None
    line: int | None
    column: int | None


class Locate(Protocol):
    """Tells where in a text the part at a path stands, or with `at_key` its key."""

    def __call__(self, path: Path, *, at_key: bool) -> Place:
        """Return the place of the part, or of the innermost part around it that exists."""
        ...


def nowhere(path: Path, *, at_key: bool) -> Place:  # noqa: ARG001 - a Locate
    """Place problems of a definition that has no text."""
    return Place(None, None, None)


class Findings:
    """What was found so far."""

    def __init__(self, locate: Locate = nowhere) -> None:
        """`locate` tells where in the text the part at a path stands."""
        self._locate = locate
        self._found: list[Problem] = []
        self._more = 0
        self._guesses = 0
        self.cycle: tuple[str, ...] | None = None

    def add(
        self,
        path: Path,
        message: str,
        *,
        expected: str | None = None,
        near: tuple[str, Collection[str]] | None = None,
        at_key: bool = False,
    ) -> None:
        """Note a problem with the part at `path`; `near` is a wrong name and those that would be right."""
        if len(self._found) >= PROBLEMS_MAX:
            self._more += 1
            return
        file, line, column = self._locate(path, at_key=at_key)
        self._found.append(
            Problem(
                message=message,
                path=written(path),
                file=file,
                line=line,
                column=column,
                expected=expected,
                suggestion=self._suggestion(near),
            )
        )

    def _suggestion(self, near: tuple[str, Collection[str]] | None) -> str | None:
        """The name that was meant, for as many problems as comparing names is cheap."""
        if near is None or self._guesses >= GUESSES_MAX:
            return None
        self._guesses += 1
        return nearest(*near)

    def has(self, path: Path) -> bool:
        """Whether a problem was noted with the part at `path`, or inside it."""
        within = written(path)
        return any(problem.path == within or problem.path.startswith(f"{within}.") for problem in self._found)

    def __len__(self) -> int:
        """Count the problems."""
        return len(self._found) + self._more

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return the problems in the order of the text."""
        return tuple(sorted(self._found, key=lambda problem: (problem.line or 0, problem.column or 0)))

    def raise_if_any(self) -> None:
        """Raise DefinitionError (CycleError when a circle is among them) if there are problems."""
        if self.cycle is not None:
            raise CycleError(self.problems, path=self.cycle, more=self._more)
        if self._found:
            raise DefinitionError(self.problems, more=self._more)


def written(path: Path) -> str:
    """A path as people write it: `steps[2].retryPolicy`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if len(part) <= PART_MAX else f"{part[: PART_MAX - 1]}…"
            text += f".{shown}" if text else shown
    return text
