"""A database that is not there is told, whatever a command wants of it, and is not made."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.runtime.cli import run_command

# All that find something in a database; those that put it there make one: run, worker, publish, import.
COMMANDS = (
    "list",
    "status o-1",
    "pause o-1",
    "resume o-1",
    "cancel o-1",
    "rollback o-1",
    "retry o-1",
    "signal o-1 go",
    "pause --where state=executing",
    "checkpoint o-1",
    "checkpoints o-1",
    "fork o-1 --detach",
    "approvals",
    "approve o-1 ask --by ada",
    "prune --older-than 90d",
    "search lamp",
    "schedule list",
    "schedule add hourly order --every 1h",
    "schedule trigger hourly",
    "webhooks",
    "webhooks repeat d-1",
    "versions order",
    "activate order v1",
    "deactivate order",
    "diff order v1 v2",
    "items o-1 a",
    "stats",
    "runners",
    "history --last 7d",
    "events o-1",
    "migrate o-1 --to v2",
    "import --rollback batch-1",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_not_there_is_told(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a slip in --db."""
    path = tmp_path / "perdrue.db"
    assert run_command([*command.split(), "--db", str(path)]) == 6
    assert "no database at" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.integration
def test_a_schema_that_is_not_there_is_told(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As after a slip in ?schema=; the last command finds none that one before it would have made."""
    for command in COMMANDS:
        assert run_command([*command.split(), "--db", postgres_url]) == 6, command
        assert "no database in the schema" in capsys.readouterr().err, command
