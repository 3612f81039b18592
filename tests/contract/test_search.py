"""What has ended is found by its words once it has been indexed; what is deleted is found no more."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.errors import NotFound
from perdure.store.scripts.retention import Prune
from perdure.store.scripts.search import Index
from perdure.store.states import State
from perdure.store.writes import DeleteExecution, DeleteWorkflow

pytestmark = pytest.mark.anyio

EVER = 2**50


async def ended(book: Any, id_: str, *, error: bytes | None = None, **fields: Any) -> None:
    """An execution that was cancelled, or has failed."""
    execution = await book.start(id_, **fields)
    state = State.CANCELLED if error is None else State.FAILED
    await book.move(execution, state, fields={"finished_at": book.tick(), "error": error})


async def indexed(book: Any, *, events: int = 1_000) -> int:
    """Index all there is; answers in how many steps."""
    steps = 1
    while not (await book.write(Index(events=events))).is_done:
        steps += 1
    return steps


async def found(book: Any, words: str, **options: Any) -> list[str]:
    """The ids of the executions that are found."""
    return [one.id for one in (await book.store.search(words, **options)).executions]


async def test_an_execution_is_found_by_the_words_of_its_id_input_error_and_workflow(book):
    """All of them have to be in it, in whatever case; in a word with punctuation, in a row."""
    await ended(book, "order-17", context='{"customer":"Zoë Müller","mail":"zoe.m@example.org"}'.encode())
    await ended(book, "order-18", error=b'{"type":"Refused","message":"the card_9 was refused"}')
    await indexed(book)
    assert await found(book, "order") == ["order-18", "order-17"]
    assert await found(book, "ORDER 17") == ["order-17"]
    assert await found(book, "order-17") == ["order-17"]
    assert await found(book, "refused-9") == []
    assert await found(book, "müller") == ["order-17"]
    assert await found(book, "zoe.m@example.org") == ["order-17"]
    assert await found(book, "refused card") == ["order-18"]
    assert await found(book, "card_9") == ["order-18"]
    assert await found(book, "refused 17") == []
    assert await found(book, "refu*") == ["order-18"]
    assert await found(book, "refu") == []
    assert await found(book, "failed") == ["order-18"]
    assert await found(book, "trace-order-17") == ["order-17"]
    assert await found(book, "order", limit=1) == ["order-18"]


@pytest.mark.parametrize("words", ["", "  ", "-- '", "*", '""'])
async def test_a_search_for_no_word_at_all_is_refused(book, words: str):
    """What is no letter or digit is nobody's word."""
    with pytest.raises(NotFound, match="letters or digits"):
        await book.store.search(words)


@pytest.mark.parametrize(
    "words", ['"', "a OR b", "NEAR(a b)", "a AND", "a' & !b", "text:a", "(a", "a\\", "-a", "^a"]
)
async def test_words_are_never_taken_for_operators(book, words: str):
    """Of either database."""
    await ended(book, "e1", context=b'{"text":"a or b and near"}')
    await indexed(book)
    try:
        await book.store.search(words)
    except NotFound:
        assert words == '"'


async def test_what_goes_on_is_found_when_it_has_ended(book):
    """And again with what it ended with when it is reopened and ends anew."""
    await book.start("e1", context=b'{"item":"lamp"}')
    await indexed(book)
    assert await found(book, "lamp") == []
    await book.move(
        await book.execution("e1"), State.FAILED, fields={"error": b'{"type":"A","message":"apple"}'}
    )
    assert (await book.store.search("lamp")).is_behind
    await indexed(book)
    assert await found(book, "lamp apple") == ["e1"]
    reopened = await book.move(await book.execution("e1"), State.SCHEDULING)
    await indexed(book)
    assert await found(book, "lamp") == []
    await book.move(reopened, State.FAILED, fields={"error": b'{"type":"B","message":"banana"}'})
    await indexed(book)
    assert await found(book, "lamp banana") == ["e1"]
    assert await found(book, "apple") == []
    assert not (await book.store.search("lamp")).is_behind


async def test_the_log_is_taken_a_few_lines_at_a_time(book):
    """It is known how far the index reaches."""
    for number in range(5):
        await ended(book, f"e{number}")
    assert await book.store.is_search_behind()
    assert await indexed(book, events=2) == 5
    assert not await book.store.is_search_behind()
    assert len(await found(book, "cancelled")) == 5
    assert await indexed(book) == 1


async def test_a_workflow_is_found_by_its_description_and_its_definition(book):
    """Each revision; it is gone with the revision."""
    await book.publish("invoice", description="what a customer owes", tags=("shop",))
    await book.publish("other", revision="r2")
    assert await book.store.is_search_behind()
    await indexed(book)
    for words in ("customer", "owes invoice", "shop"):
        assert [one.name for one in (await book.store.search(words)).workflows] == ["invoice"]
    await book.write(DeleteWorkflow(name="invoice", revision="r1"))
    assert (await book.store.search("customer")).workflows == ()


async def test_a_workflow_that_comes_after_one_of_a_higher_number_is_found(book):
    """As on a server, where two that publish at once commit in either order."""
    early = await book.publish("early", description="porcelain")
    await book.publish("late", revision="r2", description="stoneware")
    await indexed(book)
    await book.raw(f"DELETE FROM workflow_search WHERE rowid = -{early}")
    assert (await book.store.search("porcelain")).workflows == ()
    await ended(book, "order-1")
    await indexed(book)
    for name, word in (("early", "porcelain"), ("late", "stoneware")):
        assert [one.name for one in (await book.store.search(word)).workflows] == [name]


async def test_what_is_deleted_or_pruned_is_not_found_any_more(book):
    """Its neighbours are."""
    for number in range(4):
        await ended(book, f"e{number}", context=b'{"item":"lamp"}')
    await indexed(book)
    await book.write(DeleteExecution(execution_id="e2"))
    assert await found(book, "lamp") == ["e3", "e1", "e0"]
    await book.write(Prune(before=EVER, limit=2))
    assert await found(book, "lamp") == ["e3"]
    assert await book.store.verify() == []
