"""Keys come from a file, a variable or a function; a runtime works over an encrypted store as over any."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import anyio
import pytest

from perdure.runtime import Runtime, Workflow
from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.cli import run_command
from perdure.runtime.keys import Keyring, keys_of
from perdure.runtime.testing import TestRuntime, VirtualRuntime, run_virtual
from perdure.store import SQLiteStore
from perdure.store.errors import StoreError, StoreUnavailable
from perdure.store.scripts.sealing import KeyMissing

pytestmark = pytest.mark.integration

LINE = "k1:" + base64.b64encode(b"1" * 32).decode()
NEXT = "k2:" + base64.b64encode(b"2" * 32).decode()


def test_keys_are_read_from_a_file_or_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The first one seals what is new."""
    (tmp_path / "keys").write_text(f"{NEXT}\n# ours\n{LINE}\n", encoding="utf-8-sig")
    monkeypatch.setenv("THE_KEYS", f"{LINE},{NEXT}")
    from_file, from_variable = keys_of(f"file:{tmp_path / 'keys'}"), keys_of("env:THE_KEYS")
    assert from_file is not None
    assert from_variable is not None
    assert (from_file.current, from_file.key("k1")) == ("k2", b"1" * 32)
    assert (from_variable.current, from_variable.key("k2")) == ("k1", b"2" * 32)
    assert keys_of(None) is None
    with pytest.raises(KeyMissing) as missing:
        from_file.key("k3")
    assert missing.value.key_id == "k3"


@pytest.mark.parametrize(
    "text", ["", "k1", "k1:short", f"{LINE},{LINE}", f"_{LINE}", "k1:" + "A" * 44 + "!", "k1:é"]
)
def test_what_is_no_key_is_refused_without_being_shown(text: str, monkeypatch: pytest.MonkeyPatch):
    """A secret does not belong into a message."""
    monkeypatch.setenv("THE_KEYS", text)
    with pytest.raises(InvalidArgument) as refused:
        keys_of("env:THE_KEYS")
    assert len(text) < 4 or text not in str(refused.value)


def test_keys_beside_a_store_of_ones_own_are_refused(tmp_path: Path):
    """They would be of no use, and whoever gives them believes that payloads are encrypted."""
    with pytest.raises(InvalidArgument, match="give them to it"):
        Runtime(store=SQLiteStore(str(tmp_path / "x.db")), keys=Keyring("k1", {"k1": b"1" * 32}))


def test_the_test_kit_encrypts_too(tmp_path: Path):
    """Also where it makes its own store, and reads it once more to check it."""

    async def main() -> None:
        order = Workflow("order")

        @order.step
        async def take(name: str) -> str:
            return name

        keys = Keyring("k1", {"k1": b"1" * 32})
        async with TestRuntime(order, location=tmp_path / "x.db", keys=keys) as test:
            execution = await test.start("order", {"name": "confidential"})
            await test.assert_completed(execution, {"take": "confidential"})

    run_virtual(main)
    assert b"confidential" not in (tmp_path / "x.db").read_bytes()


@pytest.mark.parametrize("source", ["file:/nowhere/keys", "env:NOT_SET_ANYWHERE", LINE])
def test_a_place_without_keys_is_refused(source: str):
    """So is a key in place of its place."""
    with pytest.raises(InvalidArgument) as refused:
        keys_of(source)
    assert LINE not in str(refused.value)


def test_a_function_fetches_each_key_once():
    """From wherever keys are kept."""
    asked: list[str] = []

    def fetch(key_id: str) -> bytes:
        asked.append(key_id)
        return b"3" * 32

    ring = Keyring("k3", fetch)
    assert [ring.key("k3"), ring.key("k3")] == [b"3" * 32] * 2
    assert asked == ["k3"]


async def test_a_runtime_works_over_an_encrypted_store(tmp_path: Path):
    """What it has done is read by the next one that has the key, and by no other."""
    flow = Workflow("flow")

    @flow.step
    async def greet(name: str) -> str:
        return f"hello {name}"

    keys = Keyring("k1", {"k1": b"1" * 32})
    path = tmp_path / "perdure.db"
    async with Runtime(path, workflows=[flow], keys=keys) as runtime:
        execution = await runtime.start(flow, {"name": "the-secret-name"}, id="e1")
        assert (await execution.result()).outputs == {"greet": "hello the-secret-name"}
    assert b"the-secret-name" not in path.read_bytes()
    async with Runtime(path, workflows=[flow], keys=keys) as runtime:
        result = await (await runtime.execution("e1")).result()
        assert result.outputs == {"greet": "hello the-secret-name"}
    with pytest.raises(KeyMissing):
        async with Runtime(path, workflows=[flow]):
            pass


class Kept:
    """Keys that a service gives, as long as it is there."""

    current = "k1"

    def __init__(self) -> None:
        """It is there."""
        self.outage: BaseException | None = None

    def key(self, _: str) -> bytes:
        """The only one there is."""
        if self.outage is not None:
            raise self.outage
        return b"1" * 32


@pytest.mark.parametrize(
    "outage",
    [ConnectionError("refused"), SystemExit(1), asyncio.CancelledError()],
    ids=["error", "exit", "cancelled"],
)
def test_a_service_of_keys_that_is_away_is_waited_for(outage: BaseException, tmp_path: Path):
    """As a database is that is away: who asks is told, what runs goes on when it is back."""
    keys = Kept()
    flow = Workflow("flow")

    @flow.step
    async def first() -> int:
        await anyio.sleep(10)
        return 1

    async def main() -> None:
        store = SQLiteStore(str(tmp_path / "perdure.db"), inline=True, keys=keys)
        async with VirtualRuntime(store=store) as runtime:
            execution = await runtime.start(flow)
            keys.outage = outage
            with pytest.raises(StoreUnavailable, match=f"'k1' cannot be had .{type(outage).__name__}"):
                await runtime.start(flow)
            await anyio.sleep(60)
            keys.outage = None
            assert (await execution.result()).outputs == {"first": 1}

    run_virtual(main)


@pytest.mark.parametrize("key", ["1" * 32, None, bytearray(32)])
async def test_a_key_that_is_no_bytes_is_refused_in_words(key: object, tmp_path: Path):
    """Without showing it."""
    ring = Keyring("k1", lambda _: key)  # type: ignore[arg-type, return-value]
    with pytest.raises(StoreError, match=f"the key 'k1' is a {type(key).__name__}: give its 32 bytes"):
        async with Runtime(tmp_path / "perdure.db", keys=ring):
            pass


def test_the_commands_rotate_keys_and_tell_of_them(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """From none to one, and from one to the next."""
    (empty_folder / "flow.yaml").write_text("name: flow\nsteps: [{key: rest, sleep: 1ms}]\n")
    assert run_command(["run", "flow.yaml", "-i", "word=hidden-word"]) == 0
    assert run_command(["rekey"]) == 2
    monkeypatch.setenv("THE_KEYS", LINE)
    monkeypatch.setenv("PERDURE_KEYS", "env:THE_KEYS")
    assert run_command(["rekey"]) == 0
    assert "all with the key k1" in capsys.readouterr().out
    assert run_command(["status", "@last", "--format", "json"]) == 0
    assert "hidden-word" in capsys.readouterr().out
    monkeypatch.setenv("THE_KEYS", f"{NEXT},{LINE}")
    assert run_command(["rekey", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["key"] == "k2"
    monkeypatch.setenv("THE_KEYS", NEXT)
    assert run_command(["list"]) == 0
    capsys.readouterr()
    run_command(["doctor"])
    assert "keys k2" in capsys.readouterr().out
    monkeypatch.delenv("PERDURE_KEYS")
    assert run_command(["list"]) == 6
    assert "'k2'" in capsys.readouterr().err
