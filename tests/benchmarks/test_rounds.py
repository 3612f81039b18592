"""Contenders take turns in processes of their own, and say what went wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.rounds import Contender, RoundFailed, foreign_cpu, take_turns

WRITES = (
    "import json, sys; open({file!r}, 'a').write({name!r}); print('noise'); print(json.dumps(dict(s=1.5)))"
)


def contender(name: str, program: str) -> Contender:
    """A contender that is a small program."""
    return Contender(name=name, command=(sys.executable, "-c", program))


@pytest.mark.integration
def test_contenders_take_turns(tmp_path: Path):
    """A B A B, so that a slow minute hits both."""
    order = tmp_path / "order"
    both = [contender(name, WRITES.format(file=str(order), name=name)) for name in "AB"]
    measured = take_turns(both, rounds=2, code="W2", size=1, durability="power")
    assert order.read_text() == "ABAB"
    assert measured.rounds == {"A": [{"s": 1.5}] * 2, "B": [{"s": 1.5}] * 2}


@pytest.mark.integration
def test_a_round_that_fails_says_what_the_contender_said_last():
    """Its standard error, not only its number."""
    with pytest.raises(RoundFailed, match="no such table"):
        contender("A", "raise SystemExit('no such table')").answer("W2", 1, "power")


@pytest.mark.integration
def test_an_optional_contender_that_fails_is_left_out_and_the_others_go_on(tmp_path: Path, capsys):
    """Another engine's trouble costs no more than its own row."""
    failing = Contender(
        name="A", command=(sys.executable, "-c", "raise SystemExit('no server')"), is_optional=True
    )
    sound = contender("B", WRITES.format(file=str(tmp_path / "order"), name="B"))
    measured = take_turns([failing, sound], rounds=2, code="W2", size=1, durability="power")
    assert measured.rounds == {"B": [{"s": 1.5}] * 2}
    assert "no server" in capsys.readouterr().err


@pytest.mark.integration
def test_a_contender_may_have_a_size_of_its_own():
    """One that is a thousand times slower gets fewer executions."""
    program = "import json, sys; print(json.dumps(dict(size=int(sys.argv[2]))))"
    slow = Contender(name="A", command=(sys.executable, "-c", program), sizes={"W2": 10})
    assert slow.answer("W2", 1_000, "power") == {"size": 10}
    assert slow.answer("W4", 1_000, "power") == {"size": 1_000}


def test_foreign_use_is_never_less_than_nothing():
    """What we use ourselves is not foreign."""
    with foreign_cpu() as share:
        sum(range(100_000))
    told = share()
    assert told is None or told >= 0.0
