"""W7: how long does a new process take to be of use, and what does it take to install it?"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from benchmarks.machine import MIB
from benchmarks.question import Case, Figure, Question

FIRST_RESULT: Final = """
import asyncio, sys
from perdure.runtime import Runtime, Workflow

workflow = Workflow("first")

@workflow.step
async def hello() -> str:
    return "hello"

async def main() -> None:
    async with Runtime(sys.argv[1], durability=sys.argv[2]) as runtime:
        await (await runtime.start(workflow)).result()

asyncio.run(main())
"""

IMPORT: Final = "import perdure.runtime; perdure.runtime.Runtime, perdure.runtime.Workflow"
OURS: Final = ("perdure.store", "perdure.actors", "perdure.runtime")  # an editable install lists no files

QUESTION = Question(
    code="W7",
    title="cold process to first result; import; --help; packages and MB installed",
    figures=(
        Figure(name="import_ms", unit="ms, import perdure.runtime"),
        Figure(name="first_result_ms", unit="ms to the first result"),
        Figure(name="help_ms", unit="ms, perdure --help"),
        Figure(name="packages", unit="packages in the core"),
        Figure(name="installed_mb", unit="MB in the core"),
    ),
    cases=(
        Case(
            name="new process",
            size=5,
            rounds=3,
            reach={
                "import_ms": 150,
                "first_result_ms": 350,
                "help_ms": 200,
                "packages": 10,
                "installed_mb": 25,
            },
        ),
    ),
    durabilities=("power",),
)


async def perdure(size: int, *, folder: Path, durability: str) -> dict[str, float]:
    """Medians of several processes each, after one that compiles what is imported."""
    core = list(with_requirements("perdure"))
    paths = iter(folder / f"{number}.db" for number in range(size + 1))
    first = [await process_ms("-c", FIRST_RESULT, next(paths), durability) for _ in range(size + 1)]
    return {
        "import_ms": await median_ms(size, "-c", IMPORT),
        "first_result_ms": statistics.median(first[1:]),
        "help_ms": await median_ms(size, "-m", "perdure.runtime.cli", "--help"),
        "packages": len(core),
        "installed_mb": (sum(map(installed_bytes, core)) + sum(map(package_bytes, OURS))) / MIB,
    }


async def floor(size: int, **_: object) -> dict[str, float]:
    """A Python that does nothing."""
    bare_ms = await median_ms(size, "-c", "pass")
    return {"import_ms": bare_ms, "first_result_ms": bare_ms, "help_ms": bare_ms}


async def median_ms(count: int, *arguments: object) -> float:
    """The middle of several processes, after one that compiles what is imported."""
    return statistics.median([await process_ms(*arguments) for _ in range(count + 1)][1:])


async def process_ms(*arguments: object) -> float:
    """How long one Python takes from its start to its end."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *map(str, arguments), stdout=asyncio.subprocess.DEVNULL
    )
    if await process.wait() != 0:
        raise RuntimeError(f"python {arguments} ended with {process.returncode}")
    return (time.perf_counter() - began) * 1000


def with_requirements(name: str) -> Iterator[Distribution]:
    """The distribution and all that it needs here, without extras, each once."""
    seen: set[str] = set()
    wanted = [name]
    while wanted:
        found = distribution(wanted.pop())
        if found.name.lower() in seen:
            continue
        seen.add(found.name.lower())
        yield found
        needs = map(Requirement, found.requires or ())
        wanted += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]


def installed_bytes(found: Distribution) -> int:
    """The size of its files, without what Python compiles from them."""
    paths = (Path(str(file.locate())) for file in found.files or () if file.suffix != ".pyc")
    return sum(path.stat().st_size for path in paths if path.is_file())


def package_bytes(name: str) -> int:
    """The size of a package of ours."""
    folder = Path(import_module(name).__path__[0])
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
