"""One round of the runtime or of the floor: `python -m benchmarks.worker perdure W2 1000 power`.

The last line on standard output is the round's figures as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.questions import module_of


def main(contender: str, code: str, size: str, durability: str) -> None:
    """Run the round and print what came out."""
    answer = getattr(module_of(code), contender)
    with tempfile.TemporaryDirectory(prefix="perdure-benchmark-") as folder:
        print(json.dumps(asyncio.run(answer(int(size), folder=Path(folder), durability=durability))))


if __name__ == "__main__":
    main(*sys.argv[1:])
