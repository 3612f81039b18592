"""Writes docs/conformance.md: the scenarios of a specification in our words, and what others call it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import familiar
import msgspec
from company import Company

from perdure.runtime import Agents, StepContext

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
REGISTRY: Final = HERE / "conformance.toml"
PAGE: Final = ROOT / "docs" / "conformance.md"

HEAD: Final = """\
# Conformance

The scenarios of the conformance kit of the [Serverless Workflow](https://serverlessworkflow.io) specification
(DSL 1.0), and its examples, in the words of our language. What is said here is run: a scenario against the
input and the expectations that stand in it (`tests/cases/test_conformance.py`), an example against a test of
its own (`tests/cases/test_examples.py`). `tests/cases/conformance.py` writes this page from the tables beside
it.

"""


class Translation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scenario or an example: the workflows that say it and how, or why none does."""

    name: str
    feature: str = ""
    how: str = ""
    workflows: tuple[str, ...] = ()
    refused: str = ""
    does_not_apply: str = ""


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them, in the order of the kit."""

    scenario: tuple[Translation, ...]
    example: tuple[Translation, ...]


def table() -> Table:
    """What conformance.toml says."""
    return msgspec.convert(tomllib.loads(REGISTRY.read_text()), Table)


def example(name: str) -> Company:
    """A runtime with the workflows of an example."""
    (found,) = (each for each in table().example if each.name == name)
    return kit(found)


def kit(translation: Translation) -> Company:
    """A runtime with the workflows of a translation, and agents who stand in for services."""
    agents = Agents()
    for agent in (append, get_pet, buy_pet):
        agents.add(agent.__name__, agent)
    return Company(translation.workflows, agents=agents)


async def append(context: StepContext, prompt: str) -> list[str]:
    """Give what the step before gave, and one more."""
    return [*next(iter(context.needs.values()), []), prompt]


async def get_pet(prompt: int | str) -> dict[str, Any]:
    """Stand in for a service that knows the first nine pets."""
    number = int(prompt)
    if number > 9:
        raise LookupError(f"404 there is no pet {number}")
    return {"id": number, "name": "doggie", "status": "available"}


async def buy_pet(prompt: dict[str, Any]) -> dict[str, Any]:
    """Stand in for a service that sells them."""
    return {**prompt, "status": "sold"}


def page(known: Table) -> str:
    """The page that tells them."""
    scenarios = "".join(_section(f"{each.feature}: {each.name}", each) for each in known.scenario)
    examples = "".join(_section(each.name, each) for each in known.example)
    parts = (
        f"## Scenarios\n\n{_count(known.scenario)}{scenarios}",
        f"## Examples\n\n{_count(known.example)}{examples}",
        familiar.section(familiar.rows()),
    )
    return HEAD + "\n".join(parts)


def _count(translations: Sequence[Translation]) -> str:
    refused = sum(bool(each.refused) for each in translations)
    foreign = sum(bool(each.does_not_apply) for each in translations)
    said = len(translations) - refused - foreign
    return f"{said} of {len(translations)} are said, {refused} refused, {foreign} do not apply.\n"


def _section(title: str, translation: Translation) -> str:
    return f"\n### {title}\n\n" + "\n".join(_lines(translation)) + "\n"


def _lines(translation: Translation) -> Iterator[str]:
    if translation.does_not_apply:
        yield f"**Does not apply.** {translation.does_not_apply}"
    elif translation.refused:
        yield f"**Refused.** {translation.refused}"
    else:
        yield translation.how
        yield from (f"\n```yaml\n{text.strip()}\n```" for text in translation.workflows)


if __name__ == "__main__":
    PAGE.write_text(page(table()))
