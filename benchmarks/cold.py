"""A process that opens a store, says when it is ready, then rests and says what resting costs.

python -m benchmarks.cold PATH DURABILITY
"""

from __future__ import annotations

import asyncio
import sys
import time

from benchmarks import workload
from benchmarks.machine import resident_mb, say
from perdure.runtime import Runtime

REST_S = 3.0


async def main(path: str, durability: str) -> None:
    """Open, report, rest, report."""
    before = resident_mb()
    async with Runtime(path, agents=workload.agents, durability=durability):
        say(rss_growth_mb=resident_mb() - before)
        cpu = time.process_time()
        await asyncio.sleep(REST_S)
        say(rest_cpu=(time.process_time() - cpu) / REST_S)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
