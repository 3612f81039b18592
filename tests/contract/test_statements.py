"""Statements of the user's own, executed with a step's outcome: they fail alone."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.store.errors import StatementFailed
from perdure.store.writes import Started, Statement

pytestmark = pytest.mark.anyio

ORPHAN = Statement("INSERT INTO children (parent) VALUES (7)")


@pytest.fixture
async def family(book: Any) -> Any:
    """A book whose store also holds two tables of the user's."""
    await book.add_family()
    await book.publish()
    return book


async def test_a_constraint_that_fails_at_the_commit_refuses_only_the_write_that_broke_it(family: Any):
    """Its neighbours are committed all the same."""
    batch = [family.starting_with("e1"), family.starting_with("e2", ORPHAN), family.starting_with("e3")]
    first, second, third = await family.store.commit(batch)
    assert isinstance(first, Started)
    assert isinstance(second, StatementFailed)
    assert isinstance(third, Started)
    assert "FOREIGN KEY" in str(second).upper()
    assert await family.store.execution("e2") is None
    assert await family.raw("SELECT count(*) FROM children") == [(0,)]


async def test_a_write_alone_that_breaks_such_a_constraint_is_refused(family: Any):
    """Not raised: the batch of one is answered as any other."""
    assert isinstance(await family.answer_to(family.starting_with("e1", ORPHAN)), StatementFailed)
    assert await family.store.execution("e1") is None


async def test_a_deferred_constraint_that_is_met_before_the_commit_is_none(family: Any):
    """The child may come before its parent, within one write."""
    parent = Statement("INSERT INTO parents (id) VALUES (7)")
    assert isinstance(await family.answer_to(family.starting_with("e1", ORPHAN, parent)), Started)
    assert await family.raw("SELECT parent FROM children") == [(7,)]
