"""PostgreSQL's errors in our words; nothing outside this package sees an `asyncpg` error."""

from __future__ import annotations

from typing import Final

import asyncpg

from perdure.store.errors import StoreCorrupt, StoreError, StoreUnavailable

# All that the driver raises. What it calls internal has no base in common with the rest; a statement meets it
# where the server has said good-bye and the socket is still open.
FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

# What ends a session or keeps one from beginning, while the database and its facts are well.
LOST: Final = (
    OSError,  # TimeoutError is one
    asyncpg.PostgresConnectionError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InternalClientError,
    asyncpg.exceptions.CannotConnectNowError,
    asyncpg.exceptions.AdminShutdownError,
    asyncpg.exceptions.CrashShutdownError,
    asyncpg.exceptions.IdleSessionTimeoutError,
    asyncpg.exceptions.IdleInTransactionSessionTimeoutError,
    asyncpg.exceptions.TransactionTimeoutError,
    asyncpg.exceptions.TooManyConnectionsError,
)

# Two transactions were in each other's way; this one was undone and may come again as it is.
AGAIN: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)

# What may be wrong with one statement and its values, while the session and its neighbours are well.
REFUSED: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.SyntaxOrAccessError,
    asyncpg.exceptions.CardinalityViolationError,
    asyncpg.exceptions.FeatureNotSupportedError,
    asyncpg.exceptions.InvalidTransactionTerminationError,
    asyncpg.exceptions.RaiseError,
    asyncpg.exceptions.ProgramLimitExceededError,
    asyncpg.exceptions.ObjectNotInPrerequisiteStateError,
    ValueError,  # asyncpg's own DataError for values it cannot encode is one
    TypeError,
    OverflowError,
)

WHAT_TO_DO: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (asyncpg.InvalidAuthorizationSpecificationError, "check the user and the password"),
    (asyncpg.InvalidCatalogNameError, "make the database first (createdb), or name another"),
    (asyncpg.InsufficientPrivilegeError, "grant the user what it lacks, or connect as another"),
    (asyncpg.TooManyConnectionsError, "raise max_connections, or put a pooler in between"),
    (
        asyncpg.ProtocolViolationError,
        (
            "a pooler in between refuses a setting of the address: leave it out, or have the pooler "
            "ignore it (ignore_startup_parameters)"
        ),
    ),
    (asyncpg.DiskFullError, "the server's disk is full: make room, the work goes on by itself"),
    (asyncpg.ReadOnlySQLTransactionError, "this is a standby: connect to the primary"),
    (asyncpg.UndefinedTableError, "the schema was dropped or is another version's: open the store anew"),
)


# What is wrong with the server and not with what was asked: the same may go well later.
PASSING: Final = (
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,  # by a `statement_timeout` of the role's, or by hand
    *AGAIN,
)


def is_lost(error: BaseException) -> bool:
    """Whether the session is gone, or could not begin."""
    if isinstance(error, asyncpg.InterfaceError):
        # Our own calls are serial, so this is always a connection that has been closed under us; but
        # what it says about the arguments of a statement is not.
        return not isinstance(error, ValueError)
    return isinstance(error, LOST) and not isinstance(error, asyncpg.ProtocolViolationError)


def refused(error: Exception, write: str) -> StoreError:
    """The answer to one write that the database does not take."""
    return StoreError(f"{write} was refused by the database: {error}")


def translated(error: BaseException, location: str) -> StoreError:
    """The same error as one of ours, with what to do about it."""
    if is_lost(error) and not isinstance(error, asyncpg.TooManyConnectionsError):
        return StoreUnavailable(
            f"{location} cannot be reached ({_text(error)}): check that the server runs and may be reached "
            "from here, the work goes on by itself; nothing was changed"
        )
    if isinstance(error, asyncpg.exceptions.DataCorruptedError | asyncpg.exceptions.IndexCorruptedError):
        return StoreCorrupt(f"{location} is damaged ({error}): restore a backup")
    advice = next((advice for kind, advice in WHAT_TO_DO if isinstance(error, kind)), "nothing was changed")
    kind = StoreUnavailable if isinstance(error, PASSING) else StoreError
    return kind(f"{location}: {_text(error)}; {advice}")


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
