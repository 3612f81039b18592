"""Every bug that is planted can be planted in the code as it is, and was caught when it was."""

from __future__ import annotations

import plant
import pytest
from plant import Bug, bugs, page, results
from scars import has_test

BUGS_MIN = 10


@pytest.mark.parametrize("bug", bugs(), ids=lambda bug: bug.name)
def test_a_bug_has_its_place_in_the_code(bug: Bug) -> None:
    """A definition that the code has moved away from proves nothing."""
    text = (plant.ROOT / bug.file).read_text()
    assert bug.planted(text) != text
    for selection in bug.tests:
        assert (plant.ROOT / selection.partition(" -k ")[0]).is_file()


def test_a_bug_without_a_place_is_told() -> None:
    """And not taken for one that nobody has noticed."""
    bug = Bug(name="b", does="", file="f", before="once", after="", tests=())
    assert bug.planted("once upon") == " upon"
    for text in ("never", "once and once"):
        with pytest.raises(ValueError, match="times in f"):
            bug.planted(text)


def test_every_planted_bug_was_caught() -> None:
    """There are enough of them, with names of their own, and a test that there still is noticed each."""
    names = [bug.name for bug in bugs()]
    assert len(names) == len(set(names)) >= BUGS_MIN
    found = results()
    assert list(found) == names
    assert [name for name, catch in found.items() if not catch.caught_by] == []
    assert [test for catch in found.values() for test in catch.caught_by if not has_test(test)] == []


def test_the_page_tells_what_was_found() -> None:
    """It is written by the program, never by hand."""
    assert plant.PAGE.read_text() == page(bugs(), results())
