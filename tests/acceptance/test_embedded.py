"""An embedding program in a process of its own: killed, killing itself, and spoken to from outside."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure.runtime import IllegalTransition, Runtime, State, Status
from perdure.store.writes import Post

pytestmark = pytest.mark.e2e

PATIENCE_S = 30.0

PROGRAM = """
import asyncio, os, sys
from perdure.runtime import Runtime, Workflow

ledger = open("ledger.txt", "a", buffering=1)
chain = Workflow("chain")

@chain.step
async def first(pace: float) -> int:
    print("first", file=ledger)
    await asyncio.sleep(pace)
    return 1

@chain.step
async def second(first: int, pace: float) -> int:
    print("second", file=ledger)
    await asyncio.sleep(pace)
    return first + 1

@chain.step
async def third(second: int) -> int:
    print("third", file=ledger)
    return second + 1

killer = Workflow("killer")

@killer.step
async def explode() -> None:
    print("explode", file=ledger)
    await asyncio.sleep(0.05)
    os._exit(9)

async def main() -> None:
    async with Runtime("app.db", workflows=[chain, killer]) as runtime:
        for line in sys.argv[1:]:
            name, _, rest = line.partition(":")
            id_, _, pace = rest.partition(":")
            await runtime.start(name, {"pace": float(pace or 0)} if name == "chain" else {}, id=id_)
        print("ready", flush=True)
        await runtime.serve()

asyncio.run(main())
"""


class App:
    """The program, its folder, and what it has done."""

    def __init__(self, folder: Path) -> None:
        """`folder` is its own."""
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        (folder / "app.py").write_text(PROGRAM)

    @property
    def ledger(self) -> list[str]:
        """One word for each body that began."""
        path = self.folder / "ledger.txt"
        return path.read_text().split() if path.exists() else []

    @property
    def database(self) -> Path:
        """Its store."""
        return self.folder / "app.db"

    def start(self, *executions: str, waits: bool = True) -> subprocess.Popen[str]:
        """Run the program; each of `executions` is `workflow:id[:pace]`."""
        process = subprocess.Popen(
            [sys.executable, "app.py", *executions], cwd=self.folder, stdout=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        if waits:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        return process

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait in real time, with patience but not for ever."""
        end = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < end, f"never happened; ledger: {self.ledger}"
            time.sleep(0.01)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """The program, with every process of it ended afterwards."""
    app = App(tmp_path)
    yield app
    for process in app.processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.anyio
async def test_a_killed_program_goes_on_where_it_was_when_it_is_started_again(app: App) -> None:
    """Recorded steps are not repeated, the one in flight is, the trace id is the same."""
    process = app.start("chain:c-1:0.5")
    app.wait_until(lambda: "second" in app.ledger)
    process.kill()
    process.wait()
    app.start()
    async with Runtime(app.database, kind="client") as runtime:
        execution = await runtime.execution("c-1")
        result = await execution.result(timeout=PATIENCE_S)
        assert result.outputs == {"first": 1, "second": 2, "third": 3}
        traces = {event.trace_id async for event in execution.events()}
        interrupted = [e async for e in execution.events() if e.type == "step_interrupted"]
    assert app.ledger == ["first", "second", "second", "third"]
    assert len(traces) == 1
    assert [event.data for event in interrupted] == [{"reason": "crash"}]


@pytest.mark.anyio
async def test_resuming_an_execution_whose_process_has_died_adopts_it(app: App) -> None:
    """With nobody alive, whoever resumes becomes the runner; with the owner alive it is refused."""
    process = app.start("chain:c-1:100")
    app.wait_until(lambda: "first" in app.ledger)
    async with Runtime(app.database, kind="client") as runtime:
        with pytest.raises(IllegalTransition, match="already running"):
            await (await runtime.execution("c-1")).resume()
    process.kill()
    process.wait()
    async with Runtime(app.database, recover=False) as runtime:
        execution = await runtime.execution("c-1")
        await execution.resume(data={"pace": 0})
        assert (await execution.query())["context"] == {"pace": 0}


@pytest.mark.anyio
async def test_a_program_that_is_stopped_in_good_order_uses_up_no_attempt(app: App) -> None:
    """Ctrl-C unwinds the `async with`; the next one goes on."""
    process = app.start("chain:c-1:0.5")
    app.wait_until(lambda: "second" in app.ledger)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=PATIENCE_S)
    app.start()
    async with Runtime(app.database, kind="client") as runtime:
        execution = await runtime.execution("c-1")
        assert (await execution.result(timeout=PATIENCE_S)).status is Status.COMPLETED
        attempts = {attempt.step: attempt for attempt in await execution.attempts()}
    assert attempts["second"].attempt == 1
    assert attempts["second"].deaths == 0


@pytest.mark.anyio
async def test_a_step_that_kills_its_process_is_found_out_and_its_neighbours_are_spared(app: App) -> None:
    """Three deaths, the last one alone, or one more when a neighbour was tried first and went on."""
    app.start("killer:k-1", "chain:c-1:0.2", waits=False).wait(timeout=PATIENCE_S)
    for _ in range(2):
        app.start(waits=False).wait(timeout=PATIENCE_S)
    for _ in range(2):
        process = app.start(waits=False)
        app.wait_until(lambda p=process: p.poll() is not None or "third" in app.ledger)
    async with Runtime(app.database, kind="client") as runtime:
        killer = await (await runtime.execution("k-1")).result(check=False, timeout=PATIENCE_S)
        chain = await (await runtime.execution("c-1")).result(timeout=PATIENCE_S)
    assert killer.status is Status.FAILED
    assert killer.error is not None
    deaths = app.ledger.count("explode")
    assert deaths in {3, 4}
    assert f"died {deaths} times" in killer.error.message
    assert chain.outputs["third"] == 3


@pytest.mark.anyio
async def test_three_kills_in_a_row_fail_nobody_who_is_innocent(app: App) -> None:
    """Deploys by `kill -9` while a slow step runs: deaths are counted, but nothing was alone then."""
    app.start("chain:a:0.4", "chain:b:0.4", waits=True)
    for _ in range(3):
        app.wait_until(lambda: len(app.ledger) >= 2)
        app.processes[-1].kill()
        app.processes[-1].wait()
        (app.folder / "ledger.txt").unlink()
        app.start()
    async with Runtime(app.database, kind="client") as runtime:
        for id_ in ("a", "b"):
            result = await (await runtime.execution(id_)).result(timeout=PATIENCE_S)
            assert result.status is Status.COMPLETED


@pytest.mark.anyio
async def test_a_hundred_innocents_are_at_work_again_soon_after_two_kills(app: App) -> None:
    """All are suspects then; they are tried in eight groups, a second each, and nobody fails."""
    ids = [f"c-{number}" for number in range(100)]
    process = app.start(*(f"chain:{id_}:3" for id_ in ids))
    for kill in (1, 2):
        app.wait_until(lambda kill=kill: app.ledger.count("first") == kill * 100)
        process.kill()
        process.wait()
        process = app.start()
    began = time.monotonic()
    app.wait_until(lambda: app.ledger.count("first") == 300)
    took_s = time.monotonic() - began
    assert took_s < 12
    async with Runtime(app.database, kind="client") as runtime:
        for id_ in ids:
            result = await (await runtime.execution(id_)).result(timeout=PATIENCE_S)
            assert result.status is Status.COMPLETED


@pytest.mark.anyio
async def test_a_killer_among_twenty_is_found_and_they_come_to_their_end(app: App) -> None:
    """Two deaths that all share, then some among ever fewer, and the last one alone."""
    app.start(*(f"chain:c-{n}:0.5" for n in range(10)), "killer:k-1", waits=False).wait(timeout=PATIENCE_S)
    app.start(*(f"chain:d-{n}:0.5" for n in range(10)), waits=False).wait(timeout=PATIENCE_S)
    for _ in range(6):
        process = app.start(waits=False)
        app.wait_until(lambda p=process: p.poll() is not None or app.ledger.count("third") == 20)
        if process.poll() is None:
            break
    async with Runtime(app.database, kind="client") as runtime:
        killer = await (await runtime.execution("k-1")).result(check=False, timeout=PATIENCE_S)
        assert killer.status is Status.FAILED
        for n in range(10):
            for id_ in (f"c-{n}", f"d-{n}"):
                result = await (await runtime.execution(id_)).result(timeout=PATIENCE_S)
                assert result.status is Status.COMPLETED


@pytest.mark.anyio
async def test_a_step_that_is_alone_at_its_third_death_is_convicted_however_long_it_takes(app: App) -> None:
    """Nothing tells it from one that kills after a minute: give it company, or let it end."""
    process = app.start("chain:c-1:100")
    for kill in (1, 2, 3):
        app.wait_until(lambda kill=kill: app.ledger.count("first") == kill)
        process.kill()
        process.wait()
        process = app.start()
    async with Runtime(app.database, kind="client") as runtime:
        result = await (await runtime.execution("c-1")).result(check=False, timeout=PATIENCE_S)
    assert result.status is Status.FAILED
    assert app.ledger == ["first"] * 3


@pytest.mark.anyio
async def test_commands_from_another_process_reach_a_running_program(app: App) -> None:
    """Through the durable inbox and the bell, well within 100 ms."""
    app.start("chain:c-1:1000")
    app.wait_until(lambda: "first" in app.ledger)
    async with Runtime(app.database, kind="client") as runtime:
        execution = await runtime.execution("c-1")
        took = []
        for _ in range(3):
            began = time.perf_counter()
            await execution.update_context({"pace": 1000})
            took.append(time.perf_counter() - began)
        assert min(took) < 0.1, took
        assert await execution.pause(mode="interrupt") is State.PAUSED
        assert await execution.cancel("enough") is State.CANCELLED


@pytest.mark.anyio
async def test_a_second_program_leaves_alone_what_the_first_has_and_takes_it_over_when_it_dies(
    app: App,
) -> None:
    """Two runners on one file; the death is noticed at once, not at the next sweep."""
    first = app.start("chain:c-1:5")  # longer than a loaded machine takes to start a program
    app.wait_until(lambda: "first" in app.ledger)
    app.start()
    await asyncio.to_thread(time.sleep, 0.5)
    assert app.ledger == ["first"]
    first.kill()
    first.wait()
    began = time.monotonic()
    app.wait_until(lambda: app.ledger.count("first") == 2)
    assert time.monotonic() - began < 2
    async with Runtime(app.database, kind="client") as runtime:
        result = await (await runtime.execution("c-1")).result(timeout=PATIENCE_S)
    assert result.outputs["third"] == 3


def test_the_store_shows_no_damage_after_all_that(app: App) -> None:
    """A kill in the middle, then the store's own verification."""
    process = app.start(*[f"chain:c-{n}:0.05" for n in range(20)])
    app.wait_until(lambda: app.ledger.count("second") >= 5)
    process.kill()
    process.wait()
    code = (
        "import asyncio, json\n"
        "from perdure.store import SQLiteStore\n"
        "async def main():\n"
        "    store = SQLiteStore('app.db')\n"
        "    await store.open()\n"
        "    print(json.dumps(await store.verify()))\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    found = subprocess.check_output([sys.executable, "-c", code], cwd=app.folder, text=True)
    assert json.loads(found) == []


@pytest.mark.anyio
async def test_a_message_this_release_cannot_read_is_refused_and_harms_nothing(app: App) -> None:
    """What a newer client may put into the inbox of an older runner."""
    app.start("chain:c-1:1000")
    app.wait_until(lambda: "first" in app.ledger)
    async with Runtime(app.database, kind="client") as runtime:
        services = runtime.machine.services
        post = Post(
            execution_id="c-1", command_id="x-1", kind="Dance", payload=b'{"type":"Dance"}', sender=None, at=1
        )
        message_no = await services.writer.write(post)
        execution = await runtime.execution("c-1")
        assert await execution.pause(mode="interrupt") is State.PAUSED
        message = await runtime.store.message(message_no)
        assert message is not None
        assert b"cannot read" in (message.answer or b"")
        assert await execution.cancel() is State.CANCELLED
