"""Run the sales pipeline on the file that lies beside this one: `python main.py [FOLDER]`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from pipeline import sales

from perdure.runtime import Runtime

SOURCE = Path(__file__).with_name("sales.csv")


async def main(folder: Path) -> None:
    """Load the sales into `sales.db` in the folder, which must be there, and print the summary."""
    async with Runtime(folder / "perdure.db") as runtime:
        context = {"source": str(SOURCE), "database": str(folder / "sales.db")}
        execution = await runtime.start(sales, context)
        result = await execution.result()
    print(json.dumps(result.outputs["summary"], indent=2))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
