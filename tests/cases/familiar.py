"""What users of other engines look for, by the words they know, and what we say to each."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import yaml

REGISTRY: Final = Path(__file__).parent / "familiar.toml"

HEAD: Final = """\
## What others call it

Words that users of other engines know, and what to look for here. Each of their definitions is refused as a
whole, with one message (`tests/runtime/language/test_cases.py`); a test reads every word in those of one
engine and finds it in this table.

| there | | here |
|---|---|---|
"""


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words that mean one thing, and what it is here."""

    words: tuple[str, ...]
    answer: Literal["native", "by other means", "refused"]
    how: str


def rows() -> list[Row]:
    """What familiar.toml says."""
    return msgspec.convert(tomllib.loads(REGISTRY.read_text())["row"], list[Row])


def words_of(folder: Path) -> set[str]:
    """Every word that means something in the definitions of a folder: fields, and types of anything."""
    found: set[str] = set()
    for path in sorted(folder.rglob("*.y*ml")):
        definition = yaml.safe_load(path.read_text())
        found |= set(definition)
        for part in _typed(definition):
            found |= {*part, part["type"].rpartition(".")[2].rpartition("$")[2]}
    return found


def _typed(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping that says of which type it is."""
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _typed(each)


def section(known: list[Row]) -> str:
    """The part of the page that tells them."""
    return HEAD + "".join(
        f"| {', '.join(f'`{word}`' for word in row.words)} | {row.answer} | {row.how} |\n" for row in known
    )
