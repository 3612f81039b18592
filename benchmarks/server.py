"""A PostgreSQL server to measure on: one that is there, or one that is started for it, with its fsync on."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

GIVEN: Final = "PERDURE_BENCH_POSTGRES_URL"  # schemas are made in it and left
STORE: Final = "PERDURE_BENCH_STORE"  # what a round works on instead of a file
NAME: Final = "postgres"  # of the contender that is the runtime over it
TESTS: Final = Path(__file__).resolve().parent.parent / "tests" / "postgres.py"


@contextmanager
def server() -> Iterator[str]:
    """Its URL, as long as it runs."""
    if given := os.environ.get(GIVEN):
        yield given
        return
    spec = importlib.util.spec_from_file_location("postgres_of_the_tests", TESTS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.Server(fsync="on") as started:
        yield started.url
