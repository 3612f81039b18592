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
