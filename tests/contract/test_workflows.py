"""Definitions: a revision is published once and never changes; one of each name is active."""

from __future__ import annotations

import pytest

from perdure.store.errors import StoreError
from perdure.store.writes import DeleteWorkflow, PublishStep

pytestmark = pytest.mark.anyio


async def test_a_revision_comes_back_as_it_was_published(book):
    """Its steps in order, with their levels and needs by key."""
    no = await book.publish("order", version="1.0", description="d", author="anna", tags=("x", "y"))
    workflow = await book.store.workflow("order")
    assert workflow == await book.store.workflow_by_no(no)
    assert (workflow.version, workflow.author, workflow.tags) == ("1.0", "anna", ("x", "y"))
    assert (workflow.definition, workflow.is_active) == ({"name": "order"}, True)
    assert [(s.key, s.level, s.agent, s.needs) for s in await book.store.steps(no)] == [
        ("a", 0, "one", ()),
        ("b", 1, "two", ("a",)),
        ("c", 2, "three", ("a", "b")),
    ]


async def test_publishing_a_revision_twice_is_publishing_it_once(book):
    """The second time nothing is written."""
    no = await book.publish("order")
    facts = await book.facts()
    assert await book.publish("order") == no
    assert await book.facts() == facts


async def test_one_revision_of_a_name_is_active(book):
    """The one published last, be it new or known; other names are not touched."""
    first = await book.publish("order", revision="r1", version="1")
    second = await book.publish("order", revision="r2", version="2")
    await book.publish("other")
    assert (await book.store.workflow("order")).no == second
    assert await book.publish("order", revision="r1") == first
    assert (await book.store.workflow("order")).no == first
    assert [(w.name, w.revision) for w in await book.store.workflows()] == [("order", "r1"), ("other", "r1")]
    everything = await book.store.workflows(active_only=False)
    assert [(w.name, w.revision, w.is_active) for w in everything] == [
        ("order", "r2", False),
        ("order", "r1", True),
        ("other", "r1", True),
    ]


async def test_a_revision_is_found_by_its_hash_or_its_label(book):
    """A label that was given twice means the newest; what is unknown is None."""
    await book.publish("order", revision="r1", version="1")
    await book.publish("order", revision="r2", version="1")
    assert (await book.store.workflow("order", revision="r1")).revision == "r1"
    assert (await book.store.workflow("order", version="1")).revision == "r2"
    assert await book.store.workflow("order", revision="r3") is None
    assert await book.store.workflow("order", version="2") is None
    assert await book.store.workflow("none") is None
    assert await book.store.workflow_by_no(99) is None
    assert await book.store.steps(99) == []


async def test_a_name_without_an_active_revision_has_none(book):
    """The active one was deleted; the other waits to be published again."""
    await book.publish("order", revision="r1")
    await book.publish("order", revision="r2")
    await book.write(DeleteWorkflow(name="order", revision="r2"))
    assert await book.store.workflow("order") is None
    await book.publish("order", revision="r1")
    assert (await book.store.workflow("order")).revision == "r1"


@pytest.mark.parametrize(
    "steps",
    [
        (PublishStep(no=0, key="a", level=0, agent="x", needs=(0,)),),
        (PublishStep(no=0, key="a", level=0, agent="x", needs=(5,)),),
        (
            PublishStep(no=0, key="a", level=0, agent="x", needs=()),
            PublishStep(no=1, key="a", level=0, agent="x", needs=()),
        ),
        (PublishStep(no=0, key="a", level=-1, agent="x", needs=()),),
    ],
)
async def test_an_impossible_graph_is_refused_whole(book, steps):
    """The revision that was active stays so."""
    await book.publish("order", revision="r1")
    facts = await book.facts()
    assert isinstance(await book.answer_to(book.publication(revision="r2", steps=steps)), StoreError)
    assert await book.facts() == facts


@pytest.mark.parametrize("name", ["", " order", "order ", "x" * 129])
async def test_a_name_with_blank_ends_or_too_long_is_refused(book, name: str):
    """Nobody could tell it from its neighbour in a list."""
    assert isinstance(await book.answer_to(book.publication(name)), StoreError)
