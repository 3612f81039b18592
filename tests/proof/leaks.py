"""Whether a process is again as it was before: open files, tasks, runtimes, memory."""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

from perdure.runtime import Runtime

WARM: Final = 5  # rounds after which whatever is kept for good is there: caches, compiled patterns
MEMORY_MB_MAX: Final = 48.0  # of growth after that; what leaks in each round is more before long
OPEN: Final = Path("/proc/self/fd")


class Base:
    """How the process was; asked after each round whether it is so again."""

    def __init__(self) -> None:
        """Take note of how it is now."""
        self._files = _files()
        self._objects = _objects()
        self._rounds = 0
        self._memory_mb = 0.0

    def left(self) -> list[str]:
        """A round is over: a sentence for each thing that is left of it."""
        files, objects = _files(), _objects()
        self._rounds += 1
        memory_mb = _memory_mb()
        if self._rounds <= WARM:
            self._memory_mb = memory_mb
        found = [f"{name} is left open" for name in sorted(files - self._files)]
        found += [
            f"{objects[kind]} of {kind} are left, {self._objects[kind]} were there before"
            for kind in objects
            if objects[kind] > self._objects[kind]
        ]
        if memory_mb - self._memory_mb > MEMORY_MB_MAX:
            found.append(f"memory has grown from {self._memory_mb:.0f} to {memory_mb:.0f} MB")
        return found


def _files() -> set[str]:
    """What is open, by number and name; nothing where the system does not tell."""
    if not OPEN.is_dir():
        return set()
    found: set[str] = set()
    for link in OPEN.iterdir():
        with suppress(FileNotFoundError):  # the listing itself
            found.add(f"{link.name} ({link.readlink()})")
    return found


def _objects() -> dict[str, int]:
    """How many tasks and runtimes there are that nothing has let go."""
    gc.collect()
    counts = Counter(map(type, gc.get_objects()))
    kinds = {"tasks": asyncio.Task, "runtimes": Runtime}
    return {
        name: sum(count for each, count in counts.items() if issubclass(each, kind))
        for name, kind in kinds.items()
    }


def _memory_mb() -> float:
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text().split()[1]) if statm.exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
