"""One batch of writes, one transaction, a savepoint for each write."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from perdure.store.errors import OutcomeUnknown, PerdureError, StatementFailed, StoreError
from perdure.store.protocol import Answer
from perdure.store.scripts.apply import APPLY
from perdure.store.scripts.transitions import explain, statements_of
from perdure.store.sqlite.connection import Link, run
from perdure.store.sqlite.statements import execute_statements
from perdure.store.sqlite.together import TOGETHER_MIN, LookedAtAloneError, is_move, together
from perdure.store.sqlite.translate import REFUSED, is_refusal, refused, translated
from perdure.store.writes import Change, Start, Write

# A commit that fails in the file system may have reached the log before its sync failed: whoever
# opens the file after a crash would find it there, although this process was told it had failed.
# A full disk is another matter: it is met before the last page, the one that makes the others count.
UNSURE: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_INTERNAL})


class _TransactionLostError(Exception):
    """A statement of the user's was interrupted or said `OR ROLLBACK`: the whole transaction is gone."""

    def __init__(self, index: int, refusal: PerdureError) -> None:
        """Which of the writes it was, and the answer to it."""
        super().__init__(index)
        self.index = index
        self.refusal = refusal


class _DeferredError(Exception):
    """Something in the batch broke a constraint that SQLite looks at only when it commits."""

    def __init__(self, reason: sqlite3.Error) -> None:
        """What SQLite says, which does not name the write."""
        super().__init__(reason)
        self.reason = reason


def commit(link: Link, writes: Sequence[Write]) -> list[Answer]:
    """Apply the batch; answers in order, a refusal being an error value.

    Raises StoreError when nothing was written, OutcomeUnknown when that cannot be told.
    """
    excluded: dict[int, Answer] = {}
    while True:
        try:
            return _commit_without(excluded, link, writes)
        except _TransactionLostError as lost:
            excluded[lost.index] = lost.refusal  # nothing was written: the others begin again without it
        except _DeferredError as deferred:
            if len(writes) == 1:
                return [_deferred_refusal(deferred.reason, writes[0])]
            return [_commit_alone(link, write) for write in writes]


def _deferred_refusal(reason: sqlite3.Error, write: Write) -> PerdureError:
    """Why one write was refused by the commit; where the user had statements in it, it was theirs."""
    statements = write.delta.statements if isinstance(write, Start | Change) else ()
    if not statements:
        return refused(reason, type(write).__name__)
    sql = "; ".join(statement.sql for statement in statements)
    return StatementFailed(sql, position=None, why=f"{reason}, when it was committed")


def _commit_alone(link: Link, write: Write) -> Answer:
    """One write as a transaction of its own, when its batch holds one that nobody can name."""
    try:
        return commit(link, [write])[0]
    except OutcomeUnknown:
        raise  # to be told of one is no refusal: whoever wrote it has to look
    except StoreError as error:
        return error


def _commit_without(excluded: Mapping[int, Answer], link: Link, writes: Sequence[Write]) -> list[Answer]:
    """One try; the excluded writes are answered with their refusals and not applied."""
    try:
        connection = link.connection
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise translated(error, link.path) from error
    try:
        known = {**excluded, **_apply_together(connection, excluded, writes)}
        answers = [
            known[index] if index in known else _apply(connection, index, write)
            for index, write in enumerate(writes)
        ]
    except _TransactionLostError:
        raise
    except sqlite3.Error as error:
        _undo(link, connection)
        raise translated(error, link.path) from error
    except BaseException:
        _undo(link, connection)
        raise
    _commit(link, connection)
    return answers


def _apply_together(
    connection: sqlite3.Connection, excluded: Mapping[int, Answer], writes: Sequence[Write]
) -> dict[int, Answer]:
    """The answers to the moves among them, unless one would be refused: then none, and nothing is done."""
    moves = {index: write for index, write in enumerate(writes) if is_move(write) and index not in excluded}
    if len(moves) < TOGETHER_MIN:
        return {}
    connection.execute("SAVEPOINT together")
    try:
        answers = run(connection, together(list(moves.values())))
    except (PerdureError, LookedAtAloneError, *REFUSED) as error:
        if isinstance(error, REFUSED) and not is_refusal(error):
            raise
        connection.execute("ROLLBACK TO together")
        answers = []
    connection.execute("RELEASE together")
    return dict(zip(moves, answers, strict=False))


def _apply(connection: sqlite3.Connection, index: int, write: Write) -> Answer:
    """Apply one write, or undo it alone and say why it was refused."""
    connection.execute("SAVEPOINT write")
    try:
        answer: Any = run(connection, APPLY[type(write)](write))
        execute_statements(connection, statements_of(write, answer))
    except PerdureError as error:
        answer = error.with_traceback(None)  # which would keep this frame, and so the file, open
        if not connection.in_transaction:
            raise _TransactionLostError(index, error) from error
    except REFUSED as error:
        if not is_refusal(error):
            raise
        answer = refused(error, type(write).__name__)
        connection.execute("ROLLBACK TO write")
        answer = run(connection, explain(write)) or answer
    if isinstance(answer, PerdureError):
        connection.execute("ROLLBACK TO write")
    connection.execute("RELEASE write")
    checked: Answer = answer
    return checked


def _commit(link: Link, connection: sqlite3.Connection) -> None:
    """Make it durable. A commit that fails is never tried again: the connection is done with."""
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_INTERNAL) & 0xFF
        if code in UNSURE:
            link.doubt_log()
        is_undone = code == sqlite3.SQLITE_FULL or (connection.in_transaction and code not in UNSURE)
        _undo(link, connection)
        if is_undone and code == sqlite3.SQLITE_CONSTRAINT:
            raise _DeferredError(error) from error
        if is_undone:
            raise translated(error, link.path) from error
        raise OutcomeUnknown(
            f"a commit to {link.path} failed ({error}) and it cannot be told whether it happened: "
            "read the state back before going on"
        ) from error


def _undo(link: Link, connection: sqlite3.Connection) -> None:
    """Roll back, and start over with a new connection: after a failed write none is to be trusted."""
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    with contextlib.suppress(sqlite3.Error):
        link.drop()
