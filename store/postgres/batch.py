"""One batch of writes, one transaction: as one statement where that goes, else in ever smaller ones.

A batch of starts and changes is a single statement, and with it one round trip: it commits by itself.
Starts of what is there already are found by one question, and the others written without them. Where
another write is refused nothing has happened; then a transaction is begun, the set is cut in halves, each
under a savepoint, until the refused write stands alone and is applied by its script, which says why. So
its neighbours are written as if it had never been there.

A statement or a COMMIT whose answer never came may have happened. Before that is told the server's
process is ended for certain, for nothing is to come to light after the caller has looked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

import anyio
import asyncpg

from perdure.store.errors import OutcomeUnknown, PerdureError, StoreError
from perdure.store.postgres.dialect import quoted
from perdure.store.postgres.link import Link
from perdure.store.postgres.sets import gathered
from perdure.store.postgres.statements import execute_statements
from perdure.store.postgres.translate import AGAIN, FAILURES, PASSING, REFUSED, is_lost, refused, translated
from perdure.store.protocol import Answer
from perdure.store.scripts.apply import APPLY
from perdure.store.scripts.transitions import explain, statements_of
from perdure.store.writes import Change, Start, Started, Write

TRIES: Final = 5  # of a transaction that others get in the way of; each waits twice as long as the one before
FIRST_REST_S: Final = 0.005
END_OURS: Final = (  # a pooler may have told us a number that is somebody else's
    "SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity "
    "WHERE pid = $1 AND application_name = 'perdure'"
)
THERE: Final = "SELECT id, no FROM {schema}.workflow_executions WHERE id = ANY($1)"
BURIAL_S: Final = 10.0  # how long the server has to end a process whose client is gone


WriteRun = Callable[[Link, Sequence[Write]], Awaitable[list[Answer] | None]]


class _Unsure(Exception):
    """The session was lost when the transaction may have been committed."""


async def commit(link: Link, writes: Sequence[Write]) -> list[Answer]:
    """Apply the batch; answers in order, a refusal being an error value.

    Raises StoreUnavailable or StoreError when nothing was written, OutcomeUnknown when that cannot be told.
    """
    rest_s = FIRST_REST_S
    for _ in range(TRIES - 1):
        try:
            return await _try(link, writes)
        except AGAIN:
            await anyio.sleep(rest_s)  # noqa: TID251 - for a server, whose time is real
            rest_s *= 2
    try:
        return await _try(link, writes)
    except AGAIN as error:
        raise translated(error, link.address.shown) from error


async def _try(link: Link, writes: Sequence[Write]) -> list[Answer]:
    """One try, over a new session if the last one is found to be gone before anything was sent."""
    try:
        await link.open()
        return await _commit(link, writes)
    except AGAIN:
        try:
            await link.simply("ROLLBACK")
        except FAILURES:
            link.drop()
        raise
    except _Unsure as lost:
        pid = link.pid
        link.drop()
        await _bury(link, pid)
        raise OutcomeUnknown(
            f"the connection to {link.address.shown} was lost in the middle of a commit ({lost.__cause__}) "
            "and it cannot be told whether it happened: read the state back before going on"
        ) from lost
    except FAILURES as error:
        link.drop()
        raise translated(error, link.address.shown) from error
    except BaseException:
        link.drop()
        raise


async def _commit(link: Link, writes: Sequence[Write]) -> list[Answer]:
    runs = list(_runs(writes))
    if (
        not link.is_pooled
        and len(runs) == 1
        and (answers := await _commit_at_once(link, runs[0])) is not None
    ):
        return answers
    await link.begin()
    answers = []
    for run in runs:
        answers += await _apply(link, run)
    await _or_unsure(link.simply("COMMIT"))
    return answers


async def _commit_at_once(link: Link, run: Sequence[Write]) -> list[Answer] | None:
    """The whole batch as one statement that commits itself; None when it has to be taken apart."""
    whole = gathered(run, quoted(link.address.schema))
    if whole is None:
        return None
    statement = await link.prepare(whole.sql)
    try:
        row = await _or_unsure(statement.fetchrow(*whole.arguments))
    except asyncpg.UniqueViolationError:
        return await _joining(link, run, _commit_at_once)
    except REFUSED:
        return None
    return whole.answers(row[0], row[1] or ())


async def _joining(link: Link, run: Sequence[Write], write: WriteRun) -> list[Answer] | None:
    """Answer the starts of what is there already, and write the others; None where there is no such start."""
    statement = await link.prepare(THERE.format(schema=quoted(link.address.schema)))
    rows = await statement.fetch([each.id for each in run if isinstance(each, Start)])
    found = {id_: Started(no, joined=True, first_event_id=0) for id_, no in rows}
    others = [each for each in run if not (isinstance(each, Start) and each.id in found)]
    if not found or (written := await write(link, others) if others else []) is None:
        return None
    rest = iter(written)
    return [found[each.id] if isinstance(each, Start) and each.id in found else next(rest) for each in run]


async def _or_unsure(call: Any) -> Any:
    """Wait for something that ends a transaction; if the session is lost meanwhile, nobody knows how."""
    try:
        return await call
    except FAILURES as error:
        if is_lost(error):
            raise _Unsure from error
        raise


def _runs(writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
    """Cut the batch, in order, into runs that may become one statement, and single writes."""
    run: list[Write] = []
    met: set[Any] = set()
    for write in writes:
        key = (
            write.execution_no
            if isinstance(write, Change)
            else write.id
            if isinstance(write, Start)
            else None
        )
        if run and (key is None or key in met):
            yield run
            run, met = [], set()
        if key is None:
            yield [write]
            continue
        run.append(write)
        met.add(key)
    if run:
        yield run


async def _apply(link: Link, run: Sequence[Write]) -> list[Answer]:
    """Apply a run inside the transaction: at once, or in halves."""
    if len(run) == 1:
        return [await _apply_alone(link, run[0])]
    whole = gathered(run, quoted(link.address.schema))
    if whole is not None:
        await link.simply("SAVEPOINT run")
        try:
            statement = await link.prepare(whole.sql)
            row = await statement.fetchrow(*whole.arguments)
        except REFUSED as error:
            await link.simply("ROLLBACK TO run; RELEASE run")
            is_join = isinstance(error, asyncpg.UniqueViolationError)
            if is_join and (answers := await _joining(link, run, _apply)) is not None:
                return answers
        else:
            await link.simply("RELEASE run")
            assert row is not None
            return whole.answers(row[0], row[1] or ())
    middle = len(run) // 2
    return await _apply(link, run[:middle]) + await _apply(link, run[middle:])


async def _apply_alone(link: Link, write: Write) -> Answer:
    """Apply one write, or undo it alone and say why it was refused.

    What somebody else has inserted since this one looked is there at the second look, what they have
    deleted is gone.
    """
    await link.simply("SAVEPOINT write")
    answer: Answer
    try:
        answer = await _play(link, write)
    except (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError):
        await link.simply("ROLLBACK TO write")
        answer = await _play_or_explain(link, write)
    except REFUSED as error:
        answer = await _explained(link, write, error)
    await link.simply(
        "ROLLBACK TO write; RELEASE write" if isinstance(answer, PerdureError) else "RELEASE write"
    )
    return answer


async def _play_or_explain(link: Link, write: Write) -> Answer:
    try:
        return await _play(link, write)
    except REFUSED as error:
        return await _explained(link, write, error)


async def _play(link: Link, write: Write) -> Answer:
    """The write's script, then the user's own statements; a refusal of ours is a value."""
    try:
        answer: Answer = await link.run(APPLY[type(write)](write))
        await execute_statements(link, statements_of(write, answer))
    except PerdureError as error:
        return error
    return answer


async def _explained(link: Link, write: Write, error: Exception) -> StoreError | PerdureError:
    """Undo the write and tell what the broken constraint means. Raises what will pass by itself."""
    if isinstance(error, PASSING):
        raise error
    await link.simply("ROLLBACK TO write")
    return await link.run(explain(write)) or refused(error, type(write).__name__)


async def _bury(link: Link, pid: int | None) -> None:
    """End the server's process of the session that was lost, as far as the server can be reached."""
    if pid is None:
        return
    try:
        with anyio.move_on_after(BURIAL_S):
            connection = await link.open()
            await connection.fetchval(END_OURS, pid, int(BURIAL_S * 1000))
    except FAILURES:
        link.drop()  # a server that is down has no processes
