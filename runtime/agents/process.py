"""A call that crosses into a worker process: by name, since functions themselves cannot travel."""

from __future__ import annotations

import importlib
from typing import Any

from perdure.runtime.agents.signature import Function


class ProcessCall:
    """Calls a function of a module; picklable, because only the function's name is kept."""

    __slots__ = ("_module", "_qualname")

    def __init__(self, function: Function) -> None:
        """Remember where `function` is defined."""
        self._module: str = function.__module__
        self._qualname: str = function.__qualname__

    def __call__(self, _context: object, bound: dict[str, Any]) -> Any:
        """Import the function and call it. There is no StepContext on this side."""
        found: Any = importlib.import_module(self._module)
        for part in self._qualname.split("."):
            found = getattr(found, part)
        return found(**bound)
