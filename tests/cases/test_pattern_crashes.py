"""Every pattern that goes by itself comes to the same end if its process is killed at any commit."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterable
from typing import Any, Final

import pytest
from patterns import company_for, patterns

from perdure.runtime.testing import run_virtual

SAMPLES: Final = 6  # of several hundred places; `-m slow` tries them all
NEVER: Final = "commit:before#1000000"
BY_ITSELF: Final = {
    no: each for no, each in patterns().items() if not each.waits_for_others and each.answer != "refused"
}


async def _end(no: int, crash: str | tuple[()] = ()) -> Any:
    """What it comes to: its end, its outputs, and the ends of what it has started."""
    async with company_for(no, crash=crash, downtime=0) as company:
        execution = await company.begin(**BY_ITSELF[no].inputs)
        result = await execution.result(check=False)
        for child in await company.children(execution):
            await (await company.execution(child.id)).result(check=False)
        ends = sorted((child.workflow, child.status) for child in await company.children(execution))
        return result.status, result.outputs, ends


def _places(no: int) -> list[str]:
    """Before and after each commit there is."""
    with pytest.raises(AssertionError, match="never came") as told:
        run_virtual(lambda: _end(no, NEVER))
    passed = re.search(r"commit:before#(\d+)", str(told.value).partition("passed")[2])
    assert passed is not None
    return [f"commit:{side}#{count + 1}" for count in range(int(passed[1])) for side in ("before", "after")]


def _check(no: int, places: Iterable[str]) -> None:
    expected = run_virtual(lambda: _end(no))
    for place in places:
        end = run_virtual(functools.partial(_end, no, place))
        assert end == expected, f"pattern {no}, killed at {place}"


def test_a_pattern_comes_to_the_same_end_if_it_is_killed_somewhere():
    """Places drawn from a seed."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for no in chance.sample(sorted(BY_ITSELF), SAMPLES):
        _check(no, [chance.choice(_places(no))])


@pytest.mark.slow
@pytest.mark.parametrize("no", BY_ITSELF)
def test_a_pattern_comes_to_the_same_end_wherever_it_is_killed(no: int):
    """At every commit, before and after it."""
    _check(no, _places(no))
