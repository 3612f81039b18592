"""A registry of agents from where the command line says it is: `module:attr` or `file.py:attr`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Final

from perdure.runtime.agents.errors import AgentsNotLoaded
from perdure.runtime.agents.registry import Agents

ATTRIBUTE: Final = "agents"  # what the registry is called when the spec does not say


def load_agents(spec: str) -> Agents:
    """Return the registry that `spec` names: `module:attr`, `path/to/file.py:attr`, or without attr.

    The attribute is an `Agents`, or a function without parameters that makes one. The current
    folder, and the folder of the file, can be imported from. Raises AgentsNotLoaded.
    """
    if not isinstance(spec, str):
        raise AgentsNotLoaded(repr(spec), why="give a text, as module:attribute")
    if not spec.strip():
        raise AgentsNotLoaded(spec, why="it is empty: give module:attribute or path/to/file.py:attribute")
    place, _, attribute = spec.rpartition(":") if ":" in spec else (spec, "", "")
    if place.endswith(("/", "\\")) or not place or (len(place) == 1 and attribute.startswith(("/", "\\"))):
        place, attribute = spec, ""
    attribute = attribute or ATTRIBUTE
    module = _from_file(spec, Path(place)) if _is_file(place) else _from_name(spec, place)
    found = getattr(module, attribute, None)
    if callable(found) and not isinstance(found, Agents):
        found = _call(spec, attribute, found)
    if isinstance(found, Agents):
        return found
    raise AgentsNotLoaded(spec, why=_no_registry(module, attribute, found))


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or "\\" in place


def _from_name(spec: str, name: str) -> ModuleType:
    """Import a module by its name, from the current folder too."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise AgentsNotLoaded(spec, why=_import_failed(name, error)) from error


def _from_file(spec: str, path: Path) -> ModuleType:
    """Import a module by its file, once: its functions keep one name however often it is asked for."""
    try:
        path = path.expanduser().resolve()
    except RuntimeError as error:  # `~` of nobody, or links that lead round in a circle
        raise AgentsNotLoaded(spec, why=f"{path} leads nowhere: {error}") from None
    if not path.is_file():
        raise AgentsNotLoaded(spec, why=f"there is no file {path}")
    own_name = f"{path.stem}_{zlib.crc32(bytes(path)):08x}"
    for name in (path.stem, own_name):
        loaded = sys.modules.get(name)
        if loaded is not None and getattr(loaded, "__file__", None) == str(path):
            return loaded
    return _execute(spec, own_name if _is_taken(path.stem, path) else path.stem, path)


def _is_taken(name: str, path: Path) -> bool:
    """Whether another module is, or would be, imported under this name."""
    if name in sys.modules:
        return True
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return found is not None and found.origin != str(path)


def _execute(spec: str, name: str, path: Path) -> ModuleType:
    """Run the file as module `name`; its own folder can be imported from."""
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise AgentsNotLoaded(spec, why=f"{path} is not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise AgentsNotLoaded(spec, why=_import_failed(str(path), error)) from error
    return module


def _call(spec: str, attribute: str, make: object) -> object:
    """Call the function that makes the registry."""
    assert callable(make)
    try:
        return make()
    except (Exception, SystemExit) as error:
        raise AgentsNotLoaded(
            spec, why=f"calling {attribute}() failed with {type(error).__name__}: {error}"
        ) from error


def _import_failed(what: str, error: BaseException) -> str:
    return f"importing {what} failed with {type(error).__name__}: {error}"


def _no_registry(module: ModuleType, attribute: str, found: object) -> str:
    """Say what is there instead of a registry."""
    there = sorted(name for name, value in vars(module).items() if isinstance(value, Agents))
    instead = f"; it has {', '.join(there)}" if there else "; define agents = Agents() there"
    if found is None:
        return f"module {module.__name__} has no {attribute!r}{instead}"
    return f"{attribute!r} is a {type(found).__name__}, not an Agents registry{instead}"
