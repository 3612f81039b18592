"""What the driver raises, in our words."""

from __future__ import annotations

import asyncpg
import pytest

from perdure.store.errors import StoreUnavailable
from perdure.store.postgres.translate import FAILURES, translated


def test_whatever_the_driver_raises_is_one_of_the_failures_that_are_translated():
    """One that was not would end the task it is raised in, and with that the runtime."""
    raised = [kind for kind in vars(asyncpg.exceptions).values() if isinstance(kind, type)]
    errors = {kind for kind in raised if issubclass(kind, Exception) and not issubclass(kind, Warning)}
    assert asyncpg.InternalClientError in errors
    assert {kind for kind in errors if not issubclass(kind, FAILURES)} == set()


def test_what_the_driver_calls_internal_is_a_session_that_is_lost():
    """It says so of a statement that comes after the server's good-bye."""
    error = asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
    assert isinstance(translated(error, "here"), StoreUnavailable)


@pytest.mark.parametrize(
    "kind", [asyncpg.IdleInTransactionSessionTimeoutError, asyncpg.exceptions.TransactionTimeoutError]
)
def test_a_session_the_server_has_ended_for_its_slowness_is_lost(kind: type[Exception]):
    """As that of a process which was stopped in the middle of a transaction."""
    assert isinstance(translated(kind("terminating connection"), "here"), StoreUnavailable)
