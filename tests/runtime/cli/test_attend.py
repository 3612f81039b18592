"""Waiting for an execution: its end, Ctrl-C, the command's patience, and what is said meanwhile."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from perdure.runtime.cli import attend as attending
from perdure.runtime.cli.attend import attend
from perdure.runtime.cli.live import describe
from perdure.runtime.cli.options import Reading
from perdure.runtime.cli.render import Output
from perdure.runtime.cli.session import Session
from perdure.runtime.config import resolve
from perdure.runtime.execution import Result
from perdure.store.errors import IllegalTransition
from perdure.store.records import Error, Event
from perdure.store.states import State, Status


def _event(number: int, type_: str, **more: Any) -> Event:
    given = {"step": None, "attempt": None, "by": None, "command_id": None, "data": None} | more
    at = datetime(2026, 3, 1, 12, 0, 0, number * 1_000, tzinfo=UTC)
    return Event(id=number, execution_id="e1", version=number, at=at, type=type_, trace_id="t", **given)


class FakeExecution:
    """An execution that does what a test says."""

    id = "e1"

    def __init__(self, *, events: list[Event], ends: bool = True, is_busy: bool = False) -> None:
        """`ends`: it completes by itself. `is_busy`: a drain never settles, only an interrupt does."""
        self.log = events
        self.is_busy = is_busy
        self.paused: list[str] = []
        self.ended = anyio.Event()
        self.watched = anyio.Event()
        self.standing = SimpleNamespace(state="executing", paused_by=None, pause_reason=None)
        if ends:
            self.ended.set()

    async def result(self, *, check: bool) -> Result:
        """Wait for the end."""
        await self.ended.wait()
        return Result(id=self.id, status=Status.COMPLETED, outputs={"a": [1]}, steps={"a": [1]})

    async def events(self, *, after: int = 0, follow: bool = False) -> AsyncIterator[Event]:
        """Tell the log, then nothing more."""
        for event in self.log:
            if event.id > after:
                yield event
        self.watched.set()
        if follow:
            await anyio.sleep_forever()

    async def status(self) -> SimpleNamespace:
        """Where it stands, as a test says."""
        return self.standing

    async def pause(self, *, mode: str, by: str) -> State:
        """Settle at once, unless busy."""
        self.paused.append(mode)
        if self.is_busy and mode == "drain":
            await anyio.sleep_forever()
        return State.PAUSED


@pytest.fixture
def session() -> Session:
    """A session that prints into memory."""
    return Session(Reading(), config=resolve(environment={}), out=Output(io.StringIO(), format="json"))


async def test_the_end_is_printed_and_is_the_exit_code(session: Session, capsys: pytest.CaptureFixture[str]):
    """Events go to stderr, the result to stdout; old events are not told again."""
    log = [
        _event(1, "step_started", step="a"),
        _event(2, "step_completed", step="a"),
        _event(3, "workflow_completed"),
    ]
    code = await attend(FakeExecution(events=log), session=session, after=1)
    assert code == 0
    assert json.loads(session.out._stream.getvalue())["outputs"] == {"a": [1]}
    assert capsys.readouterr().err == "a: completed\nworkflow completed\n"


async def test_ctrl_c_pauses_by_draining_and_says_how_to_resume(
    session: Session, capsys: pytest.CaptureFixture[str]
):
    """The first one; the handler is gone afterwards."""
    execution = FakeExecution(events=[], ends=False)
    before = signal.getsignal(signal.SIGINT)
    async with anyio.create_task_group() as group:
        group.start_soon(_press_when_watched, execution)
        code = await attend(execution, session=session)
    assert code == 13
    assert execution.paused == ["drain"]
    assert "perdure resume e1" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_who_ends_the_process_leaves_without_a_pause(
    session: Session, capsys: pytest.CaptureFixture[str], number: signal.Signals
):
    """Whoever looks after processes, or closes a terminal, wants this one to go, and nothing else."""
    execution = FakeExecution(events=[], ends=False)
    async with anyio.create_task_group() as group:
        group.start_soon(_press_when_watched, execution, number)
        code = await attend(execution, session=session)
    assert (code, execution.paused) == (143, [])
    assert "stopped; go on with: perdure resume e1" in capsys.readouterr().err
    assert signal.getsignal(number) is signal.SIG_DFL


def test_what_is_to_be_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch):
    """As SIGHUP under nohup."""
    assert attending.terminations() == [signal.SIGTERM, signal.SIGHUP]
    monkeypatch.setattr(signal, "getsignal", {signal.SIGHUP: signal.SIG_IGN}.get)
    assert attending.terminations() == [signal.SIGTERM]


async def test_ctrl_c_interrupts_what_does_not_drain_in_time(
    session: Session, monkeypatch: pytest.MonkeyPatch
):
    """Who presses Ctrl-C wants the prompt back."""
    monkeypatch.setattr(attending, "DRAIN_GRACE_S", 0)
    execution = FakeExecution(events=[], ends=False, is_busy=True)
    async with anyio.create_task_group() as group:
        group.start_soon(_press_when_watched, execution)
        assert await attend(execution, session=session) == 13
    assert execution.paused == ["drain", "interrupt"]


async def test_an_end_that_overtakes_ctrl_c_is_the_end(session: Session):
    """A pause that comes too late changes nothing."""

    class Ending(FakeExecution):
        async def pause(self, *, mode: str, by: str) -> State:
            """Come too late."""
            self.ended.set()
            raise IllegalTransition("e1", state="completed", command="pause")

    execution = Ending(events=[], ends=False)
    async with anyio.create_task_group() as group:
        group.start_soon(_press_when_watched, execution)
        assert await attend(execution, session=session) == 0


async def test_a_pause_from_elsewhere_is_told_once_and_waited_through(
    session: Session, capsys: pytest.CaptureFixture[str]
):
    """Who paused, why, and how to go on; what was resumed long ago is no news."""
    execution = FakeExecution(events=[_event(1, "workflow_paused")], ends=False)
    execution.standing = SimpleNamespace(state="paused", paused_by="ada", pause_reason="stocktaking")
    async with anyio.create_task_group() as group:
        group.start_soon(_end_when_told, execution)
        assert await attend(execution, session=session) == 0
    assert execution.paused == []
    line = "paused by ada (stocktaking); still waiting here; go on with: perdure resume e1\n"
    assert capsys.readouterr().err.count(line) == 1

    execution.standing = SimpleNamespace(state="executing", paused_by=None, pause_reason=None)
    await attend(execution, session=session)
    assert "still waiting" not in capsys.readouterr().err


async def _end_when_told(execution: FakeExecution) -> None:
    await execution.watched.wait()
    await anyio.wait_all_tasks_blocked()
    execution.ended.set()


async def test_timeout_pauses_and_exits_124(session: Session):
    """The execution is not lost with the command's patience."""
    execution = FakeExecution(events=[], ends=False)
    assert await attend(execution, session=session, timeout=0) == 124
    assert execution.paused == ["drain"]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (_event(1, "workflow_started"), "workflow started"),
        (_event(1, "step_started", step="a", attempt=2), "a: started (attempt 2)"),
        (
            _event(1, "step_failed", step="a", data={"error": {"type": "ValueError", "message": "no"}}),
            "a: failed: ValueError: no",
        ),
    ],
)
def test_an_event_is_told_in_a_few_words(event: Event, text: str):
    """What, which step, which attempt, why."""
    assert describe(event) == text


def test_a_failure_names_the_step_and_the_reason(capsys: pytest.CaptureFixture[str]):
    """For people the outputs are a table and the error is on stderr."""
    out = Output(io.StringIO())
    session = Session(Reading(), config=resolve(environment={}), out=out)
    error = Error(type="ValueError", message="no", step="a")
    attending.show_result(
        Result(id="e1", status=Status.FAILED, outputs={"b": "x"}, steps={"b": "x"}, error=error),
        session=session,
    )
    assert out._stream.getvalue() == "✘ failed  e1\nSTEP  OUTPUT\nb     x\n"
    assert capsys.readouterr().err == "ValueError in step a: no\n"


async def _press_when_watched(execution: FakeExecution, number: signal.Signals = signal.SIGINT) -> None:
    await execution.watched.wait()
    signal.raise_signal(number)
