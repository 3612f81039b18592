"""What docs/language.md says is so: the table of fields, the examples, the errors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from perdure.runtime import agents, language
from perdure.runtime.language import parse
from perdure.runtime.language.definition import ActionDefinition, Definition, Part
from perdure.runtime.language.schema import fields_of

PAGE = Path(__file__).resolve().parents[3] / "docs" / "language.md"
DEFAULTS = {"–", "none", "unlimited", "all", "required"}


def blocks(language_name: str) -> list[str]:
    """The code of one language on the page."""
    return re.findall(rf"^```{language_name}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def all_fields(kind: type[Part], prefix: str = "") -> dict[str, object]:
    """Every field of the definition by its path, with its default."""
    found: dict[str, object] = {}
    for name, (field, shape) in fields_of(kind).items():
        path = f"{prefix}{name}"
        found[path] = "required" if field.required else field.default
        inner = shape.of if shape.kind is tuple else shape.kind
        if isinstance(inner, type) and issubclass(inner, Part) and inner is not ActionDefinition:
            found |= all_fields(inner, f"{path}[]." if shape.kind is tuple else f"{path}.")
    return found


def test_the_table_has_every_field_with_its_default():
    """In the order in which they are printed."""
    rows = re.findall(r"^\| `([\w.\[\]]+)` \| [^|]+ \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)
    fields = all_fields(Definition)
    documented = {path: default.strip().strip("`") for path, default in rows if path in fields}
    assert list(documented) == list(fields)
    for path, default in fields.items():
        if documented[path] not in DEFAULTS:
            assert msgspec.json.encode(default).decode() in {documented[path], f'"{documented[path]}"'}


def test_the_fields_of_an_action_have_a_table_of_their_own():
    """They are the same wherever one stands."""
    table = PAGE.read_text().partition("| field of an action |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(fields_of(ActionDefinition))


def test_the_file_on_the_page_is_sound():
    """It is the documented workflow."""
    (text,) = blocks("yaml")
    assert len(parse(text).steps) == 3


def test_the_errors_on_the_page_exist():
    """Each under its name."""
    table = PAGE.read_text().partition("## What can be wrong")[2]
    names = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert len(names) == 14
    assert all(hasattr(language, name) or hasattr(agents, name) for name in names)


@pytest.mark.integration
@pytest.mark.parametrize("no", [0, 1])
def test_the_examples_print_what_the_page_says(no):
    """They run as they stand there."""
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[no]], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.stdout == blocks("text")[no]
