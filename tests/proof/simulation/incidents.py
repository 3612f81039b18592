"""What happens to the processes of a simulated machine: deaths, stops, deploys, a clock that is set."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Final

import anyio

from simulation.loop import Condition
from simulation.machine import Machine, Runner
from simulation.workflows import HOUR, WorkflowSpec

INCIDENTS: Final = ("kill", "kill", "stop", "stop", "zombie", "deploy", "jump", "jump", "second", "client")
LOOK_S: Final = 60.0  # how soon the operator sees that a process is dead


class Operator:
    """Whoever keeps the processes of the machine running, and sometimes does not."""

    def __init__(self, machine: Machine, workflows: Sequence[WorkflowSpec], *, seed: int) -> None:
        """What happens when is drawn from the seed."""
        self._machine = machine
        self._workflows = workflows
        self._chance = Random(f"operator {seed}")

    async def keep_running(self, until_s: float) -> None:
        """Let there be a runner that can perform everything, with pauses now and then."""
        chance, machine = self._chance, self._machine
        while machine.loop.time() < until_s:
            if not any(runner.process.name.startswith("main") for runner in machine.runners):
                machine.boot("main", workflows=self._workflows)
            with suppress(IndexError):
                main = next(r for r in machine.runners if r.process.name.startswith("main"))
                with anyio.move_on_after(max(0.0, until_s - machine.loop.time())):
                    await machine.death_of(main)
            down_s = chance.choice([0, 0.5, 30, HOUR, 30 * HOUR]) * chance.random()
            await anyio.sleep(min(down_s, max(0.0, until_s - machine.loop.time())))

    async def make_trouble(self, until_s: float) -> None:
        """Let things happen, a dozen or so in all."""
        chance, machine = self._chance, self._machine
        times = sorted(chance.uniform(0, until_s) for _ in range(chance.randint(2, 20)))
        for at in times:
            await anyio.sleep(max(0.0, at - machine.loop.time()))
            incident = chance.choice(INCIDENTS)
            runners = [r for r in machine.runners if r.process.condition is Condition.RUNNING]
            machine.trace("incident", incident)
            await self._happen(incident, chance.choice(runners) if runners else None)

    async def _happen(self, incident: str, runner: Runner | None) -> None:
        chance, machine = self._chance, self._machine
        machine.weather.counts[incident] += 1
        match incident:
            case "jump":
                machine.jump(chance.uniform(-1, 1) * chance.choice([1, 60, 3 * HOUR]))
            case "second" if not self._has("second"):
                some = [spec for spec in self._workflows if chance.random() < 0.7]
                machine.boot("second", workflows=some)
            case "client" if not self._has("client"):
                machine.boot("client", kind="client", workflows=[])
            case "kill" if runner is not None:
                machine.kill(runner.process)
            case "deploy" if runner is not None:
                runner.leave.set()
            case "stop" | "zombie" if runner is not None:
                await self._stop(runner, is_taken_for_dead=incident == "zombie")
            case _:
                pass

    async def _stop(self, runner: Runner, *, is_taken_for_dead: bool) -> None:
        """Stop a process for a while; the others may take it for dead, and it for alive."""
        machine, process = self._machine, runner.process
        machine.trace(process.name, "is stopped", "and loses its lock" if is_taken_for_dead else "")
        machine.loop.stop_process(process)
        if is_taken_for_dead:
            machine.drop_lock(runner)
        await anyio.sleep(self._chance.choice([1, 60, 30 * HOUR]) * self._chance.random())
        if process.condition is Condition.STOPPED:
            machine.trace(process.name, "goes on")
            machine.loop.continue_process(process)

    def _has(self, role: str) -> bool:
        return any(runner.process.name.startswith(role) for runner in self._machine.runners)
