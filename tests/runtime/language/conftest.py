"""What the language's tests share: values as a step sees them, definitions, and a short way to be refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perdure.runtime.agents import Agents
from perdure.runtime.language import Definition, DefinitionError, parse


class SeenValues:
    """The context and the outputs by step number."""

    def __init__(self, context: dict[str, Any] | None = None, outputs: dict[int, Any] | None = None) -> None:
        """Without arguments there is nothing to see."""
        self.context = context or {}
        self._outputs = outputs or {}

    def output(self, step_no: int) -> Any:
        """The output of a step."""
        return self._outputs[step_no]

    def state(self, step_no: int) -> str:
        """The state of a step: completed if it has an output."""
        return "completed" if step_no in self._outputs else "skipped"

    def error(self, step_no: int) -> dict[str, str] | None:
        """Why a step failed: none has."""
        return None


@pytest.fixture
def seen() -> type[SeenValues]:
    """Make the values a step may read."""
    return SeenValues


@pytest.fixture
def refused() -> Callable[..., DefinitionError]:
    """Parse what must be refused, and return the error."""

    def parse_refused(text: str | bytes, *, source: str = "w.yaml") -> DefinitionError:
        with pytest.raises(DefinitionError) as caught:
            parse(text, source=source)
        return caught.value

    return parse_refused


@pytest.fixture
def steps() -> Callable[[str], Definition]:
    """Parse a definition of which only the steps are given."""

    def parse_steps(text: str) -> Definition:
        return parse(f"name: w\nsteps:\n{text}", source="w.yaml")

    return parse_steps


@pytest.fixture
def review() -> Definition:
    """Two steps whose agents are those of `agents`: what is parsed is written about."""
    return parse(
        """
    name: review
    steps:
      - {key: parse-changes, agent: parser, prompt: "Parse {{filePath}}"}
      - key: report
        agent: writer
        dependencies: [parse-changes]
        prompt: "{{parse-changes.n}} {{user.name}}"
    """,
        source="review.yaml",
    )


@pytest.fixture
def agents() -> Agents:
    """A parser and a writer."""
    registry = Agents()

    @registry.agent("parser")
    def parse(prompt: str) -> dict:
        return {"n": prompt}

    @registry.agent("writer")
    def write(prompt: str, parse_changes: dict, lines: int, style: str = "plain") -> str:
        return f"{prompt} {parse_changes} {lines} {style}"

    return registry
