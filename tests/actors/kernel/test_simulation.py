"""Whole lives under many interleavings: what must hold whatever happens in between."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest

from perdure.actors.kernel import (
    Actor,
    ActorStopped,
    Backoff,
    ChildExit,
    ChildSpec,
    DeadLetter,
    Mailbox,
    PoisonMessage,
    Reply,
    Supervisor,
    faults,
)
from perdure.actors.kernel.testing import run_virtual

CLIENTS = 5
QUESTIONS = 12


class Town:
    """A few fragile actors, clients that ask them things, and dice for everything."""

    def __init__(self, seed: int) -> None:
        """The dice fall as `seed` says."""
        self.dice = random.Random(seed)
        self.applied: list[tuple[str, int]] = []
        self.answers: list[tuple[str, str]] = []
        self.dead: list[DeadLetter] = []
        self.exits: list[ChildExit] = []
        self.trace: list[str] = []

    async def live(self) -> None:
        """Ask, crash, restart and shut down at a moment nobody chose."""
        async with anyio.create_task_group() as group:
            async with Supervisor(
                name="town",
                random=self.dice.random,
                on_exit=self.exits.append,
                on_dead_letter=self.dead.append,
            ) as supervisor:
                with faults.installed(self._misfortune):
                    refs = [
                        supervisor.start(
                            ChildSpec(
                                name=f"actor{n}",
                                factory=lambda: Citizen(self),
                                intensity=20,
                                backoff=Backoff(max_s=2),
                                shutdown_s=1,
                            ),
                            mailbox=Mailbox(limit=1),
                        )
                        for n in range(3)
                    ]
                    for client in range(CLIENTS):
                        group.start_soon(self._ask_around, client, refs)
                    await anyio.sleep(self.dice.uniform(1, 60))
            assert len(supervisor) == 0

    async def _ask_around(self, client: int, refs: list[Any]) -> None:
        """Ask one thing after the other; each must come to an end."""
        for number in range(QUESTIONS):
            question = f"{client}.{number}"
            try:
                answer = await self.dice.choice(refs).ask(
                    question, timeout=None, control=self.dice.random() < 0.2
                )
            except (ActorStopped, PoisonMessage) as error:
                answer = type(error).__name__
            self.answers.append((question, answer))
            self.trace.append(f"{question}={answer}")

    def _misfortune(self, point: str) -> None:
        """Crash an actor now and then, wherever it is."""
        if not point.startswith("mailbox.post") and self.dice.random() < 0.02:
            raise OSError(point)


class Citizen(Actor[str]):
    """Answers, after a while; sometimes crashes instead."""

    def __init__(self, town: Town) -> None:
        """`town` has the dice and the chronicle."""
        self._town = town

    async def receive(self, message: str, reply: Reply | None) -> None:
        """Think, write it down, answer."""
        if self._town.dice.random() < 0.1:
            raise ValueError("before")
        await anyio.sleep(self._town.dice.choice([0, 0, 0.5]))
        self._town.applied.append((message, self.cell.incarnation))
        if self._town.dice.random() < 0.1:
            raise ValueError("after")
        assert reply is not None
        reply.answer(f"re {message}")


@pytest.mark.parametrize("seed", range(40))
def test_every_question_is_answered_once_and_nothing_is_applied_twice_but_across_a_crash(seed: int) -> None:
    """By its actor, by its burial or by the end; and the same seed tells the same story."""
    town, again = Town(seed), Town(seed)
    run_virtual(town.live, seed=seed)
    questions = [question for question, _ in town.answers]
    assert sorted(questions) == sorted(f"{c}.{n}" for c in range(CLIENTS) for n in range(QUESTIONS))
    for question, answer in town.answers:
        incarnations = [incarnation for message, incarnation in town.applied if message == question]
        assert len(incarnations) == len(set(incarnations)), f"{question} was applied twice in one life"
        assert answer != f"re {question}" or incarnations, f"{question} was answered, not applied"
    assert all(letter.crashes == 3 for letter in town.dead)
    run_virtual(again.live, seed=seed)
    assert again.trace == town.trace
