"""The hot questions on SQLite are answered by an index."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from perdure.store.scripts import pages, rows
from perdure.store.scripts.pages import executions
from perdure.store.scripts.reads import _DUE, _SUSPECTS
from perdure.store.states import Status

pytestmark = pytest.mark.anyio


async def test_the_hot_questions_are_answered_by_an_index(book):
    """The plan names the partial index and never scans the table of executions."""
    questions = {
        "workflow_executions_claimable": rows.EXECUTION
        + f"WHERE {rows.CLAIMABLE} ORDER BY e.priority DESC, e.no LIMIT 10",
        "workflow_timers_due": "SELECT e.id "
        + _DUE.replace("?", "-1")
        + "AND t.due_at <= 5 AND (t.due_at, t.execution_no) > (1, 2) "
        + "ORDER BY t.due_at, t.execution_no LIMIT 10",
        "workflow_messages_unapplied": rows.MESSAGE
        + "WHERE m.execution_no = 1 AND m.applied_version IS NULL ORDER BY m.no",
        "workflow_events_execution": rows.EVENT + "WHERE v.execution_no = 1 AND v.id > 7 ORDER BY v.id",
        "workflow_events_command": rows.EVENT + "WHERE v.execution_no = 1 AND v.command_id = 'c'",
    }
    for index, question in questions.items():
        plan = "\n".join(row[3] for row in await book.raw("EXPLAIN QUERY PLAN " + question))
        assert index in plan, plan
        assert "TEMP B-TREE" not in plan, plan
        assert "SCAN workflow_executions" not in plan, plan


async def test_suspects_are_looked_for_among_what_can_be_claimed_alone(book):
    """However many only wait: each sweep asks, and a scan of a million that wait would take half a second."""
    plan = [row[3] for row in await book.raw("EXPLAIN QUERY PLAN " + _SUSPECTS.replace("?", "1"))]
    assert "SCAN e USING INDEX workflow_executions_claimable" in plan
    assert not any("workflow_executions_unfinished" in line for line in plan)


@pytest.mark.parametrize(
    ("status", "index"), [(Status.RUNNING, "unfinished"), (Status.PAUSED, "paused"), (None, "workflow")]
)
async def test_a_workflow_s_work_is_looked_for_among_what_has_not_ended(
    book, status: Status | None, index: str
):
    """However many of its executions have."""
    no_filter = {"since": None, "parent": None, "only_top": False, "limit": 9, "after": None}
    question, parameters = next(executions(status=status, workflow="order", **no_filter))
    plan = "\n".join(row[3] for row in await book.raw("EXPLAIN QUERY PLAN " + question, *parameters))
    assert f"INDEX workflow_executions_{index}" in plan, plan


async def test_what_was_created_lately_is_listed_without_a_look_at_what_came_before(book, monkeypatch):
    """The index of times leads to the first of it, where a page would not be full."""
    monkeypatch.setattr(pages, "FEW", 2)
    for number in range(3):
        await book.start(f"e{number}")
    no_filter = {"status": None, "workflow": None, "parent": None, "only_top": False, "after": None}
    for since, first in ((book.now, 3), (book.now + 1, pages.NO_MAX), (0, 0)):
        script = executions(since=since, limit=9, **no_filter)
        question, parameters = next(script)
        [(*_, plan)] = await book.raw("EXPLAIN QUERY PLAN " + question, *parameters)
        assert "COVERING INDEX workflow_executions_created" in plan
        found = await book.raw(question, *parameters)
        question, parameters = script.send(SimpleNamespace(fetchall=lambda found=found: found))
        assert parameters == [since, first, 9]
        plan = [row[3] for row in await book.raw("EXPLAIN QUERY PLAN " + question, *parameters)]
        assert "SCAN e" not in plan
