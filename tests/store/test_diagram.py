"""The diagrams say what the tables say."""

from __future__ import annotations

import re

from perdure.store.diagram import states_as_mermaid, step_states_as_mermaid
from perdure.store.states import STEP_TRANSITIONS, TERMINAL, TRANSITIONS, State, StepState


def arrows(diagram: str) -> set[tuple[str, str]]:
    """Every arrow between two states."""
    return set(re.findall(r"^    (\w+) --> (\w+)$", diagram, re.MULTILINE))


def test_the_diagram_of_an_execution_has_every_transition_and_no_other():
    """One arrow for each entry of the table."""
    assert arrows(states_as_mermaid()) == {
        (before, after) for before, row in TRANSITIONS.items() for after in row
    }


def test_the_diagram_of_a_step_has_every_transition_and_no_other():
    """The same for the steps."""
    assert arrows(step_states_as_mermaid()) == {
        (before, after) for before, row in STEP_TRANSITIONS.items() for after in row
    }


def test_a_diagram_shows_where_it_begins_and_ends():
    """The start and every terminal state are marked as such."""
    lines = states_as_mermaid().splitlines()
    assert lines[:2] == ["stateDiagram-v2", f"    [*] --> {State.IDLE}"]
    assert {line for line in lines if line.endswith("[*]")} == {f"    {end} --> [*]" for end in TERMINAL}
    assert f"    [*] --> {StepState.PENDING}" in step_states_as_mermaid()
