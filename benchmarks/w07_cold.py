"""W7: how long does a new process take to be of use, and what does it take to install it?

Asked of the wheel as `pip install perdure` leaves it, in an environment of its own without extras.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from benchmarks.machine import MIB
from benchmarks.question import Case, Figure, Question
from benchmarks.rounds import ROOT

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
CORE: Final = ROOT / "build" / "core"
PARTS: Final = ("store", "actors", "runtime")
BARE: Final = ("pip", "setuptools", "wheel")

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
    python = await asyncio.to_thread(installed)
    core = packages(python)
    paths = iter(folder / f"{number}.db" for number in range(size + 1))
    first = [await process_ms(python, "-c", FIRST_RESULT, next(paths), durability) for _ in range(size + 1)]
    return {
        "import_ms": await median_ms(size, python, "-c", IMPORT),
        "first_result_ms": statistics.median(first[1:]),
        "help_ms": await median_ms(size, python, "-m", "perdure.runtime.cli", "--help"),
        "packages": len(core),
        "installed_mb": sum(map(installed_bytes, core)) / MIB,
    }


async def floor(size: int, **_: object) -> dict[str, float]:
    """A Python that does nothing."""
    bare_ms = await median_ms(size, await asyncio.to_thread(installed), "-c", "pass")
    return {"import_ms": bare_ms, "first_result_ms": bare_ms, "help_ms": bare_ms}


async def median_ms(count: int, *command: object) -> float:
    """The middle of several processes, after one that compiles what is imported."""
    return statistics.median([await process_ms(*command) for _ in range(count + 1)][1:])


async def process_ms(*command: object) -> float:
    """How long a process takes from its start to its end."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=asyncio.subprocess.DEVNULL)
    if await process.wait() != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return (time.perf_counter() - began) * 1000


def installed() -> Path:
    """The Python of an environment with our core in it; installed again when a source is newer."""
    python = CORE / "bin" / "python"
    made = CORE / "made"
    sources = [ROOT / "pyproject.toml", *(path for part in PARTS for path in (ROOT / part).rglob("*.py"))]
    if made.exists() and made.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return python
    if not python.exists():
        subprocess.run(["bash", str(ROOT / ".ci" / "venv"), str(CORE)], check=True, stdout=sys.stderr)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--force-reinstall"]
    subprocess.run([*pip, str(ROOT)], check=True, stdout=sys.stderr)
    made.touch()
    return python


def packages(python: Path) -> list[Distribution]:
    """What is installed there, without what every environment begins with."""
    (folder,) = python.parent.parent.glob("lib/python*/site-packages")
    return [found for found in distributions(path=[str(folder)]) if found.name not in BARE]


def installed_bytes(found: Distribution) -> int:
    """The size of its files, without what Python compiles from them."""
    paths = (Path(str(file.locate())) for file in found.files or () if file.suffix != ".pyc")
    return sum(path.stat().st_size for path in paths if path.is_file())
