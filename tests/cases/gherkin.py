"""Reads the conformance features: each scenario is a list of steps, some with a document in YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

KEYWORD: Final = re.compile(r"^\s*(?:Given|When|Then|And)\s+(.+?)\s*$")
FENCE: Final = '"""'


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is given, done or expected, and the document below it."""

    text: str
    document: Any = None


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario of a feature."""

    feature: str
    name: str
    steps: tuple[Step, ...]

    @property
    def context(self) -> dict[str, Any]:
        """The input that is given to the workflow."""
        given = [step.document for step in self.steps if step.text == "given the workflow input is:"]
        return dict(given[0]) if given else {}

    @property
    def expected(self) -> list[Step]:
        """What must have come of it."""
        texts = [step.text for step in self.steps]
        return list(self.steps[texts.index("the workflow is executed") + 1 :])


def scenarios(folder: Path) -> list[Scenario]:
    """Every scenario of the features in a folder, in the order of their names."""
    return [each for path in sorted(folder.glob("*.feature")) for each in _scenarios_of(path)]


def _scenarios_of(path: Path) -> Iterator[Scenario]:
    for part in path.read_text().split("Scenario: ")[1:]:
        name, _, body = part.partition("\n")
        yield Scenario(feature=path.stem, name=name.strip(), steps=tuple(_steps(body.splitlines())))


def _steps(lines: list[str]) -> Iterator[Step]:
    rest = iter(lines)
    pending: str | None = None
    for line in rest:
        if line.strip().startswith(FENCE):
            yield Step(text=pending or "", document=yaml.safe_load("\n".join(_until_fence(rest))))
            pending = None
            continue
        if pending is not None:
            yield Step(text=pending)
            pending = None
        if said := KEYWORD.match(line):
            pending = said[1]
    if pending is not None:
        yield Step(text=pending)


def _until_fence(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line.strip() == FENCE:
            return
        yield line
