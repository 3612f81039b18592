"""One round of the runtime or of the floor: `python -m benchmarks.worker perdure W2 1000 power`.

The last line on standard output is the round's figures as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks.questions import module_of
from benchmarks.rounds import HOST, Figures


def main(contender: str, code: str, size: str, durability: str) -> None:
    """Run the round and print what came out."""
    answer = getattr(module_of(code), contender)
    with tempfile.TemporaryDirectory(prefix="perdure-benchmark-") as folder:
        print(json.dumps(run(lambda: answer(int(size), folder=Path(folder), durability=durability))))


def run(main: Callable[[], Coroutine[Any, Any, Figures]]) -> Figures:
    """As in a program that embeds the runtime, or as `perdure worker` does: uvloop, patient garbage."""
    if HOST not in os.environ:
        return asyncio.run(main())
    from perdure.runtime.cli.session import run_async  # noqa: PLC0415 - whoever embeds it has none of this

    return run_async(main, is_fast=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
