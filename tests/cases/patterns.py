"""Writes docs/patterns.md: how each of the control-flow patterns is said, and which test shows it."""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import company
import msgspec

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
REGISTRY: Final = HERE / "patterns.toml"
PAGE: Final = ROOT / "docs" / "patterns.md"
TEST: Final = re.compile(r"test_pattern_(\d+)_\w+")

HEAD: Final = """\
# Control-flow patterns

The forty-three control-flow patterns of the workflow literature ([workflowpatterns.com](http://www.workflowpatterns.com)),
and what the language says to each. **Native**: the language has a word for it. **By other means**: it can
be said with several words, or with a few lines in the body of a step, and is as durable. **Refused**: it
cannot be said, and whoever tries is told. `tests/cases/patterns.py` writes this page from
`tests/cases/patterns.toml`; the tests run the very workflows that stand here. Those that need nobody from
outside come to the same end if their process is killed at any commit (`tests/cases/test_pattern_crashes.py`).

"""

AGENTS: Final = """\
## The agents

`work` takes as long as its prompt says, `echo` gives what its prompt comes to. The others know the runtime
they work for (`self.runtime`). A command that a body sends carries the step's idempotency key as its id, so
it is one command however often the body runs.

"""


class Pattern(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pattern: what we say to it, and the workflows that say it; the first is the one to start."""

    name: str
    answer: Literal["native", "by other means", "refused"]
    how: str
    workflows: tuple[str, ...]
    inputs: dict[str, Any] = {}
    waits_for_others: bool = False


def patterns() -> dict[int, Pattern]:
    """All of them by their numbers."""
    found = msgspec.convert(tomllib.loads(REGISTRY.read_text()), dict[str, Pattern])
    return {int(no): pattern for no, pattern in found.items()}


def company_for(no: int, **options: Any) -> company.Company:
    """A runtime with the workflows of a pattern and the agents they name."""
    return company.Company(patterns()[no].workflows, **options)


def tests() -> Iterator[tuple[int, str]]:
    """The number each test of a pattern is about, and where it is."""
    for path in sorted(HERE.glob("test_*.py")):
        for each in ast.parse(path.read_text()).body:
            named = isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and TEST.fullmatch(each.name)
            if named:
                yield int(named[1]), f"{path.relative_to(ROOT)}::{named[0]}"


def page(known: Mapping[int, Pattern]) -> str:
    """The page that tells them."""
    counts = [
        f"{sum(each.answer == answer for each in known.values())} {answer}"
        for answer in ("native", "by other means", "refused")
    ]
    rows = "".join(
        f"| [{no}](#{_anchor(no, each)}) | {each.name} | {each.answer} | {_cell(each.how)} |\n"
        for no, each in known.items()
    )
    table = f"{', '.join(counts)}.\n\n| | pattern | | how |\n|---|---|---|---|\n{rows}\n"
    shown = list(tests())
    return HEAD + table + AGENTS + _agents(known) + "".join(_section(no, known[no], shown) for no in known)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _anchor(no: int, pattern: Pattern) -> str:
    return f"{no} {pattern.name}".lower().replace(",", "").replace(" ", "-")


def _section(no: int, pattern: Pattern, shown: Sequence[tuple[int, str]]) -> str:
    proofs = "".join(f"- `{test}`\n" for about, test in shown if about == no)
    texts = "".join(f"```yaml\n{text.strip()}\n```\n\n" for text in pattern.workflows)
    return f"\n## {no} {pattern.name}\n\n{texts}{proofs}"


def _agents(known: Mapping[int, Pattern]) -> str:
    """The source of the agents that any workflow names, and of what knows who waits."""
    named = {name for each in known.values() for text in each.workflows for name in _AGENT.findall(text)}
    module = ast.parse(source := Path(company.__file__).read_text())
    functions = [
        ast.get_source_segment(source, each, padded=True) or ""
        for each in ast.walk(module)
        if isinstance(each, ast.AsyncFunctionDef)
        and each.name in {*named, "tell_who_waits"} - {"work", "echo"}
    ]
    return "```python\n" + "\n".join(textwrap.dedent(each).rstrip() + "\n" for each in functions) + "```\n"


_AGENT: Final = re.compile(r"\bagent: ([\w]+)")


if __name__ == "__main__":
    PAGE.write_text(page(patterns()))
