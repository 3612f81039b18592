"""Writes docs/scars.md: what hurt other engines, and which test shows that it cannot happen here."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
REGISTRY: Final = HERE / "scars.toml"
PAGE: Final = ROOT / "docs" / "scars.md"

HEAD: Final = """\
# Scars

Faults that users of other engines have paid for, each with what has to hold so that it cannot happen here,
and the tests that fail when it does not. `tests/proof/scars.py` writes this page from
`tests/proof/scars.toml`; a test keeps both true.

"""


class Scar(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What has to hold, and the tests that show it or the reason why it does not apply."""

    holds: str
    tests: tuple[str, ...] = ()
    note: str = ""
    does_not_apply: str = ""
    until: str | None = None  # a path: once it exists, the reason is none any more


def scars() -> dict[str, Scar]:
    """All of them by their ids."""
    return msgspec.convert(tomllib.loads(REGISTRY.read_text()), dict[str, Scar])


def page(known: Mapping[str, Scar]) -> str:
    """The page that tells them."""
    rows = "".join(f"| {id_} | {scar.holds} | {_shown(scar)} |\n" for id_, scar in known.items())
    return f"{HEAD}| scar | what has to hold | shown by |\n|---|---|---|\n{rows}"


def _shown(scar: Scar) -> str:
    if scar.does_not_apply:
        return f"**Does not apply.** {scar.does_not_apply}"
    return "<br>".join([*(f"`{test}`" for test in scar.tests), *([scar.note] if scar.note else [])])


def has_test(node: str) -> bool:
    """Whether `FILE::test_…` is a test there is."""
    file, _, name = node.partition("::")
    path = ROOT / file
    if not path.is_file() or not name.startswith("test_"):
        return False
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(each, functions) and each.name == name for each in ast.parse(path.read_text()).body)


if __name__ == "__main__":
    PAGE.write_text(page(scars()))
