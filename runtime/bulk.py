"""One command for many executions: those that a filter chooses, each with a result of its own."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio
import msgspec

from perdure.runtime import arguments
from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.durations import Duration, duration_ms
from perdure.runtime.near import quoted
from perdure.store.errors import PerdureError
from perdure.store.protocol import Store
from perdure.store.records import ExecutionSummary
from perdure.store.scripts.questions import Questions
from perdure.store.scripts.rows import moment
from perdure.store.states import State, Status

if TYPE_CHECKING:
    from perdure.runtime.assembly import Machine
    from perdure.runtime.execution import Execution

AT_ONCE: Final = 16  # commands on their way at the same time; a group commit takes them together
CHOSEN_MAX: Final = 10_000  # executions of one bulk command; more are taken by giving it again
PAGE: Final = 500  # records read at once
FIELDS: Final = ("status", "state", "workflow", "version", "id", "triggered-by", "error", "last")


Act = Callable[["Execution"], Awaitable[Any]]
Outcome = Literal["done", "refused", "asked", "would be done", "would be refused"]

WOULD: Final[dict[Outcome, Outcome]] = {"done": "would be done", "refused": "would be refused"}


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Which executions are meant: those for which everything that is given holds."""

    status: Status | None = None
    state: State | None = None
    workflow: str | None = None
    version: str | None = None
    id: str | None = None
    triggered_by: str | None = None
    error: str | None = None
    last: timedelta | None = None

    def chooses(self, summary: ExecutionSummary) -> bool:
        """Whether an execution is one of them; when it began is asked of the store."""
        error = None if summary.error is None else summary.error.type
        return (
            self.status in (None, summary.status)
            and self.state in (None, summary.state)
            and self.workflow in (None, summary.workflow)
            and self.version in (None, summary.workflow_version)
            and (self.id is None or summary.id.startswith(self.id))
            and self.triggered_by in (None, summary.triggered_by)
            and self.error in (None, error)
        )


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the command for one execution: where it stands, or why it was refused."""

    id: str
    workflow: str
    outcome: Outcome
    state: State
    reason: str | None = None


def read_where(text: str) -> Where:
    """A filter such as `state=failed workflow=review last=7d`; all of it has to hold.

    Fields are those of `perdure list` and `history`; a value with spaces stands in quotes. Raises
    InvalidArgument for a field or value nobody knows, and for a filter that lets everything through.
    """
    given: dict[str, Any] = {}
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidArgument(f"where {quoted(text)}: {str(error).lower()}") from None
    for word in words:
        name, equals, value = word.partition("=")
        if name not in FIELDS or not equals or not value:
            known = ", ".join(FIELDS)
            raise InvalidArgument(f"where {quoted(word)}: give FIELD=VALUE; the fields are {known}")
        if name in given:
            raise InvalidArgument(f"where: {name} is there twice: all of a filter has to hold")
        given[name] = _value(name, value)
    if not given:
        raise InvalidArgument("where is empty: it would mean every execution; say at least its status")
    return Where(**{name.replace("-", "_"): value for name, value in given.items()})


async def choose(
    store: Store | Questions, where: Where, *, now: datetime, limit: int = CHOSEN_MAX
) -> list[ExecutionSummary]:
    """The executions a filter means, newest first, at most `limit` of them."""
    status = where.status or (None if where.state is None else where.state.status)
    since = None if where.last is None else now - where.last
    found: list[ExecutionSummary] = []
    after: str | None = None
    while len(found) < limit:
        page = await store.executions(
            status=status, workflow=where.workflow, since=since, limit=PAGE, after=after
        )
        found += [summary for summary in page if where.chooses(summary)]
        if len(page) < PAGE:
            break
        after = page[-1].id
    return found[:limit]


async def for_each(
    runtime: Bulk, chosen: Sequence[ExecutionSummary], act: Act, *, timeout: float | None = None
) -> list[Done]:
    """Do it to each of them, several at once; a refusal of one is its result and stops nobody.

    After `timeout` seconds those that have not answered yet are `asked`: the command stands. What `act`
    raises beside a refusal ends it and is raised.
    """
    done: dict[str, Done] = {}
    room = anyio.CapacityLimiter(AT_ONCE)

    async def one(summary: ExecutionSummary) -> None:
        async with room:
            done[summary.id] = await _apply(runtime, summary, act)

    try:
        with anyio.move_on_after(timeout):
            async with anyio.create_task_group() as group:
                for summary in chosen:
                    group.start_soon(one, summary)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return [done.get(summary.id) or _done(summary, "asked") for summary in chosen]


def rehearse(chosen: Sequence[ExecutionSummary], *, allowed: AbstractSet[State]) -> list[Done]:
    """What would become of it: a command is taken in some states and refused in the others."""
    return [
        _done(summary, "would be done")
        if summary.state in allowed
        else _done(summary, "would be refused", reason=f"it is {summary.state}")
        for summary in chosen
    ]


class Bulk(ABC):
    """The part of a runtime that does something to many executions."""

    store: Store
    machine: Machine

    @abstractmethod
    def check_open(self) -> None:
        """Raise RuntimeClosed outside the `async with`."""

    @abstractmethod
    async def execution(self, execution_id: str) -> Execution:
        """The handle of an execution that exists. Raises NotFound."""

    async def select(self, where: str | Where, *, limit: int = CHOSEN_MAX) -> list[ExecutionSummary]:
        """The executions a filter such as `state=failed workflow=review` means, newest first.

        Fields: status, state, workflow, version, id (its beginning), triggered-by, error (its type) and
        last (began within, such as 7d); all of it has to hold. Raises InvalidArgument.
        """
        self.check_open()
        arguments.at_least_one(limit, what="limit")
        if isinstance(where, str):
            where = read_where(where)
        wanted = arguments.made_of(Where, where, what="where", example="'state=failed last=7d'")
        now = moment(self.machine.services.now_ms())
        return await choose(self.store, wanted, now=now, limit=limit)

    async def bulk(
        self,
        where: str | Where,
        act: Act,
        *,
        limit: int = CHOSEN_MAX,
        timeout: Duration | None = None,
    ) -> list[Done]:
        """Do something to each execution that a filter means: `lambda execution: execution.retry()`.

        Answers what became of each; a refusal of one stops nobody. Raises InvalidArgument, and what `act`
        raises beside a refusal: then some may have been done.
        """
        arguments.function(act, what="act")
        seconds = arguments.seconds_of(timeout, what="timeout")
        return await for_each(self, await self.select(where, limit=limit), act, timeout=seconds)


async def _apply(runtime: Bulk, summary: ExecutionSummary, act: Act) -> Done:
    """Do it to one of them; what it is refused for is its result."""
    try:
        execution = await runtime.execution(summary.id)
        await act(execution)
        state = (await execution.status()).state
    except PerdureError as error:
        return _done(summary, "refused", reason=str(error))
    return _done(summary, "done", state=state)


def rehearsed(done: Sequence[Done]) -> list[Done]:
    """What became of those who were only asked whether they would do it, said so."""
    return [msgspec.structs.replace(each, outcome=WOULD.get(each.outcome, each.outcome)) for each in done]


def _done(
    summary: ExecutionSummary, outcome: Outcome, *, state: State | None = None, reason: str | None = None
) -> Done:
    return Done(
        id=summary.id,
        workflow=summary.workflow,
        outcome=outcome,
        state=state or summary.state,
        reason=reason,
    )


def _value(name: str, text: str) -> Any:
    """What the text of a field means. Raises InvalidArgument."""
    try:
        if name == "status":
            return Status(text)
        if name == "state":
            return State(text)
    except ValueError:
        known = ", ".join(Status if name == "status" else State)
        raise InvalidArgument(f"where {name}={text}: unknown; known: {known}") from None
    return timedelta(milliseconds=duration_ms(text, what="last")) if name == "last" else text
