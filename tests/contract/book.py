"""A book that writes the usual things into any store, for tests that look at what came of it."""

from __future__ import annotations

import sqlite3
from typing import Any

import asyncpg
import pytest

from perdure.store import SQLiteStore
from perdure.store.errors import PerdureError
from perdure.store.postgres import PostgresStore
from perdure.store.postgres.dialect import quoted
from perdure.store.protocol import Answer
from perdure.store.records import PAGE_MAX, Execution
from perdure.store.schedule_writes import FiringWrite, MoveSchedule, PutSchedule
from perdure.store.states import State, StepState
from perdure.store.writes import (
    AttemptWrite,
    Change,
    Changed,
    Claim,
    Delta,
    EventWrite,
    Post,
    Publish,
    PublishStep,
    Register,
    Start,
    Started,
    Statement,
    Write,
)

NOON = 1_750_000_000_000  # when the tests begin, in milliseconds
TABLES = (
    "workflow_slots",
    "workflow_guards",
    "runners",
    "workflows",
    "workflow_steps",
    "workflow_dependencies",
    "workflow_executions",
    "workflow_contexts",
    "workflow_step_executions",
    "workflow_events",
    "workflow_deletions",
    "workflow_checkpoints",
    "workflow_messages",
    "workflow_timers",
    "workflow_signals",
    "workflow_approvals",
    "workflow_forks",
    "workflow_deliveries",
    "workflow_execution_moves",
)


class Book:
    """Writes the usual things into a store; every write comes a second after the one before."""

    broken = (sqlite3.IntegrityError, asyncpg.IntegrityConstraintViolationError)  # what `raw` raises then

    def __init__(self, store: Any) -> None:
        """Write into that store, which is open."""
        self.store = store
        self.now = NOON
        self.workflow_no = 0

    def tick(self) -> int:
        """The next second."""
        self.now += 1_000
        return self.now

    async def answer_to(self, write: Write) -> Answer:
        """What the store says to this one write, be it a refusal."""
        [answer] = await self.store.commit([write])
        return answer

    async def write(self, write: Write) -> Any:
        """The answer to a write that is meant to be taken. Raises the refusal."""
        answer = await self.answer_to(write)
        if isinstance(answer, PerdureError):
            raise answer
        return answer

    async def refusal_of(self, write: Write) -> PerdureError:
        """The refusal of a write, once it is clear that it changed nothing."""
        before = await self.facts()
        answer = await self.answer_to(write)
        assert isinstance(answer, PerdureError)
        assert await self.facts() == before
        return answer

    def publication(self, name: str = "order", *, revision: str = "r1", **fields: Any) -> Publish:
        """A revision with the steps a, b (needs a) and c (needs both)."""
        steps = (
            PublishStep(no=0, key="a", level=0, agent="one", needs=()),
            PublishStep(no=1, key="b", level=1, agent="two", needs=(0,)),
            PublishStep(no=2, key="c", level=2, agent="three", needs=(0, 1)),
        )
        usual = {"version": None, "description": None, "author": None, "tags": (), "steps": steps}
        definition = b'{"name":"%s"}' % name.encode()
        return Publish(
            name=name, revision=revision, definition=definition, at=self.tick(), **(usual | fields)
        )

    async def publish(self, name: str = "order", *, revision: str = "r1", **fields: Any) -> int:
        """Publish it; what is started afterwards is an execution of it."""
        self.workflow_no = await self.write(self.publication(name, revision=revision, **fields))
        return self.workflow_no

    async def register(self, id: str = "runner-1", **fields: Any) -> int:
        """Enter a runner."""
        usual: dict[str, Any] = {
            "pid": 1,
            "host": "here",
            "kind": "worker",
            "lock_path": None,
            "doorbell": None,
            "at": self.tick(),
        }
        return int(await self.write(Register(id=id, **(usual | fields))))

    def starting(self, id: str = "e1", *, state: State = State.EXECUTING, **fields: Any) -> Start:
        """An execution that nobody owns, with one line in its log."""
        usual: dict[str, Any] = {
            "workflow_no": self.workflow_no,
            "runner_no": None,
            "priority": 0,
            "triggered_by": None,
            "parent_id": None,
            "trace_id": f"trace-{id}",
            "agents": None,
            "context": b"{}",
            "deadline_at": None,
            "remaining_ms": None,
            "delta": Delta(events=(EventWrite("workflow_started"),)),
        }
        return Start(id=id, state=state, at=self.tick(), **(usual | fields))

    def starting_with(self, id: str, *statements: Statement) -> Start:
        """An execution that begins with statements of the user's own."""
        return self.starting(id, delta=Delta(statements=statements))

    async def start(self, id: str = "e1", *, state: State = State.EXECUTING, **fields: Any) -> Execution:
        """Start it, as it then is in the store; a workflow is published if none is there."""
        if not self.workflow_no:
            await self.publish()
        started = await self.write(self.starting(id, state=state, **fields))
        assert isinstance(started, Started)
        return await self.execution(id)

    async def execution(self, id: str = "e1") -> Execution:
        """The execution as it is in the store."""
        execution = await self.store.execution(id)
        assert execution is not None
        return execution

    def change(self, execution: Execution, state: State | None = None, **parts: Any) -> Change:
        """A change of what was read: rows of a delta by their names, other columns in `fields`.

        `version`, `epoch` and `before` are the execution's unless they are given. One event says
        `noted` unless `events` says otherwise.
        """
        guard = {
            name: parts.pop(name, getattr(execution, name)) for name in ("version", "epoch") if name in parts
        }
        usual = {"version": execution.version, "epoch": execution.epoch}
        before = parts.pop("before", execution.state)
        fields = parts.pop("fields", {})
        claimed_by = parts.pop("claimed_by", None)
        parts.setdefault("events", (EventWrite("noted"),))
        return Change(
            execution_no=execution.no,
            execution_id=execution.id,
            before=before,
            state=state or execution.state,
            at=self.tick(),
            delta=Delta(**parts),
            fields=fields,
            claimed_by=claimed_by,
            **(usual | guard),
        )

    async def move(self, execution: Execution, state: State | None = None, **parts: Any) -> Execution:
        """Make that change; the execution as it then is."""
        changed = await self.write(self.change(execution, state, **parts))
        assert isinstance(changed, Changed)
        return await self.execution(execution.id)

    def attempt(
        self,
        step_no: int = 0,
        state: StepState = StepState.RUNNING,
        *,
        before: StepState | None = None,
        **fields: Any,
    ) -> AttemptWrite:
        """The first attempt of a step, inserted unless `before` is given."""
        return AttemptWrite(
            step_no, fields.pop("generation", 0), fields.pop("attempt", 1), 0, before, state, **fields
        )

    def outcome(self, step_no: int, output: bytes = b"1", **fields: Any) -> AttemptWrite:
        """A step that has completed at once."""
        return self.attempt(step_no, StepState.COMPLETED, is_outcome=True, output=output, **fields)

    def claim(self, execution: Execution, runner_no: int) -> Claim:
        """Take over what was read."""
        return Claim(
            execution_no=execution.no,
            execution_id=execution.id,
            epoch=execution.epoch,
            runner_no=runner_no,
            at=self.tick(),
        )

    async def add_family(self) -> None:
        """Two tables of the user's own beside the store's: no child without a parent at the commit."""
        await self.raw("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
        reference = "INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED"
        await self.raw(f"CREATE TABLE children (parent {reference})")

    def post(self, id: str = "e1", *, command_id: str = "c1", payload: bytes = b"{}") -> Post:
        """A message for the durable inbox."""
        return Post(
            execution_id=id, command_id=command_id, kind="pause", payload=payload, sender=None, at=self.tick()
        )

    @staticmethod
    def put_schedule(id: str = "nightly", **fields: Any) -> PutSchedule:
        """A schedule whose next moment is 2,000."""
        given = {
            "workflow": "order",
            "rule": b'{"everyMs":1000}',
            "is_declared": False,
            "next_at": 2_000,
            "at": 1_500,
        }
        return PutSchedule(id=id, **(given | fields))

    @staticmethod
    def move_schedule(*firings: FiringWrite, id: str = "nightly", **fields: Any) -> MoveSchedule:
        """What was decided of its moment 2,000."""
        given = {
            "version": 1,
            "considered_at": 2_000,
            "next_at": 3_000,
            "is_paused": False,
            "pending": (),
            "last_execution": None,
            "at": 2_001,
        }
        return MoveSchedule(id=id, firings=firings, **(given | fields))

    async def mail(self, runner_no: int | None) -> list[str]:
        """Ids of this runner's (None: of nobody's) executions with unread messages."""
        return [id_ for _, id_ in await self.store.mail(runner_no=runner_no, limit=PAGE_MAX)]

    async def unread(self, id: str = "e1") -> list[int]:
        """The numbers of its messages that are not applied yet."""
        _, messages = await self.store.inbox(id)
        return [message.no for message in messages]

    async def facts(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything the store holds, to tell that a refusal changed nothing."""
        return {table: await self.raw(f"SELECT * FROM {table}") for table in TABLES}

    async def raw(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement past the store, on the connection that writes."""
        if isinstance(self.store, SQLiteStore):
            return await self.store._writer.run(
                lambda link: link.connection.execute(sql, parameters).fetchall()
            )
        if isinstance(self.store, PostgresStore):
            return await self._raw_over_the_wire(sql, parameters)
        pytest.skip("looks into the tables, which only our own stores let it")

    async def _raw_over_the_wire(self, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        link = self.store._writer
        connection = await link.open()
        mine = await connection.fetchval("SHOW search_path")
        await connection.execute(f"SET search_path TO {mine}, {quoted(link.address.schema)}")
        try:
            return [tuple(row) for row in await connection.fetch(self.sql(sql), *parameters)]
        finally:
            await connection.execute("RESET search_path")

    async def skip_to(self, no: int) -> None:
        """Let the next execution have that number."""
        if isinstance(self.store, PostgresStore):
            sequence = "pg_get_serial_sequence('workflow_executions', 'no')"
            await self.raw(f"SELECT setval({sequence}, ?::bigint, false)", no)
            return
        await self.raw("DELETE FROM sqlite_sequence WHERE name = 'workflow_executions'")
        await self.raw("INSERT INTO sqlite_sequence (name, seq) VALUES ('workflow_executions', ?)", no - 1)

    def sql(self, sql: str) -> str:
        """A statement with `?` as this store wants to have it."""
        parts = sql.split("?")
        if isinstance(self.store, SQLiteStore) or len(parts) == 1:
            return sql
        return parts[0] + "".join(f"${number}{part}" for number, part in enumerate(parts[1:], 1))

    async def damage(self, *statements: str) -> None:
        """Do what the schema forbids, as a failing disk or a careless hand would."""
        if isinstance(self.store, SQLiteStore):
            await self.raw("PRAGMA foreign_keys = OFF")
            await self.raw("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            await self.raw(statement)
