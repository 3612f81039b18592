"""The pytest plugin in a project of its own: there when wanted, free when not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

TESTS = """
from perdure.runtime import Workflow
from perdure.runtime.testing import stub, virtual_time

order = Workflow.parse('''
name: order
steps:
  - {key: charge, agent: bank}
''')

@virtual_time
async def test_a_crash_charges_under_one_key(perdure_runtime, tmp_path):
    bank = stub("bank", returns=42)
    async with perdure_runtime(order, stubs=[bank], crash="after:charge:before-commit") as test:
        assert test.seed == 7
        await test.assert_completed(await test.start("order", {}), {"charge": 42})
    assert len({call.idempotency_key for call in bank.calls}) == 1
    assert (tmp_path / "perdure-1.db").exists()
"""


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A Python of its own, with no plugin but ours."""
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_plain_pytest_runs_a_virtual_test_with_the_fixture(tmp_path: Path) -> None:
    """No plugin for async tests is needed, and TestRuntime is not taken for a test."""
    (tmp_path / "test_order.py").write_text(TESTS)
    options = ("-p", "perdure.runtime.testing.plugin", "--perdure-seed", "7", "-W", "error")
    ran = run("-m", "pytest", "-q", *options, folder=tmp_path)
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout


def test_the_plugin_loads_nothing_of_the_runtime(tmp_path: Path) -> None:
    """Every project that has perdure installed imports it in each run of its tests."""
    program = (
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        "import perdure.runtime.testing.plugin\n"
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('perdure')))\n"
        "print(sorted(name for name in sys.modules if name.startswith('perdure.')))\n"
    )
    ran = run("-c", program, folder=tmp_path)
    assert ran.stdout.splitlines() == [
        "[]",
        "['perdure.runtime', 'perdure.runtime.testing', 'perdure.runtime.testing.plugin']",
    ], ran.stderr


COSTLY = """
import pytest
from perdure.runtime import StepContext, Workflow
from perdure.runtime.testing import virtual_time

calls = []
paid = Workflow("paid")

@paid.step
async def first(context: StepContext) -> int:
    calls.append("first")
    context.usage(cost=0.2, tokens=100)
    return 1

@paid.step
async def second(context: StepContext, first: int) -> int:
    calls.append("second")
    context.usage(cost=0.2)
    return 2

async def pay(perdure_runtime):
    async with perdure_runtime(paid) as test:
        execution = await test.start("paid", {})
        return await execution.result(check=False)

def test_free():
    pass

@pytest.mark.costly
@virtual_time
async def test_one(perdure_runtime):
    assert (await pay(perdure_runtime)).status == "completed"

@pytest.mark.costly
@virtual_time
async def test_two(perdure_runtime):
    result = await pay(perdure_runtime)
    assert result.status == "failed"
    assert "CostlyTestRefused" in result.error.message
    assert calls == ["first", "second", "first"]

@pytest.mark.costly
def test_three():
    calls.append("never")
"""


def costly(folder: Path, *options: str, budget: str | None) -> str:
    """What a run of the costly tests prints."""
    (folder / "test_costly.py").write_text(COSTLY)
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PERDURE_TEST_BUDGET", None)
    if budget is not None:
        environment["PERDURE_TEST_BUDGET"] = budget
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "perdure.runtime.testing.plugin", *options]
    ran = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return ran.stdout


def test_costly_tests_are_skipped_unless_they_are_asked_for(tmp_path: Path) -> None:
    """By their mark; whatever the budget is."""
    printed = costly(tmp_path, "--strict-markers", budget="1")
    assert "1 passed, 3 skipped" in printed
    assert "costs money: ask for it with -m costly" in printed


@pytest.mark.parametrize("budget", [None, "0", "much", "-1", "inf"])
def test_without_a_budget_no_costly_test_begins(tmp_path: Path, budget: str | None) -> None:
    """It is said what is to be set."""
    printed = costly(tmp_path, "-m", "costly", budget=budget)
    assert "3 failed, 1 deselected" in printed
    assert "PERDURE_TEST_BUDGET is" in printed


def test_when_the_budget_is_used_up_no_further_step_and_no_further_test_begins(tmp_path: Path) -> None:
    """What was used is counted over all tests of the run, and told at its end."""
    printed = costly(tmp_path, "-m", "costly", budget="0.6")
    assert "1 failed, 2 passed, 1 deselected" in printed
    assert "costly tests have used 0.6 and 200 tokens of PERDURE_TEST_BUDGET=0.6" in printed
    assert "perdure: costly tests used 0.6 of 0.6, 200 tokens" in printed
