"""Registries from modules and files, as the command line names them."""

from __future__ import annotations

import sys

import pytest

from perdure.runtime.agents import AgentsNotLoaded, load_agents

GOOD = """
from perdure.runtime.agents import Agents
agents = Agents()
others = Agents()
number = 3

def make():
    return others

def fail():
    raise RuntimeError("no")

def leave():
    raise SystemExit("no")

@agents.agent("noop")
def noop():
    pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with modules in it; what they leave behind is taken away."""
    modules, path = set(sys.modules), list(sys.path)
    (tmp_path / "perdure_test_registry.py").write_text(GOOD)
    (tmp_path / "json.py").write_text(GOOD)
    (tmp_path / "perdure_test_broken.py").write_text("1/0")
    (tmp_path / "perdure_test_exits.py").write_text("import sys; sys.exit(0)")
    (tmp_path / "perdure_test_empty.py").write_text("")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.mark.parametrize(
    "spec",
    [
        "perdure_test_registry",
        "perdure_test_registry:agents",
        "perdure_test_registry.py",
        "./perdure_test_registry.py:agents",
    ],
)
def test_a_registry_is_found_by_module_or_file(folder, spec):
    """`agents` is what it is called unless the spec says otherwise."""
    assert load_agents(spec).names() == ("noop",)


def test_another_attribute_or_a_function_that_makes_one(folder):
    """Both are named after the colon."""
    others = load_agents("perdure_test_registry:others")
    assert others.names() == ()
    assert load_agents("perdure_test_registry:make") is others


def test_a_file_is_loaded_once_and_under_a_name_of_its_own(folder):
    """Twice is the same registry; a file called like a module of Python does not replace it."""
    assert load_agents(f"{folder}/json.py") is load_agents("json.py")
    import json

    assert json.dumps([]) == "[]"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "it is empty"),
        ("perdure_test_nowhere", "importing perdure_test_nowhere failed with ModuleNotFoundError"),
        ("nowhere.py:agents", "there is no file"),
        ("~nobody-of-that-name/agents.py:agents", "home directory"),
        ("perdure_test_broken.py", "ZeroDivisionError"),
        ("perdure_test_broken", "ZeroDivisionError"),
        ("perdure_test_registry:nothing", "has no 'nothing'; it has agents, others"),
        ("perdure_test_registry:number", "'number' is a int, not an Agents registry"),
        ("perdure_test_registry:fail", "calling fail() failed with RuntimeError: no"),
        ("perdure_test_exits", "importing perdure_test_exits failed with SystemExit: 0"),
        ("perdure_test_exits.py", "perdure_test_exits.py failed with SystemExit: 0"),
        ("perdure_test_registry:leave", "calling leave() failed with SystemExit: no"),
        ("perdure_test_empty", "define agents = Agents() there"),
        (":", "cannot load agents"),
        ("..", "cannot load agents"),
        ("/", "cannot load agents"),
    ],
)
def test_what_cannot_be_loaded_says_why(folder, spec, words):
    """One typed error, whatever the module does."""
    with pytest.raises(AgentsNotLoaded) as caught:
        load_agents(spec)
    assert words in str(caught.value)
