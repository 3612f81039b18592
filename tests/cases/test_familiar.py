"""The words of another engine: each is in the table, none is invented."""

from __future__ import annotations

from pathlib import Path

import familiar

from perdure.runtime.language.definition import Definition, StepDefinition
from perdure.runtime.language.schema import fields_of


def test_every_word_of_the_definitions_is_in_the_table(cases: Path):
    """Every field and every type of task, trigger and input."""
    told = {word for row in familiar.rows() for word in row.words}
    found = familiar.words_of(cases / "kestra")
    assert found - told == set()
    assert told - found == set()
    assert len(found) > 100


def test_a_word_is_told_of_once():
    """Nobody has to choose between two answers."""
    words = [word for row in familiar.rows() for word in row.words]
    assert len(words) == len(set(words))


def test_what_is_native_is_called_by_words_that_there_are():
    """The first name in quotes of each native row is a field of a workflow, a step or its config."""
    config = {f"config.{name}" for name in fields_of(Definition)["config"][0].type.__struct_encode_fields__}
    fields = {*fields_of(Definition), *fields_of(StepDefinition), *config}
    named = [
        row.how.split("`")[1].partition(":")[0].partition(" ")[0]
        for row in familiar.rows()
        if row.answer == "native"
    ]
    assert [name for name in named if name not in fields] == []
