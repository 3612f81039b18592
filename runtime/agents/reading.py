"""Reads a module's source for a step before it is imported: to import is to run what is in it."""

from __future__ import annotations

import ast
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any


def why_not_to_import(module: str, qualname: str) -> str | None:
    """Why the module cannot have that step, as its source shows; None where it may.

    The step has to be defined there, and something there has to be called `step`, as the decorator
    that declares one is. Nothing is run, no package on the way to the module either.
    """
    if module in sys.modules:
        return None
    spec = _find(module)
    if spec is None:
        return f"there is no module {module}"
    if spec.origin is None or not spec.origin.endswith(".py"):
        return f"module {module} has no source to look for a workflow in"
    try:
        tree = ast.parse(Path(spec.origin).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        return f"the source of module {module} cannot be read: {type(error).__name__}: {error}"
    if not _declares_steps(tree) or not _defines(tree, qualname.split(".")):
        return f"module {module} has no workflow with the step {qualname}"
    return None


def _find(module: str) -> ModuleSpec | None:
    """Look the module up along its packages, without importing one of them."""
    path: list[str] | None = None
    name = ""
    spec: ModuleSpec | None = None
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        found = (_ask(finder, name, path) for finder in sys.meta_path)
        spec = next((each for each in found if each is not None), None)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    return spec


def _ask(finder: Any, name: str, path: list[str] | None) -> ModuleSpec | None:
    try:
        found: ModuleSpec | None = finder.find_spec(name, path)
    except (ImportError, ValueError, AttributeError):
        return None
    return found


def _declares_steps(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == "step" for node in ast.walk(tree))


def _defines(tree: ast.AST, names: list[str]) -> bool:
    """Whether a function, or one inside classes, is defined under that name."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return not names or any(
        isinstance(node, kinds) and node.name == names[0] and _defines(node, names[1:])
        for node in ast.walk(tree)
    )
