"""A virtual process that is killed is frozen where it stands: nothing of it runs, nothing unwinds."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from perdure.actors.kernel import outside
from perdure.actors.kernel.processes import Killed, ProcessDied, VirtualProcess
from perdure.actors.kernel.testing import run_virtual


def test_a_process_runs_what_it_is_given_and_answers() -> None:
    """As if there were no process."""

    async def main() -> None:
        process = VirtualProcess("one")

        async def work() -> int:
            await anyio.sleep(10)
            return 7

        async def fail() -> None:
            raise OSError("no")

        assert await process.run(work) == 7
        with pytest.raises(OSError, match="no"):
            await process.run(fail)

    run_virtual(main)


def test_a_killed_process_runs_no_clean_up_ever() -> None:
    """Not in its tasks, not in the tasks they have started, not in its generators; not even at the end."""
    unwound: list[str] = []

    @contextlib.asynccontextmanager
    async def resource():
        try:
            yield
        finally:
            unwound.append("resource")

    async def child() -> None:
        try:
            await anyio.sleep(1)
        finally:
            unwound.append("child")

    async def work() -> None:
        async with resource(), anyio.create_task_group() as group:
            group.start_soon(child)
            await anyio.sleep(100)

    async def main() -> None:
        process = VirtualProcess("one")
        running = asyncio.ensure_future(process.run(work))
        await anyio.sleep(0.5)
        process.kill()
        with pytest.raises(ProcessDied):
            await running
        await anyio.sleep(1000)

    run_virtual(main)
    gc.collect()
    assert unwound == []


def test_a_process_may_be_killed_from_within() -> None:
    """The code that does so goes no further."""
    went_on: list[str] = []

    async def main() -> None:
        process = VirtualProcess("one")

        async def work() -> None:
            process.kill()
            went_on.append("work")

        with pytest.raises(ProcessDied):
            await process.run(work)
        assert not process.is_alive
        with pytest.raises(ProcessDied):
            await process.run(work)

    run_virtual(main)
    assert went_on == []


def test_what_a_process_begins_on_its_way_out_is_dead_as_well() -> None:
    """Its clean-up runs as far as it does not wait; nobody waits for it at the end of the loop either."""
    went_on: list[str] = []

    async def main() -> None:
        process = VirtualProcess("one")

        async def clean_up() -> None:
            went_on.append("clean-up")

        async def work() -> None:
            try:
                process.kill()
            finally:
                await asyncio.ensure_future(clean_up())
                went_on.append("work")

        with pytest.raises(ProcessDied):
            await process.run(work)

    run_virtual(main)
    assert went_on == []


def test_a_process_that_catches_everything_is_dead_all_the_same() -> None:
    """What it hands to others before it next waits is not delivered."""
    heard: list[str] = []

    async def main() -> None:
        process = VirtualProcess("one")
        loop = asyncio.get_running_loop()

        async def work() -> None:
            with contextlib.suppress(Killed):
                process.kill()
            loop.call_soon(heard.append, "soon")
            loop.call_later(1, heard.append, "later")
            await anyio.sleep(1)
            heard.append("itself")

        with pytest.raises(ProcessDied):
            await process.run(work)
        await anyio.sleep(10)

    run_virtual(main)
    assert heard == []


def test_a_process_may_be_killed_in_a_callback_of_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    """Where there is no task to end; nothing is reported as an error."""

    async def main() -> None:
        process = VirtualProcess("one")

        async def work() -> None:
            asyncio.get_running_loop().call_soon(process.kill)
            await anyio.sleep(100)

        with pytest.raises(ProcessDied):
            await process.run(work)

    run_virtual(main)
    assert caplog.records == []


def test_others_go_on_when_a_process_dies() -> None:
    """Only what it has started belongs to it."""

    async def main() -> None:
        one, other = VirtualProcess("one"), VirtualProcess("other")
        waits = asyncio.get_running_loop().create_future()

        async def hang() -> None:
            await waits

        async def work() -> int:
            await anyio.sleep(5)
            waits.set_result(None)  # a future that one of the dead waits for, too
            return 1

        hanging = asyncio.ensure_future(one.run(hang))
        working = asyncio.ensure_future(other.run(work))
        await anyio.sleep(1)
        one.kill()
        assert await working == 1
        with pytest.raises(ProcessDied):
            await hanging

    run_virtual(main)


def test_the_clock_does_not_wait_for_what_a_dead_process_had_outside() -> None:
    """A thread's answer would never be taken."""

    async def main() -> None:
        process = VirtualProcess("one")

        async def work() -> None:
            with outside():
                await anyio.sleep_forever()

        running = asyncio.ensure_future(process.run(work))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        process.kill()
        await anyio.sleep(3_600)
        with pytest.raises(ProcessDied):
            await running

    run_virtual(main)


def test_the_peer_of_a_dead_process_sees_the_end_of_the_line(tmp_path: Path) -> None:
    """Its sockets are closed, the one it listens on as well."""
    path = str(tmp_path / "bell")

    async def main() -> None:
        process = VirtualProcess("one")

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello\n")
            await reader.readline()

        async def listen() -> None:
            await asyncio.start_unix_server(serve, path)

        await process.run(listen)
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.readline() == b"hello\n"
        process.kill()
        assert await reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_unix_connection(path)
        writer.close()

    run_virtual(main)


def test_the_living_may_use_the_descriptors_of_the_dead(tmp_path: Path) -> None:
    """The kernel gives their numbers to whoever opens something next."""
    path = str(tmp_path / "bell")

    async def main() -> None:
        process = VirtualProcess("one")

        async def listen() -> None:
            await asyncio.start_unix_server(lambda *_: anyio.sleep(100), path)

        await process.run(listen)
        _, writer = await asyncio.open_unix_connection(path)
        await anyio.sleep(1)
        process.kill()
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            for one in [stack.enter_context(one) for _ in range(3) for one in socket.socketpair()]:
                loop.add_reader(one, lambda: None)
                loop.remove_reader(one)
        writer.close()

    run_virtual(main)


def test_a_caller_that_is_cancelled_cancels_what_it_has_asked_for() -> None:
    """And hears what became of it."""
    unwound: list[str] = []

    async def main() -> None:
        process = VirtualProcess("one")

        async def work() -> None:
            try:
                await anyio.sleep(100)
            finally:
                unwound.append("work")

        with anyio.move_on_after(1) as scope:
            await process.run(work)
        assert scope.cancelled_caught
        assert unwound == ["work"]

    run_virtual(main)


def test_the_dead_say_nothing_when_the_interpreter_ends() -> None:
    """No warning of a task destroyed while pending, no error out of a coroutine that is thrown away."""
    program = """
import anyio, asyncio
from perdure.actors.kernel.processes import VirtualProcess
from perdure.actors.kernel.testing import run_virtual

async def work():
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 100)
            await anyio.sleep(100)
    finally:
        print("unwound")
        await anyio.sleep(1)

async def main():
    process = VirtualProcess("one")
    running = asyncio.ensure_future(process.run(work))
    await anyio.sleep(1)
    process.kill()
    await asyncio.wait([running])
    running.exception()

run_virtual(main)
"""
    command = [sys.executable, "-X", "dev", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
