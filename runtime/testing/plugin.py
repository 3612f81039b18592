"""The pytest plugin: the fixture `perdure_runtime`, the option `--perdure-seed` and the mark `costly`.

pytest imports this file in every project that has perdure installed, so it imports nothing but
pytest; what the fixture needs is loaded when a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from perdure.runtime import Workflow
    from perdure.runtime.testing import TestRuntime
    from perdure.runtime.testing.meter import SpendingMeter

COSTLY = "costly"
METER: pytest.StashKey[SpendingMeter] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--perdure-seed`."""
    parser.getgroup("perdure").addoption(
        "--perdure-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the runtimes that perdure_runtime makes (default: 0)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers",
        "costly: makes calls that are paid for; runs only with -m costly, within PERDURE_TEST_BUDGET",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip costly tests unless they were asked for by their mark."""
    if COSTLY in config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="costs money: ask for it with -m costly")
    for item in items:
        if item.get_closest_marker(COSTLY) is not None:
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Meter a costly test, and let none begin when the budget of the run is used up."""
    if item.get_closest_marker(COSTLY) is None:
        return (yield)
    from perdure.actors.instructions.metering import metering
    from perdure.runtime.testing.meter import CostlyTestRefused, SpendingMeter

    try:
        if METER not in item.config.stash:
            item.config.stash[METER] = SpendingMeter.from_environment()
        meter = item.config.stash[METER]
        meter.check()
    except CostlyTestRefused as refused:
        pytest.fail(str(refused), pytrace=False)
    with metering.by(meter):
        return (yield)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what the costly tests have cost."""
    meter = config.stash.get(METER, None)
    if meter is not None:
        used = meter.used
        terminalreporter.write_line(
            f"perdure: costly tests used {used.cost:g} of {meter.budget:g}, {used.tokens:,} tokens"
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
