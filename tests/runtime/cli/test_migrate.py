"""`perdure migrate` says what it would do, does it, and says how to go back."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from perdure.runtime.cli import run_command
from perdure.store.sqlite.migrate import migrations

OLDEST = min((Path(__file__).parents[2] / "data").glob("sqlite-*.db.gz"))
NEWEST = len(migrations())


@pytest.fixture(autouse=True)
def _in_a_folder_with_an_old_database() -> None:
    Path("perdure.db").write_bytes(gzip.decompress(OLDEST.read_bytes()))


def report(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    """What the command says to programs."""
    capsys.readouterr()
    assert run_command(["migrate", *words, "--format", "json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_what_would_be_done_can_be_read_and_tried(capsys: pytest.CaptureFixture[str]):
    """Neither changes anything."""
    assert run_command(["migrate", "--print"]) == 0
    assert capsys.readouterr().out.startswith(f"-- {migrations()[3].name}\n")
    tried = report(capsys, "--dry-run")
    assert (tried["from"], tried["to"], tried["undone"], tried["kept"]) == (3, NEWEST, True, None)
    assert report(capsys, "--dry-run") == tried


def test_a_migration_keeps_what_was_there_and_is_done_once(capsys: pytest.CaptureFixture[str]):
    """The second time there is nothing to do."""
    assert run_command(["migrate"]) == 0
    said = capsys.readouterr()
    assert f"the schema is at version {NEWEST}" in said.out
    assert "what was there is kept as perdure.db.before-4" in said.err
    again = report(capsys)
    assert (again["applied"], again["to"], again["kept"]) == ([], NEWEST, None)


def test_an_older_version_is_reached_by_the_copy_only(capsys: pytest.CaptureFixture[str]):
    """Exit code 6, and the commands that lead there."""
    assert run_command(["migrate"]) == 0
    assert run_command(["migrate", "--to", "3"]) == 6
    assert "restore-db perdure.db.before-4" in capsys.readouterr().err


@pytest.mark.parametrize("version", ["two", "²"])
def test_a_version_that_is_no_number_is_refused(version: str, capsys: pytest.CaptureFixture[str]):
    """Also what only looks like one."""
    assert run_command(["migrate", "--to", version]) == 2
    assert f"--to {version}: a schema's version is a number" in capsys.readouterr().err


def test_there_must_be_a_database(capsys: pytest.CaptureFixture[str]):
    """Migrating makes none."""
    assert run_command(["migrate", "--db", "none.db"]) == 6
    assert not Path("none.db").exists()
    assert "no database at none.db" in capsys.readouterr().err
