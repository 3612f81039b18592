"""A call that crosses into a worker process: by name, since functions themselves cannot travel."""

from __future__ import annotations

import functools
import importlib
import os
import threading
from typing import Any, Final

from perdure.runtime.agents.signature import Function

LOOK_S: Final = 0.2  # how often a worker process looks whether its program is alive


class ProcessCall:
    """Calls a function of a module; picklable, because only the function's name is kept."""

    __slots__ = ("_module", "_qualname")

    def __init__(self, function: Function) -> None:
        """Remember where `function` is defined."""
        self._module: str = function.__module__
        self._qualname: str = function.__qualname__

    def __call__(self, _context: object, bound: dict[str, Any]) -> Any:
        """Import the function and call it. There is no StepContext on this side."""
        _end_with_the_parent()
        found: Any = importlib.import_module(self._module)
        for part in self._qualname.split("."):
            found = getattr(found, part)
        return found(**bound)


@functools.cache
def _end_with_the_parent() -> None:
    """Let this worker process end soon after the program that uses it, however that ends.

    Else a killed program's body would go on beside the one that its next run starts.
    """
    parent = os.getppid()
    never = threading.Event()

    def watch() -> None:
        while os.getppid() == parent:
            never.wait(LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, name="perdure-parent", daemon=True).start()
