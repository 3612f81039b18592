"""`perdure doctor` over a PostgreSQL server tells its settings, what is stuck, and what to do."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import asyncpg
import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.cli import run_command, server
from perdure.runtime.cli.doctor import dump_command
from perdure.runtime.cli.server import DEAD_ROWS_MAX
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


def test_looking_at_a_server_makes_nothing_there(postgres_url: str, capsys: pytest.CaptureFixture[str]):
    """A schema that is mistyped is told, and not made; one of an older release stays as it is."""
    for command in (["list"], ["status", "o-1"], ["stats"], ["runners"], ["events", "@last"]):
        assert run_command([*command, "--db", postgres_url]) == 6
        assert "no database in the schema" in capsys.readouterr().err
    asyncio.run(left_behind(postgres_url))
    assert run_command(["list", "--db", postgres_url]) == 0
    asyncio.run(execute(postgres_url, "DELETE FROM perdure_migrations WHERE version > 20"))
    assert run_command(["list", "--db", postgres_url]) == 6
    assert "has schema version 20" in capsys.readouterr().err


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


async def waste(url: str) -> None:
    """Dead rows that nothing takes away, and a transaction that stays open."""
    await execute(url, "ALTER TABLE workflow_timers SET (autovacuum_enabled = off)")
    fill = "INSERT INTO workflow_timers SELECT min(no), 'wake', n, n FROM workflow_executions, "
    await execute(url, f"{fill} generate_series(1, {2 * DEAD_ROWS_MAX}) n GROUP BY n")
    await execute(url, "DELETE FROM workflow_timers")


def advice_on(told: Any, topic: str) -> list[str]:
    """What is to be done about it."""
    return [each["advice"] for each in told["findings"] if each["topic"] == topic]


def test_doctor_gives_the_sql_for_what_takes_up_room(
    postgres_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """It can be executed as it stands, and then nothing is left to be said."""
    asyncio.run(left_behind(postgres_url))
    doctor = ["doctor", "--db", postgres_url, "--format", "json"]
    run_command(doctor)
    told = json.loads(capsys.readouterr().out)
    assert advice_on(told, "bloat") == advice_on(told, "size") == []
    asyncio.run(waste(postgres_url))
    monkeypatch.setattr(server, "STORE_BYTES_MAX", 1_000_000)
    monkeypatch.setattr(server, "TRANSACTION_S_MAX", -1.0)
    assert run_command(doctor) == 1
    told = json.loads(capsys.readouterr().out)
    [vacuum, look] = advice_on(told, "bloat")
    [shrink] = advice_on(told, "size")
    assert vacuum.startswith("VACUUM (ANALYZE) ")
    assert "workflow_timers" in vacuum
    asyncio.run(execute(postgres_url, vacuum))
    asyncio.run(execute(postgres_url, look.split(";")[0]))
    [full] = re.findall(r"VACUUM \(FULL\) [^;]+", shrink)
    asyncio.run(execute(postgres_url, full))
    monkeypatch.undo()
    run_command(doctor)
    told = json.loads(capsys.readouterr().out)
    assert advice_on(told, "bloat") == advice_on(told, "size") == []


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


def test_statistics_of_the_last_days_are_told_of_a_server(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
):
    """As of a file: what was started within them, and of everything what is there."""
    asyncio.run(left_behind(postgres_url))
    asyncio.run(execute(postgres_url, "UPDATE workflow_executions SET created_at = 1 WHERE id = 'ended'"))

    def told(*words: str) -> dict[str, int]:
        assert run_command(["stats", *words, "--db", postgres_url, "--format", "json"]) == 0
        return {
            each["workflow"]: each["executions"] for each in json.loads(capsys.readouterr().out)["workflows"]
        }

    assert told() == told("--last", "5200w") == {"flow": 1, "other": 1}
    assert told("--last", "7d") == {"other": 1}
    assert run_command(["stats", "flow", "--last", "7d", "--db", postgres_url]) == 3
