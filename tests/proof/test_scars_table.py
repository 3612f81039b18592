"""Every scar has tests that there are, or a reason why it does not apply, and the page says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import scars
from scars import Scar, has_test


def test_every_scar_is_in_the_table(cases: Path) -> None:
    """None is left out, none is invented."""
    lines = (cases / "scars" / "scenarios.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(scars.scars())


@pytest.mark.parametrize(("id_", "scar"), scars.scars().items(), ids=list(scars.scars()))
def test_a_scar_is_shown_by_tests_that_exist_or_does_not_apply(id_: str, scar: Scar) -> None:
    """A reason that has been overtaken is none."""
    assert bool(scar.tests) != bool(scar.does_not_apply)
    assert [test for test in scar.tests if not has_test(test)] == []
    assert scar.until is None or not (scars.ROOT / scar.until).exists(), f"{id_} applies now"


@pytest.mark.parametrize("node", ["tests/nowhere.py::test_x", f"tests/proof/{Path(__file__).name}::test_x"])
def test_a_test_that_does_not_exist_is_found_out(node: str) -> None:
    """Its file or its name."""
    assert not has_test(node)


def test_the_page_is_written_from_the_table() -> None:
    """Never by hand."""
    assert scars.PAGE.read_text() == scars.page(scars.scars())
