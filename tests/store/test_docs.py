"""docs/store.md says what the schema, the tables of states and the limits say."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from perdure.store.codec import DEPTH_MAX
from perdure.store.records import INBOX_MAX, PAGE_MAX, PAYLOAD_BYTES_MAX
from perdure.store.sqlite import migrate
from perdure.store.sqlite.files import LOCK_WAIT_S
from perdure.store.states import STEP_TRANSITIONS, TERMINAL, TRANSITIONS, State, StepState

STEP_ENDS = frozenset(state for state, followers in STEP_TRANSITIONS.items() if not followers)
HIDDEN = 1  # how SQLite marks the columns of an index that are no columns
PAGE = (Path(__file__).parents[2] / "docs" / "store.md").read_text()


@pytest.fixture
def connection():
    """An empty database with the schema."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate.migrate(connection, ":memory:")
    yield connection
    connection.close()


def listed(section: str) -> dict[str, list[str]]:
    """Each name in a section's table with its columns, in their order."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|[^|]+\| (.+) \|$", text, re.MULTILINE)
    return {name: re.findall(r"`(\w+)`", columns) for name, columns in rows}


@pytest.mark.parametrize(("section", "kind"), [("Tables", "table"), ("Views", "view")])
def test_every_table_and_view_is_described_with_its_columns(connection, section: str, kind: str):
    """None is missing, none is invented, in the order of the schema."""
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = ? AND name NOT LIKE 'sqlite%' "
        "AND name NOT GLOB 'workflow_search_[cdi]*'",  # the index's own
        (kind,),
    )
    real = {
        name: [row[1] for row in connection.execute(f"PRAGMA table_xinfo({name})") if row[6] != HIDDEN]
        for (name,) in found.fetchall()
    }
    assert listed(section) == real


@pytest.mark.parametrize(
    ("place", "table", "start", "ends"),
    [(0, TRANSITIONS, State.IDLE, TERMINAL), (1, STEP_TRANSITIONS, StepState.PENDING, STEP_ENDS)],
)
def test_a_diagram_has_every_transition_of_its_table_and_no_other(place: int, table, start, ends):
    """And where it begins and ends."""
    drawn = re.findall(r"^```mermaid\nstateDiagram-v2\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[place]
    arrows = [f"{before} --> {after}" for before in table for after in table[before]]
    marks = [f"[*] --> {start}", *(f"{end} --> [*]" for end in ends)]
    assert sorted(line.strip() for line in drawn.splitlines()) == sorted(marks + arrows)


def test_the_queries_in_the_page_can_be_asked(connection):
    """As they stand there."""
    [script] = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for query in script.splitlines():
        connection.execute(query).fetchall()


def test_the_limits_are_those_of_the_code():
    """A number that changes in the code changes in the page."""
    text = PAGE.split("\n## Limits\n")[1].split("\n## ")[0]
    limits = re.findall(r"^\| [^|]+ \| ([\d,]+) ", text, re.MULTILINE)
    real = (PAYLOAD_BYTES_MAX, DEPTH_MAX, INBOX_MAX, PAGE_MAX, int(LOCK_WAIT_S))
    assert limits == [f"{limit:,}" for limit in real]
