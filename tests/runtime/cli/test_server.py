"""`perdure doctor` over a PostgreSQL server tells its settings, what is stuck, and what to do."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.cli import run_command
from perdure.runtime.cli.doctor import dump_command
from perdure.store.postgres.address import Address

pytestmark = pytest.mark.integration


async def left_behind(url: str) -> None:
    """An execution that has ended, and one whose code nobody has."""
    flow, other = Workflow("flow"), Workflow("other")

    @flow.step
    async def one() -> int:
        return 1

    @other.step
    async def two() -> int:
        return 2

    async with Runtime(url, workflows=[flow, other], recover=False) as runtime:
        await (await runtime.start(flow, {}, id="ended")).result()
        await runtime.start(other, {}, id="waits", detach=True)
    await execute(url, "UPDATE workflow_executions SET updated_at = 1 WHERE id = 'waits'")


async def execute(url: str, sql: str) -> None:
    """Run a statement past the store."""
    address = Address.parse(url)
    connection = await asyncpg.connect(address.dsn, server_settings={"search_path": address.schema})
    await connection.execute(sql)
    await connection.close()


def test_doctor_tells_what_is_wrong_with_a_server(postgres_url: str, capsys: pytest.CaptureFixture[str]):
    """The server of the tests has `fsync` off, which is worth a word; so is what nobody takes up."""
    asyncio.run(left_behind(postgres_url))
    assert run_command(["doctor", "--db", postgres_url]) == 1
    said = capsys.readouterr().out
    assert "PostgreSQL" in said
    assert "fsync is off" in said
    assert "waits" in said
    assert "2, 1 unfinished" in said
    assert run_command(["doctor", "--db", postgres_url, "--format", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["size_bytes"] > 100_000
    assert {"settings", "pooler"} >= {
        each["topic"] for each in told["findings"] if "fsync" in each["text"] or "pooler" in each["text"]
    }
    assert told["health"]["settings"]["autovacuum"] == "on"
    assert told["health"]["damage"] == []


def test_doctor_finds_damage_on_a_server(postgres_url: str, capsys: pytest.CaptureFixture[str]):
    """By the same looks as in a file."""
    asyncio.run(left_behind(postgres_url))
    asyncio.run(execute(postgres_url, "UPDATE workflow_contexts SET context = '{'"))
    assert run_command(["doctor", "--db", postgres_url, "--format", "json"]) == 1
    assert any("ended" in sentence for sentence in json.loads(capsys.readouterr().out)["health"]["damage"])


def test_doctor_changes_nothing_and_says_where_there_is_no_schema(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
):
    """Exit code 6."""
    assert run_command(["doctor", "--db", postgres_url]) == 6
    assert "no schema" in capsys.readouterr().err
    assert run_command(["doctor", "--db", postgres_url]) == 6


def test_backup_of_a_server_shows_the_command(capsys: pytest.CaptureFixture[str]):
    """With the schema in it and the password not."""
    url = "postgresql://anna:secret@db.example.org/orders?schema=my%20own&pooler=session&sslmode=require"
    assert run_command(["backup", "x.dump", "--db", url]) == 2
    said = capsys.readouterr().err
    assert "pg_dump --format=custom" in said
    assert "secret" not in said
    command = dump_command(url)
    assert "--schema='my own'" in command
    assert "sslmode=require" in command
    assert "pooler" not in command
