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
