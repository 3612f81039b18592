"""Guarded agents through the whole runtime: limits, rates and circuits that all executions share."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from scenarios import virtually

from perdure.runtime import Action, Agents, CircuitBreaker, Execution, Runtime, State, Status, Workflow
from perdure.runtime.agents import InvalidGuard
from perdure.runtime.agents.guards import guard_of
from perdure.runtime.cli import run_command
from perdure.runtime.testing import RuntimeProcess, VirtualRuntime, check_store, run_virtual

BOTH = pytest.mark.parametrize("scheduling", ["level", "eager"])


class Service:
    """Something outside that is called, and notes when, and how many calls there are at once."""

    def __init__(self, *, takes_s: float = 1.0) -> None:
        """Every call takes so long, and fails while `is_down`."""
        self.takes_s = takes_s
        self.is_down = False
        self.now = self.most = 0
        self.calls: list[float] = []

    async def call(self) -> str:
        """One call."""
        self.calls.append(anyio.current_time())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await anyio.sleep(self.takes_s)
        finally:
            self.now -= 1
        if self.is_down:
            raise OSError("down")
        return "done"


def guarded(service: Service, **guard: Any) -> Agents:
    """A registry whose one agent calls the service."""
    agents = Agents()
    agents.agent("service", **guard)(service.call)
    return agents


def calling(scheduling: Any = "level", steps: int = 1, **options: Any) -> Workflow:
    """So many calls beside each other."""
    workflow = Workflow("calling", scheduling=scheduling)
    for no in range(steps):
        workflow.agent_step(f"call-{no}", agent="service", **options)
    return workflow


async def until(execution: Execution, type_: str) -> Any:
    """Wait for that line in its log; what it says."""
    async for event in execution.events(follow=True):
        if event.type == type_:
            return event.data
    raise AssertionError(f"no {type_}")


@BOTH
def test_no_more_steps_of_an_agent_run_at_once_than_it_allows(scheduling: str):
    """Over all executions; and no less: the room there is is used."""
    service = Service(takes_s=0.1)

    async def scenario(runtime: Runtime) -> None:
        begun = anyio.current_time()
        executions = [await runtime.start(calling(scheduling, 4)) for _ in range(5)]
        for execution in executions:
            await execution.result()
        assert service.most == 2
        assert len(service.calls) == 20
        assert anyio.current_time() - begun == pytest.approx(1.0, abs=0.1)

    virtually(scenario, agents=guarded(service, max_concurrency=2))


def test_a_step_that_waits_for_long_is_a_row_and_goes_on_as_soon_as_there_is_room():
    """After a second there is no task for it; no attempt is used up."""
    service = Service(takes_s=60)

    async def scenario(runtime: Runtime) -> None:
        begun = anyio.current_time()
        first = await runtime.start(calling())
        second = await runtime.start(calling())
        held = await until(second, "step_held")
        assert (held["agent"], held["why"]) == ("service", "concurrency")
        await anyio.sleep(40)
        assert not runtime.machine.executions.is_hot(second.id)
        await first.result()
        await second.result()
        assert anyio.current_time() - begun == pytest.approx(120, abs=1)
        assert [attempt.attempt for attempt in await second.attempts()] == [1]

    virtually(scenario, agents=guarded(service, max_concurrency=1))


def test_of_those_that_were_held_the_oldest_goes_first():
    """Whoever has waited longest is told."""
    service = Service(takes_s=60)

    async def scenario(runtime: Runtime) -> None:
        executions = []
        for _ in range(4):
            executions.append(await runtime.start(calling()))
            await anyio.sleep(2)
        ends = []
        for execution in executions:
            await execution.result()
            ends.append(anyio.current_time())
        assert ends == sorted(ends)
        assert all(59 < later - earlier < 62 for earlier, later in pairwise(ends))

    virtually(scenario, agents=guarded(service, max_concurrency=1))


def test_one_that_is_cancelled_in_line_leaves_the_line():
    """Nothing is left behind that would take its slot."""
    service = Service(takes_s=0.5)

    async def scenario(runtime: Runtime) -> None:
        first, second, third = [await runtime.start(calling()) for _ in range(3)]
        await anyio.sleep(0.1)
        assert await second.cancel() is State.CANCELLED
        await first.result()
        await third.result()
        assert len(service.calls) == 2
        [guard] = await runtime.store.guards()
        assert guard.slots_taken == 0

    virtually(scenario, agents=guarded(service, max_concurrency=1))


def test_what_is_held_can_be_paused_resumed_and_cancelled():
    """It waits like anything else that waits."""
    service = Service(takes_s=30)

    async def scenario(runtime: Runtime) -> None:
        first = await runtime.start(calling())
        second, third = await runtime.start(calling()), await runtime.start(calling())
        await until(second, "step_held")
        await until(third, "step_held")
        assert await second.pause() is State.PAUSED
        assert await third.cancel() is State.CANCELLED
        await first.result()
        await anyio.sleep(5)
        assert (await second.status()).state is State.PAUSED
        await second.resume()
        await second.result()
        assert len(service.calls) == 2

    virtually(scenario, agents=guarded(service, max_concurrency=1))


def test_hooks_and_compensations_are_steps_of_their_agent_like_any_other():
    """They wait for a slot as well, and nothing of the end is written before."""
    service = Service(takes_s=10)
    workflow = Workflow("undone", on_failure="compensate")
    workflow.agent_step("call", agent="service", compensate=Action("service"))
    workflow.agent_step("fail", agent="failing", after="call")
    workflow.hook("finally", Action("service"))
    agents = guarded(service, max_concurrency=1)

    @agents.agent("failing")
    async def fail() -> None:
        raise ValueError("never")

    async def scenario(runtime: Runtime) -> None:
        executions = [await runtime.start(workflow) for _ in range(3)]
        for execution in executions:
            assert (await execution.result(check=False)).status is Status.ROLLED_BACK
        assert (service.most, len(service.calls)) == (1, 9)
        told = {event.type for each in executions async for event in each.events()}
        assert told >= {"step_held", "step_compensation_held", "hook_held"}
        assert [guard.slots_taken for guard in await runtime.store.guards()] == [0]
        assert await check_store(runtime.store) == []

    virtually(scenario, agents=agents)


@BOTH
def test_steps_of_an_agent_begin_no_oftener_than_its_rate(scheduling: str):
    """A burst as large as the rate's count, then evenly."""
    service = Service(takes_s=0)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(calling(scheduling, 8))
        await execution.result()
        begun = service.calls[0]
        assert [round(at - begun, 1) for at in sorted(service.calls)] == [0, 0, 0.5, 1, 1.5, 2, 2.5, 3]

    virtually(scenario, agents=guarded(service, rate="2/s"))


def test_a_slow_rate_holds_its_steps_as_rows():
    """One in an hour: nothing runs in between."""
    service = Service(takes_s=0)

    async def scenario(runtime: Runtime) -> None:
        executions = [await runtime.start(calling()) for _ in range(3)]
        await anyio.sleep(30)
        assert runtime.machine.executions.is_idle
        for execution in executions:
            await execution.result()
        assert [round(at - service.calls[0], -1) for at in service.calls] == [0, 3_600, 7_200]

    virtually(scenario, agents=guarded(service, rate="1/h"))


@BOTH
def test_an_agent_that_fails_is_left_alone_until_a_probe_succeeds(scheduling: str):
    """All executions wait, as rows; one probe is made, and then all go on."""
    service = Service(takes_s=0.1)
    breaker = CircuitBreaker(errors=3, window=60, cooldown=100)

    async def scenario(runtime: Runtime) -> None:
        service.is_down = True
        failing = [await runtime.start(calling(scheduling)) for _ in range(3)]
        for execution in failing:
            assert (await execution.result(check=False)).status.value == "failed"
        service.is_down = False
        waiting = [await runtime.start(calling(scheduling)) for _ in range(5)]
        assert (await until(waiting[-1], "step_held"))["why"] == "circuit"
        await anyio.sleep(50)
        assert runtime.machine.executions.is_idle
        assert len(service.calls) == 3
        for execution in waiting:
            await execution.result()
        assert len(service.calls) == 8
        probe, *others = service.calls[3:]
        assert probe - service.calls[2] == pytest.approx(100, abs=1)
        assert all(0 < at - probe < 2 for at in others)
        [guard] = await runtime.store.guards()
        assert guard.circuit == {
            "state": "closed",
            "failures": [],
            "opened_at": None,
            "retry_at": None,
            "probes": [],
            "successes": 0,
            "reason": None,
        }

    virtually(scenario, agents=guarded(service, circuit_breaker=breaker))


def test_a_probe_that_fails_opens_the_circuit_for_as_long_again():
    """One call in each cooldown, whatever waits."""
    service = Service(takes_s=0)
    service.is_down = True
    breaker = CircuitBreaker(errors=1, cooldown=100)

    async def scenario(runtime: Runtime) -> None:
        executions = [await runtime.start(calling()) for _ in range(4)]
        for execution in executions:
            await execution.result(check=False)
        assert [round(later - earlier, -1) for earlier, later in pairwise(service.calls)] == [100] * 3

    virtually(scenario, agents=guarded(service, circuit_breaker=breaker))


def test_a_step_may_fail_at_once_where_the_circuit_is_open():
    """By choice; its retries are tried like those of any failure."""
    service = Service(takes_s=0)
    service.is_down = True
    breaker = CircuitBreaker(errors=1, cooldown=100, on_open="fail")

    async def scenario(runtime: Runtime) -> None:
        await (await runtime.start(calling())).result(check=False)
        refused = await (await runtime.start(calling())).result(check=False)
        assert refused.error is not None
        assert "the circuit of agent 'service' is open" in refused.error.message
        assert len(service.calls) == 1

    virtually(scenario, agents=guarded(service, circuit_breaker=breaker))


def test_an_attempt_is_as_slow_as_its_body_and_not_as_its_wait_for_a_place_in_the_process():
    """A process that is full says nothing of the agent."""
    service = Service(takes_s=3)
    breaker = CircuitBreaker(errors=1, latency=5)

    async def scenario(runtime: Runtime) -> None:
        execution = await runtime.start(calling(steps=3))
        await execution.result(timeout=20)
        assert all(guard.circuit is None for guard in await runtime.store.guards())
        service.takes_s = 6
        await (await runtime.start(calling())).result(timeout=20)
        late = await runtime.start(calling())
        assert (await until(late, "step_held"))["why"] == "circuit"

    virtually(scenario, agents=guarded(service, circuit_breaker=breaker), max_active_steps=1)


def test_a_circuit_is_open_for_whoever_opens_the_store_next(tmp_path: Path):
    """It is kept, and so are those that wait for it."""
    service = Service(takes_s=0)
    service.is_down = True
    agents = guarded(service, circuit_breaker=CircuitBreaker(errors=1, cooldown=1_000))
    path = tmp_path / "p.db"

    async def main() -> None:
        async with VirtualRuntime(path, agents=agents) as runtime:
            await (await runtime.start(calling())).result(check=False)
            waiting = await runtime.start(calling(), id="w")
            await until(waiting, "step_held")
        service.is_down = False
        begun = anyio.current_time()
        async with VirtualRuntime(path, agents=agents) as runtime:
            await anyio.sleep(500)
            assert len(service.calls) == 1
            await (await runtime.execution("w")).result()
            assert anyio.current_time() - begun == pytest.approx(1_000, abs=5)

    run_virtual(main)


def test_runners_share_a_limit_and_a_killed_one_gives_its_slots_back(tmp_path: Path):
    """What it had begun goes on elsewhere, within the limit, at once."""
    service = Service(takes_s=100)
    agents = guarded(service, max_concurrency=2)
    path = tmp_path / "p.db"

    async def main() -> None:
        first = RuntimeProcess(path, name="first", seed=1, agents=agents)
        second = RuntimeProcess(path, name="second", seed=2, agents=agents)
        await first.open()
        await second.open()
        for no, process in enumerate((first, second, first, second)):
            await process.run(lambda runtime, no=no: runtime.start(calling(), id=f"e{no}"))
        await anyio.sleep(50)
        assert (service.now, service.most) == (2, 2)
        service.now -= 1  # the call of the one that dies ends with it
        first.kill()
        await anyio.sleep(40)
        assert service.now == 2

        async def end(runtime: Runtime) -> None:
            for no in range(4):
                await (await runtime.execution(f"e{no}")).result()
            assert await check_store(runtime.store) == []
            assert [guard.slots_taken for guard in await runtime.store.guards()] == [0]

        await second.run(end)
        assert service.most == 2
        await second.close()

    run_virtual(main)


def test_a_circuit_that_one_runner_opens_is_open_for_the_others(tmp_path: Path):
    """At the latest a second later; and one probe is made for all."""
    service = Service(takes_s=0)
    service.is_down = True
    agents = guarded(service, circuit_breaker=CircuitBreaker(errors=1, cooldown=60))
    path = tmp_path / "p.db"

    async def main() -> None:
        one = VirtualRuntime(path, seed=1, agents=agents)
        async with one, VirtualRuntime(path, seed=2, agents=agents) as two:
            await (await one.start(calling())).result(check=False)
            service.is_down = False
            waiting = [await runtime.start(calling()) for runtime in (one, two, two)]
            await anyio.sleep(50)
            assert len(service.calls) == 1
            for execution in waiting:
                await execution.result()
            assert len(service.calls) == 4

    run_virtual(main)


@pytest.mark.parametrize(
    "guard",
    [
        {"max_concurrency": 0},
        {"max_concurrency": True},
        {"rate": "fast"},
        {"rate": "0/s"},
        {"rate": 10},
        {"circuit_breaker": "on"},
        {"circuit_breaker": CircuitBreaker(errors=0)},
        {"circuit_breaker": CircuitBreaker(cooldown=0)},
        {"circuit_breaker": CircuitBreaker(window="soon")},
        {"circuit_breaker": CircuitBreaker(window=float("nan"))},
        {"circuit_breaker": CircuitBreaker(on_open="shout")},  # type: ignore[arg-type]
    ],
)
def test_a_guard_that_cannot_be_is_refused_where_it_is_declared(guard: dict[str, Any]):
    """With the agent, what was given and what can be."""
    with pytest.raises(InvalidGuard, match="agent 'service'"):
        guarded(Service(), **guard)


def test_the_times_of_a_breaker_are_lengths_of_time_as_any():
    """A number is seconds."""
    breaker = CircuitBreaker(window="1m30s", latency=timedelta(seconds=2), cooldown=3)
    guard = guard_of("service", max_concurrency=None, rate=None, circuit_breaker=breaker)
    assert guard is not None
    assert guard.circuit is not None
    assert (guard.circuit.window_ms, guard.circuit.latency_ms, guard.circuit.cooldown_ms) == (
        90_000,
        2_000,
        3_000,
    )


AGENTS = """\
from perdure.runtime import Agents, CircuitBreaker

agents = Agents()


BREAKER = CircuitBreaker(errors=1, cooldown=3600)


@agents.agent("down", circuit_breaker=BREAKER, max_concurrency=3, rate="100/s")
async def down() -> int:
    raise OSError("down")


@agents.agent("free")
async def free() -> int:
    return 1
"""


@pytest.mark.integration
@pytest.mark.usefixtures("empty_folder")
def test_agents_shows_what_guards_them_and_how_their_circuits_stand(capsys: pytest.CaptureFixture[str]):
    """From the database, where there is one."""
    Path("agents.py").write_text(AGENTS)
    Path("down.yaml").write_text("name: down\nsteps: [{key: one, agent: down}]\n")
    assert run_command(["agents", "--agents", "agents.py:agents"]) == 0
    before = capsys.readouterr().out
    assert "3 at once, 100/s, breaker" in before
    assert run_command(["run", "down.yaml", "--agents", "agents.py:agents"]) == 10
    capsys.readouterr()
    assert run_command(["agents", "--agents", "agents.py:agents"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("down")]
    assert "open: 1 attempts failed within 60 s" in line
