"""What `import perdure.runtime` loads: a process that needs no files does not pay for reading them."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import perdure.runtime

perdure.runtime.Runtime, perdure.runtime.Workflow
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


FIRST_RESULT = """
import asyncio, sys
from perdure.runtime import Runtime, Workflow

workflow = Workflow("first")

@workflow.step
async def only() -> int:
    return 1

async def main() -> None:
    async with Runtime(":memory:") as runtime:
        print((await (await runtime.start(workflow)).result()).outputs)

asyncio.run(main())
print(*sorted({"structlog", "rich"} & sys.modules.keys()))
"""


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The top-level modules of a new process that has imported what programs import."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.integration
@pytest.mark.parametrize(
    "name",
    ["yaml", "tomllib", "jsonschema_rs", "cyclopts", "uvloop", "asyncpg", "structlog", "email", "pickle"],
)
def test_an_import_leaves_out_what_may_never_be_needed(loaded: set[str], name: str):
    """Each of them is loaded by the first call that needs it."""
    assert name not in loaded


@pytest.mark.integration
def test_the_names_a_program_uses_are_there(loaded: set[str]):
    """The other tests of this file are about a process that has really loaded us."""
    assert {"perdure", "asyncio", "msgspec"} <= loaded


@pytest.mark.integration
def test_a_program_that_reads_no_log_does_not_load_what_writes_it():
    """Which would take longer than its first step."""
    ran = subprocess.run([sys.executable, "-c", FIRST_RESULT], capture_output=True, text=True, check=True)
    assert ran.stdout == "{'only': 1}\n\n"
