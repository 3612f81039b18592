"""Approvals: kept from the question until the step waits no longer, listed, gone with their execution."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from perdure.store.asking import Approval, ApprovalWrite, Decision, Verdict
from perdure.store.errors import PayloadTooLarge
from perdure.store.records import PAYLOAD_BYTES_MAX
from perdure.store.states import State
from perdure.store.writes import DeleteExecution

pytestmark = pytest.mark.anyio

AT = datetime(2030, 1, 1, tzinfo=UTC)
ANN = Decision(by="ann", verdict=Verdict.APPROVE, at=AT, data={"limit": 3}, comment="fine")
ASKED = Approval(
    step_no=1, generation=0, quorum=2, approvers=("ann", "bob"), message="Ship?", asked_at=7_000, due_at=9_000
)


async def write(book: Any, *approvals: ApprovalWrite, id: str = "e1", state: State | None = None) -> Any:
    """Keep or drop them."""
    execution = (await book.store.load(id)).execution
    return await book.answer_to(book.change(execution, state, approvals=approvals))


async def kept(book: Any, id: str = "e1") -> tuple[Approval, ...]:
    """What the next owner is given."""
    return (await book.store.load(id)).approvals


async def test_what_is_asked_and_decided_is_kept_until_it_is_dropped(book):
    """The newest picture of each step replaces the one before."""
    await book.start()
    await write(book, ApprovalWrite(1, ASKED))
    assert await kept(book) == (ASKED,)
    decided = msgspec.structs.replace(ASKED, decisions=(ANN,))
    early = Approval(step_no=2, generation=3, quorum=1, approvers=())
    await write(book, ApprovalWrite(1, decided), ApprovalWrite(2, early))
    assert await kept(book) == (decided, early)
    await write(book, ApprovalWrite(1, None))
    assert await kept(book) == (early,)


async def test_what_waits_for_people_is_listed_oldest_first_with_its_names(book):
    """What was decided before it was asked waits for nobody."""
    await book.start("e1")
    await book.start("e2")
    later = msgspec.structs.replace(ASKED, step_no=0, asked_at=8_000, due_at=None, decisions=(ANN,))
    await write(
        book,
        ApprovalWrite(0, later),
        ApprovalWrite(2, Approval(step_no=2, generation=0, quorum=1, approvers=())),
    )
    await write(book, ApprovalWrite(1, ASKED), id="e2")
    first, second = await book.store.approvals()
    assert (first.execution_id, first.workflow, first.step, first.state) == (
        "e2",
        "order",
        "b",
        State.EXECUTING,
    )
    assert (first.message, first.approvers, first.quorum) == ("Ship?", ("ann", "bob"), 2)
    assert (first.asked_at.timestamp(), first.due_at and first.due_at.timestamp()) == (7, 9)
    assert (second.execution_id, second.step, second.decisions, second.due_at) == ("e1", "a", (ANN,), None)


async def test_what_waits_is_read_page_by_page(book):
    """Each once, also of those that were asked at the same moment, in one execution or several."""
    for each in ("e1", "e2", "e3"):
        await book.start(each)
        first = msgspec.structs.replace(ASKED, step_no=0)
        await write(book, ApprovalWrite(0, first), ApprovalWrite(1, ASKED), id=each)
    everything = await book.store.approvals()
    assert [(one.execution_id, one.step) for one in everything] == [
        (each, step) for each in ("e1", "e2", "e3") for step in ("a", "b")
    ]
    pages = [await book.store.approvals(limit=2)]
    while pages[-1]:
        pages.append(await book.store.approvals(after=pages[-1][-1], limit=2))
    assert [one for page in pages for one in page] == everything


async def test_decisions_that_are_too_large_are_refused_with_their_change(book):
    """Nothing of it is written."""
    await book.start()
    data = msgspec.structs.replace(ANN, data="x" * PAYLOAD_BYTES_MAX)
    huge = msgspec.structs.replace(ASKED, decisions=(data,))
    assert isinstance(await write(book, ApprovalWrite(1, huge)), PayloadTooLarge)
    assert await kept(book) == ()


async def test_approvals_of_many_executions_may_share_a_batch(book):
    """Each stays with its own."""
    starts = [await book.start(f"e{no}") for no in range(6)]
    writes = [
        book.change(start, approvals=(ApprovalWrite(1, msgspec.structs.replace(ASKED, message=str(no))),))
        for no, start in enumerate(starts)
    ]
    answers = await book.store.commit(writes)
    assert [answer.version for answer in answers] == [2] * 6
    assert [(await kept(book, f"e{no}"))[0].message for no in range(6)] == list("012345")


async def test_approvals_go_with_their_execution(book):
    """Deleting leaves nothing behind."""
    await book.start()
    await write(book, ApprovalWrite(1, ASKED), state=State.COMPLETED)
    await book.write(DeleteExecution(execution_id="e1"))
    assert await book.store.approvals() == []
    assert await book.store.verify() == []
