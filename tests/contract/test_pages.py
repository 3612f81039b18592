"""What people read: lists with filters and pages, ids by their beginning, counts of steps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from perdure.store.errors import NotFound
from perdure.store.records import Kin
from perdure.store.states import STATUS, State, Status, StepState
from perdure.store.writes import DeleteExecution

pytestmark = pytest.mark.anyio


async def test_ids_are_found_by_their_beginning_newest_first(book):
    """Upper and lower case are two things; nothing in front means everything."""
    for id_ in ("order-1", "order-2", "Order-3", "other"):
        await book.start(id_)
    assert await book.store.find("order") == ["order-2", "order-1"]
    assert await book.store.find("order-1") == ["order-1"]
    assert await book.store.find("o", limit=2) == ["other", "order-2"]
    assert await book.store.find("") == ["other", "Order-3", "order-2", "order-1"]
    assert await book.store.find("x") == []


@pytest.mark.parametrize(
    "text", ["%", "_", "a%", "a_c", "a*", "[a]", "'", '"', "a'--", "a\x00", "é", "\x7f", "a b"]
)
async def test_nothing_in_a_prefix_is_a_pattern(book, text: str):
    """What cannot begin an id finds nothing, and `_` means itself."""
    await book.start("abc")
    assert await book.store.find(text) == []
    await book.start("a_c")
    assert await book.store.find("a_") == ["a_c"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
async def test_a_walk_by_pages_meets_every_execution_once(book, size: int):
    """Newest first, whatever the pages' size."""
    for number in range(7):
        await book.start(f"e{number}")
    walked, after = [], None
    while page := await book.store.executions(limit=size, after=after):
        walked += [summary.id for summary in page]
        after = walked[-1]
    assert walked == [f"e{number}" for number in reversed(range(7))]


async def test_a_walk_from_what_was_deleted_meanwhile_says_so(book):
    """An empty page would pass for the end of the list."""
    await book.move(await book.start(), State.FAILED)
    await book.write(DeleteExecution(execution_id="e1"))
    with pytest.raises(NotFound, match="begin the list anew"):
        await book.store.executions(after="e1")


@pytest.mark.parametrize("status", list(Status))
async def test_a_status_selects_exactly_its_states(book, status: Status):
    """In the list and in the view that people may query by themselves."""
    for state in State:
        await book.start(f"e-{state}")
        await book.raw("UPDATE workflow_executions SET state = ? WHERE id = ?", state, f"e-{state}")
    page = await book.store.executions(status=status, limit=100)
    assert {summary.state for summary in page} == {state for state in State if STATUS[state] is status}
    assert {summary.status for summary in page} == {status}


async def test_filters_narrow_a_list_together(book):
    """By workflow (all its revisions) and by when they were created."""
    await book.publish("order", revision="r1")
    await book.start("old")
    await book.publish("order", revision="r2")
    moment = datetime.fromtimestamp(book.now / 1000, UTC)
    await book.start("new")
    await book.publish("other")
    await book.start("foreign")

    async def ids(**filters):
        return [summary.id for summary in await book.store.executions(**filters)]

    assert await ids(workflow="order") == ["new", "old"]
    assert await ids(since=moment) == ["foreign", "new"]
    assert await ids(workflow="order", since=moment, status=Status.RUNNING) == ["new"]
    assert await ids(workflow="none") == []


async def test_a_summary_counts_the_newest_attempt_of_each_step(book):
    """Of every step one attempt counts; a failed one that will be tried again is none of the failed."""
    execution = await book.start(priority=2, triggered_by="me")
    execution = await book.move(
        execution,
        attempts=(
            book.outcome(0),
            book.attempt(1, StepState.FAILED),
            book.attempt(1, StepState.WAITING, attempt=2),
            book.attempt(2, StepState.SKIPPED, attempt=0, is_outcome=True),
        ),
    )
    summary = await book.store.summary("e1")
    counts = (summary.steps_completed, summary.steps_failed, summary.steps_skipped, summary.steps_running)
    assert (summary.steps_total, counts) == (3, (1, 0, 1, 1))
    reopened = (
        book.attempt(0, generation=1),
        book.attempt(2, StepState.FAILED, generation=1, is_outcome=True),
    )
    await book.move(execution, attempts=reopened)
    summary = await book.store.summary("e1")
    counts = (summary.steps_completed, summary.steps_failed, summary.steps_skipped, summary.steps_running)
    assert counts == (0, 1, 0, 2)
    assert [summary] == await book.store.executions()


async def test_a_summary_of_an_execution_that_has_not_begun_counts_nothing(book):
    """It is there all the same, with all its steps ahead."""
    await book.start(state=State.IDLE)
    [summary] = await book.store.executions()
    assert (summary.steps_total, summary.steps_completed, summary.steps_running) == (3, 0, 0)
    assert (summary.status, summary.duration_ms) == (Status.INITIATED, None)


async def test_a_summary_has_the_version_that_a_command_may_expect(book):
    """The one the execution itself has, after every move."""
    execution = await book.start()
    for _ in range(2):
        summary = await book.store.summary("e1")
        assert summary.version == (await book.store.execution("e1")).version
        assert [summary] == await book.store.executions()
        execution = await book.move(execution)
    assert summary.version == execution.version - 1


async def test_a_summary_says_why_by_whom_and_since_when_an_execution_is_paused(book):
    """What a list of paused executions is for."""
    fields = {
        "pause_mode": "drain",
        "paused_by": "anna",
        "pause_reason": "month's end",
        "paused_at": book.now,
    }
    await book.move(await book.start(), State.PAUSED, fields=fields)
    [summary] = await book.store.executions(status=Status.PAUSED)
    assert (summary.pause_mode, summary.paused_by, summary.pause_reason) == ("drain", "anna", "month's end")
    assert summary.paused_at.timestamp() * 1000 == fields["paused_at"]


async def test_the_view_of_steps_shows_the_newest_attempt_of_each(book):
    """And a step that has not begun as pending."""
    execution = await book.start()
    attempts = (
        book.attempt(0, StepState.FAILED, started_at=10, finished_at=15),
        book.attempt(0, attempt=2, started_at=20),
    )
    await book.move(execution, attempts=attempts)
    shown = await book.raw(
        "SELECT step, state, attempts, duration_ms FROM workflow_step_summary ORDER BY step_no"
    )
    assert shown == [("a", "running", 2, None), ("b", "pending", 0, None), ("c", "pending", 0, None)]


async def test_the_view_of_recent_runs_reads_without_a_manual(book):
    """One line for each, newest first, times as text."""
    await book.start("e1")
    await book.start("e2")
    shown = await book.raw("SELECT id, workflow, status, created FROM workflow_recent_runs")
    assert [row[:3] for row in shown] == [("e2", "order", "running"), ("e1", "order", "running")]
    assert shown[0][3].startswith("2025-06-15 ")


async def test_statistics_tell_how_each_workflow_has_fared(book):
    """The ratio is of what completed or failed; durations of what has finished."""
    await book.publish("order")
    for number, state in enumerate((State.COMPLETED, State.COMPLETED, State.FAILED, State.CANCELLED)):
        execution = await book.start(f"e{number}")
        fields = {"started_at": 1_000, "finished_at": 2_000 + number}
        if state is State.COMPLETED:
            execution = await book.move(execution, State.AGGREGATING_RESULTS)
        await book.move(execution, state, fields=fields)
    await book.start("running")
    await book.publish("other")
    await book.start("another")
    order, other = await book.store.statistics()
    assert (order.workflow, order.executions, order.active) == ("order", 5, 1)
    assert (order.completed, order.failed, order.cancelled) == (2, 1, 1)
    assert order.success_ratio == pytest.approx(2 / 3)
    assert (order.duration_ms_min, order.duration_ms_max, order.duration_ms_mean) == (1_000, 1_003, 1_001.5)
    assert (other.success_ratio, other.duration_ms_mean) == (None, None)
    assert await book.store.statistics(workflow="other") == [other]
    assert await book.store.statistics(workflow="none") == []


async def test_what_no_name_can_be_is_nowhere(book):
    """A NUL is in no text of a server's; to ask for one is no failure of the store."""
    await book.start()
    store, nobody = book.store, "e1\0"
    loads = (store.load, store.load_parked, store.load_ended)
    for ask in (store.execution, store.summary, *loads, store.inbox, store.schedule):
        assert await ask(nobody) is None
    for ask in (store.attempts, store.messages, store.checkpoints, store.loops, store.versions):
        assert await ask(nobody) == []
    assert await store.workflow(nobody) is None
    for filters in ({"workflow": nobody}, {"parent": nobody}):
        assert await store.executions(**filters) == []
    assert await store.statistics(workflow=nobody) == []
    assert await store.kin(nobody, limit=9) == Kin(depth=0, children=0)
    with pytest.raises(NotFound):
        await store.executions(after=nobody)
