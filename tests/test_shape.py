"""The code keeps the sizes, names and manners of the house style that no linter can check."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("store", "actors", "runtime")
EVERYTHING = (*PRODUCT, "tests", "examples", "benchmarks")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
CLASS_LINES_MAX = 300

LONG_FILES: dict[str, str] = {}  # file → the reason why it may be longer than FILE_LINES_MAX


def _python(*parts: str) -> Iterator[tuple[str, ast.Module]]:
    for part in parts:
        for path in sorted((ROOT / part).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def _too_long(kinds: tuple[type, ...], limit: int) -> list[str]:
    return [
        f"{name}:{node.lineno} {node.name}: {lines} lines"
        for name, tree in _python(*PRODUCT)
        for node in ast.walk(tree)
        if isinstance(node, kinds) and (lines := node.end_lineno - node.lineno + 1) > limit
    ]


def test_no_file_is_longer_than_its_limit_without_a_reason():
    """A file of more than 400 lines has a reason in LONG_FILES, and every reason is still needed."""
    long = {
        path.relative_to(ROOT).as_posix()
        for part in PRODUCT
        for path in (ROOT / part).rglob("*.py")
        if len(path.read_text().splitlines()) > FILE_LINES_MAX
    }
    assert long == set(LONG_FILES)


def test_no_function_is_longer_than_seventy_lines():
    """A longer one does more than one thing."""
    assert _too_long((ast.FunctionDef, ast.AsyncFunctionDef), FUNCTION_LINES_MAX) == []


def test_no_class_is_longer_than_three_hundred_lines():
    """What separates the trusted codebases from the merely popular."""
    assert _too_long((ast.ClassDef,), CLASS_LINES_MAX) == []


def test_every_file_says_its_purpose():
    """The first line of a file is one sentence."""
    silent = [
        name
        for name, tree in _python(*EVERYTHING)
        if not (said := ast.get_docstring(tree)) or not said.splitlines()[0].rstrip().endswith((".", "?"))
    ]
    assert silent == []


def test_nothing_is_imported_past_the_namespace():
    """`import store` would make every module exist twice."""
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in _python(*EVERYTHING)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(a.name.split(".")[0] in PRODUCT for a in node.names))
        or (
            isinstance(node, ast.ImportFrom)
            and not node.level
            and (node.module or "").split(".")[0] in PRODUCT
        )
    ]
    assert wrong == []


@pytest.mark.parametrize("module", ["time", "asyncio"])
def test_no_test_outside_acceptance_really_sleeps(module: str):
    """Time is virtual in tests; `asyncio.sleep(0)` only lets others go first."""
    sleeps = [
        f"{name}:{node.lineno}"
        for name, tree in _python("tests")
        if not name.startswith("tests/acceptance/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == f"{module}.sleep"
        and not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]
    assert sleeps == []


def test_no_file_is_divided_by_banners():
    """One that wants them wants to be two files, or nothing."""
    banners = [
        f"{path.relative_to(ROOT)}:{no}"
        for part in EVERYTHING
        for path in sorted((ROOT / part).rglob("*.py"))
        for no, line in enumerate(path.read_text().splitlines(), start=1)
        if line.strip().startswith(("# --", "# ==", "####"))
    ]
    assert banners == []
