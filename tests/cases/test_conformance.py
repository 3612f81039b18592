"""The scenarios of the conformance kit: what is expected stands in them, what is run in our table."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import conformance
import pytest
from conformance import Translation
from gherkin import Scenario, Step, scenarios

from perdure.runtime import DefinitionError, Execution, Result, Status, Workflow
from perdure.runtime.testing import virtual_time

SAID = [each for each in conformance.table().scenario if each.workflows]


def _kit(cases: Path) -> list[Scenario]:
    return scenarios(cases / "sw-ctk" / "ctk" / "features")


def test_every_scenario_and_every_example_of_the_kit_is_in_the_table(cases: Path):
    """None is left out, none is invented."""
    known = conformance.table()
    assert [(each.feature, each.name) for each in known.scenario] == [
        (each.feature, each.name) for each in _kit(cases)
    ]
    files = (cases / "sw-ctk" / "examples").glob("*.yaml")
    assert [each.name for each in known.example] == sorted(path.stem for path in files)


def test_each_is_said_or_there_is_a_reason_why_it_is_not():
    """One of the three; and what is said can be read."""
    known = conformance.table()
    for each in (*known.scenario, *known.example):
        assert sum(map(bool, (each.workflows, each.refused, each.does_not_apply))) == 1, each.name
        assert bool(each.how) == bool(each.workflows), each.name
        assert all(Workflow.parse(text).definition for text in each.workflows)


def test_the_page_is_written_from_the_tables():
    """Never by hand: `python tests/cases/conformance.py`."""
    assert conformance.PAGE.read_text() == conformance.page(conformance.table())


def test_what_the_kit_runs_itself_is_refused_in_words(cases: Path):
    """Its language is another one."""
    for path in sorted((cases / "sw-ctk" / "examples").glob("*.yaml")):
        with pytest.raises(DefinitionError, match="neither 'name' nor 'steps', but 'document', "):
            assert Workflow.parse(path.read_text(), source=path.name).definition


@pytest.mark.parametrize("translation", SAID, ids=[each.name for each in SAID])
@virtual_time
async def test_a_scenario_comes_to_what_is_expected_of_it(cases: Path, translation: Translation):
    """With the input of the scenario; every line of it is heeded."""
    (scenario,) = (each for each in _kit(cases) if each.name == translation.name)
    async with conformance.kit(translation) as company:
        execution = await company.begin(**scenario.context)
        result = await execution.result(check=False)
        order = await _order(execution)
        assert scenario.expected
        for step in scenario.expected:
            check, found = _check_of(step)
            check(step, found, result, order)


async def _order(execution: Execution) -> list[str]:
    """The steps that ran, in the order in which they began."""
    return [str(event.step) async for event in execution.events() if event.type == "step_started"]


Check = Callable[[Step, re.Match[str], Result, list[str]], None]


def _check_of(step: Step) -> tuple[Check, re.Match[str]]:
    """What a line asks for. Fails for a line that nobody understands."""
    for pattern, check in CHECKS.items():
        if found := re.fullmatch(pattern, step.text):
            return check, found
    raise AssertionError(f"nobody knows what {step.text!r} asks for")


def _completes(step: Step, found: re.Match[str], result: Result, order: list[str]) -> None:
    assert result.status is Status.COMPLETED


def _completes_with(step: Step, found: re.Match[str], result: Result, order: list[str]) -> None:
    """What is `null` counts as not given; what is no mapping is called `output`."""
    _completes(step, found, result, order)
    expected = step.document if isinstance(step.document, dict) else {"output": step.document}
    assert {name: value for name, value in result.outputs.items() if value is not None} == expected


def _fails_with(step: Step, found: re.Match[str], result: Result, order: list[str]) -> None:
    """All that the error says is in our error, and where it was raised is its step."""
    assert result.status is Status.FAILED
    assert result.error is not None
    expected: dict[str, Any] = dict(step.document)
    assert result.error.step == expected.pop("instance").rpartition("/")[2]
    for value in expected.values():
        assert str(value) in result.error.message


def _runs_first(step: Step, found: re.Match[str], result: Result, order: list[str]) -> None:
    assert order[0] == found[1]


def _runs_last(step: Step, found: re.Match[str], result: Result, order: list[str]) -> None:
    assert order[-1] == found[1]


CHECKS: Final[dict[str, Check]] = {
    r"the workflow should complete": _completes,
    r"the workflow should complete with output:": _completes_with,
    r"the workflow should fault with error:": _fails_with,
    r"(\w+) should run first": _runs_first,
    r"(\w+) should run last": _runs_last,
}
