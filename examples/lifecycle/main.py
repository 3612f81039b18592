"""Take the opportunities through their lifecycle: `python main.py [FOLDER]`. Run it twice: it joins."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from stages import lifecycle

from perdure.runtime import Runtime

SOURCE = Path(__file__).with_name("opportunities.json")
EXECUTION_ID = "lifecycle-2024"  # one lifecycle a year, however often it is asked for


async def main(folder: Path) -> None:
    """Publish and start twice, which is the same as once, and print the verdict."""
    async with Runtime(folder / "perdure.db") as runtime:
        first, again = await runtime.publish(lifecycle), await runtime.publish(lifecycle)
        assert first.revision == again.revision

        context = {"source": str(SOURCE)}
        execution = await runtime.start(lifecycle, context, id=EXECUTION_ID)
        joined = await runtime.start(lifecycle, context, id=EXECUTION_ID)
        assert joined.id == execution.id

        result = await joined.result()
        print(json.dumps({"status": result.status, **result.outputs["integrity"]}, indent=2))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
