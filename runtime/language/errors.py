"""What can be wrong about a definition: problems with their places, and the errors that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from perdure.runtime.agents.errors import InputError
from perdure.store.errors import PerdureError

PROBLEMS_MAX: Final = 100  # reported at once; more than a person repairs in one go


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to repair in a definition, with its place and what would be right.

    `path` leads to the part (`steps[2].retryPolicy.maxRetries`, empty for the whole); lines and
    columns count from 1 and are None where there is no text.
    """

    message: str
    path: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    expected: str | None = None
    suggestion: str | None = None

    def __str__(self) -> str:
        """`file:line:column: path: message, expected … (did you mean '…'?)` on one line."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        parts = [part for part in (place, self.path) if part]
        text = ": ".join([*parts, self.message])
        if self.expected is not None:
            text += f", expected {self.expected}"
        if self.suggestion is not None:
            text += f" (did you mean {self.suggestion!r}?)"
        return "".join(character if character.isprintable() else " " for character in text)


class DefinitionError(PerdureError):
    """The definition cannot be used; `problems` says everything that has to be repaired."""

    def __init__(self, problems: Sequence[Problem], *, more: int = 0) -> None:
        """`more` counts the problems beyond those that are reported."""
        lines = [str(problem) for problem in problems]
        if more:
            lines.append(f"and {more} more problems")
        super().__init__("\n".join(lines))
        self.problems = tuple(problems)


class CycleError(DefinitionError):
    """Steps need each other in a circle; `path` is the first such circle, its first step repeated."""

    def __init__(self, problems: Sequence[Problem], *, path: Sequence[str], more: int = 0) -> None:
        """`problems` are all there are, the circles among them."""
        super().__init__(problems, more=more)
        self.path = tuple(path)


class TemplateError(InputError):
    """A template asks for a value that is not there."""

    def __init__(self, problems: Sequence[str] | str) -> None:
        """`problems` are sentences, each naming the template's path and what was there instead."""
        super().__init__([problems] if isinstance(problems, str) else problems)


class OutputMismatch(PerdureError):
    """The output of a step is not what its `outputSchema` promises."""

    def __init__(self, step: str, *, path: str, why: str) -> None:
        """`path` leads to the offending part of the output (`$.findings[3].line`)."""
        super().__init__(f"the output of step {step!r} does not fit its outputSchema at {path}: {why}")
        self.step = step
        self.path = path
