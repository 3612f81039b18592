"""Patterns that do not say how they are scheduled come to the same end level by level and eagerly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from company import Company
from patterns import patterns

from perdure.runtime.testing import virtual_time

EITHER_WAY = {
    no: each
    for no, each in patterns().items()
    if not each.waits_for_others and each.answer != "refused" and "scheduling" not in each.workflows[0]
}


def _eager(texts: Sequence[str]) -> list[str]:
    """The same workflows, each step of them started as soon as its own needs have settled."""
    definitions = [yaml.safe_load(text) for text in texts]
    for definition in definitions:
        definition.setdefault("config", {})["scheduling"] = "eager"
    return [yaml.safe_dump(definition) for definition in definitions]


async def _end(texts: Sequence[str], inputs: dict[str, Any]) -> tuple[Any, list[str]]:
    """Its result, and who has done something."""
    async with Company(texts, unit="1s") as company:
        result = await (await company.begin(**inputs)).result()
        return (result.status, result.outputs), sorted(deed.step for deed in company.deeds)


@pytest.mark.parametrize("no", EITHER_WAY)
@virtual_time
async def test_a_pattern_comes_to_the_same_end_under_either_scheduling(no: int):
    """The same outputs, and every step as often."""
    pattern = EITHER_WAY[no]
    by_level = await _end(pattern.workflows, pattern.inputs)
    assert await _end(_eager(pattern.workflows), pattern.inputs) == by_level
