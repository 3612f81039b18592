"""Whether a module may have a step is read in its source; nothing of it is run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from perdure.runtime.agents import Agents
from perdure.runtime.agents.reading import why_not_to_import

SHOP = """
from perdure.runtime import Workflow
shop = Workflow("shop")

@shop.step
async def order() -> str:
    return "ordered"

def helper():
    pass
"""
BOMB = "raise SystemExit('it was imported')\ndef order(): pass\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to import from, and no trace of it afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_with_the_step_is_imported_and_the_step_found(folder: Path) -> None:
    """Inside a package, too."""
    (folder / "perdure_test_pack").mkdir()
    (folder / "perdure_test_pack" / "__init__.py").write_text("")
    (folder / "perdure_test_pack" / "shop.py").write_text(SHOP)
    assert why_not_to_import("perdure_test_pack.shop", "order") is None
    assert "perdure_test_pack" not in sys.modules
    assert Agents().find("python:perdure_test_pack.shop:order") is not None


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (BOMB, "has no workflow with the step order"),
        (SHOP.replace("def order", "def other"), "has no workflow with the step order"),
        ("def order(:", "cannot be read: SyntaxError"),
    ],
)
def test_a_module_that_cannot_have_the_step_is_not_imported(folder: Path, source: str, why: str) -> None:
    """Whatever would happen if it were."""
    (folder / "perdure_test_bomb.py").write_text(source)
    agents = Agents()
    assert agents.find("python:perdure_test_bomb:order") is None
    assert why in str(agents.unknown("python:perdure_test_bomb:order"))
    assert "perdure_test_bomb" not in sys.modules


def test_the_package_around_a_module_is_not_imported_either(folder: Path) -> None:
    """To import a module is to import its packages first."""
    (folder / "perdure_test_pack").mkdir()
    (folder / "perdure_test_pack" / "__init__.py").write_text(BOMB)
    (folder / "perdure_test_pack" / "plain.py").write_text("def order(): pass\n")
    assert Agents().find("python:perdure_test_pack.plain:order") is None
    assert "perdure_test_pack" not in sys.modules


@pytest.mark.parametrize("module", ["this", "antigravity", "perdure_no_such_module", "_ssl", "..", "a..b"])
def test_modules_of_others_are_left_alone(module: str) -> None:
    """Those without source are not looked into."""
    was_there = module in sys.modules
    assert was_there or why_not_to_import(module, "order") is not None
    assert (module in sys.modules) == was_there
