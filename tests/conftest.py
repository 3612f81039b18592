"""What every test shares: the outside cases, the event loop, the sizes of tests, printed seeds."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

CASES_VARIABLE = "PERDURE_CASES"
SIZES = ("integration", "e2e")  # a test with neither mark is a unit test

# Shared machines are slow at times, so no example has a deadline; a failure prints what repeats it.
_ALWAYS = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", **_ALWAYS)
settings.register_profile("ci", **_ALWAYS, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))

_ran: set[str] = set()
_skipped: set[str] = set()


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a `PERDURE_CASES` that leads nowhere: silence would look like success."""
    place = os.environ.get(CASES_VARIABLE)
    if place and not Path(place).is_dir():
        raise pytest.UsageError(f"{CASES_VARIABLE}={place}: no such folder; unset it to skip the case tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `unit` whatever is not marked as larger."""
    for item in items:
        if not any(item.get_closest_marker(size) for size in SIZES):
            item.add_marker(pytest.mark.unit)


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, the loop perdure needs."""
    return "asyncio"


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of inputs from outside that `PERDURE_CASES` names; without it the test is skipped."""
    place = os.environ.get(CASES_VARIABLE)
    if not place:
        pytest.skip(f"{CASES_VARIABLE} is not set")
    return Path(place).resolve()


def _loaded(path: str) -> ModuleType:
    """A module of the tests that tests of several folders share."""
    spec = importlib.util.spec_from_file_location(path.replace("/", "."), Path(__file__).parent / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def book_of() -> Any:
    """The class of books that write the usual things into a store."""
    return _loaded("contract/book.py").Book


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server: PERDURE_TEST_POSTGRES_URL, or one that is started for the session."""
    given = os.environ.get("PERDURE_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with _loaded("postgres.py").Server() as server:
        yield server.url


@pytest.fixture(scope="session")
def postgres() -> ModuleType:
    """What starts servers, for tests that stop theirs."""
    return _loaded("postgres.py")


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty schema of the test's own, dropped afterwards."""
    with _loaded("postgres.py").schema(postgres_server) as url:
        yield url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> object:
    """Count the case tests that ran and those that were skipped."""
    report = yield
    if "cases" in getattr(item, "fixturenames", ()):
        if report.skipped:
            _skipped.add(item.nodeid)
        elif report.when == "call":
            _ran.add(item.nodeid)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many case tests ran: a run without them proves less than it seems to."""
    if not _ran and not _skipped:
        return
    place = os.environ.get(CASES_VARIABLE) or "not set"
    terminalreporter.write_line(
        f"case tests: {len(_ran)} ran, {len(_skipped)} skipped ({CASES_VARIABLE} {place})"
    )
