"""The pytest plugin: the fixture `perdure_runtime` and the option `--perdure-seed`.

pytest imports this file in every project that has perdure installed, so it imports nothing but
pytest; what the fixture needs is loaded when a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from perdure.runtime import Workflow
    from perdure.runtime.testing import TestRuntime


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--perdure-seed`."""
    parser.getgroup("perdure").addoption(
        "--perdure-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the runtimes that perdure_runtime makes (default: 0)",
    )


@pytest.fixture
def perdure_runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., TestRuntime]:
    """Make runtimes to test with; the arguments are those of `TestRuntime`.

    Their stores lie in the test's `tmp_path`, to be looked at after a failure; the seed is that of
    `--perdure-seed` unless the test gives one.
    """
    from perdure.runtime.testing import TestRuntime

    made = 0

    def make(*workflows: Workflow, **options: Any) -> TestRuntime:
        nonlocal made
        made += 1
        options.setdefault("location", tmp_path / f"perdure-{made}.db")
        options.setdefault("seed", request.config.getoption("--perdure-seed"))
        return TestRuntime(*workflows, **options)

    return make
