"""Where the questions are: `W2` is asked by the one module whose name begins with `w02_`."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Final

from benchmarks.question import Question

HERE: Final = Path(__file__).parent


def codes() -> list[str]:
    """All questions, in order."""
    return [f"W{int(path.stem[1:3])}" for path in sorted(HERE.glob("w[0-9][0-9]_*.py"))]


def module_of(code: str) -> ModuleType:
    """The module that asks it. Raises LookupError."""
    found = [path.stem for path in HERE.glob(f"w{code[1:].zfill(2)}_*.py")]
    if len(found) != 1:
        raise LookupError(f"there is no question {code}: there are {', '.join(codes())}")
    return importlib.import_module(f"benchmarks.{found[0]}")


def question(code: str) -> Question:
    """The question. Raises LookupError."""
    asked: Question = module_of(code).QUESTION
    return asked
