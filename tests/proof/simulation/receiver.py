"""Those outside whom webhooks tell: they hear badly in a storm, and everything has to have reached them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec

from perdure.runtime.webhooks import verify
from perdure.runtime.webhooks.signing import ID, InvalidSignature
from perdure.store.scripts.deliveries import DELIVERED, Delivery
from simulation.loop import current
from simulation.past import Past
from simulation.workflows import TOLD, WorkflowSpec

if TYPE_CHECKING:
    from simulation.machine import Machine

KEY: Final = "the key that both sides know"
REFUSALS: Final = (500, 429, 404)
EVENT: Final = {f"workflow_{event}": event for event in TOLD} | {"checkpoint_restored": "paused"}


class Receiver:
    """Takes every call of every webhook."""

    def __init__(self, machine: Machine, *, seed: int) -> None:
        """It has heard nothing yet; how badly it hears is drawn from the seed."""
        self.heard: dict[str, bytes] = {}  # what it said yes to, by id
        self._machine = machine
        self._chance = Random(f"receiver {seed}")
        self._deaf = self._chance.choice([0, 0.1, 0.8])
        self._slow = self._chance.choice([0, 0.3])
        self._signed = {spec.name: spec.listening.is_signed for spec in machine.workflows if spec.listening}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Take one call. Raises OSError."""
        process = current.get()
        assert process is not None
        process.check()
        machine, id_, told = self._machine, headers[ID], msgspec.json.decode(body)
        machine.trace(process.name, "tells", id_)
        if self._signed[told["workflow"]]:
            self._verify(body, headers)
        if self.heard.get(id_, body) != body:
            machine.complain(f"call {id_} says {body!r}, and said {self.heard[id_]!r}")
        answer = await self._answer()
        process.check()
        if isinstance(answer, int) and answer not in REFUSALS:
            self.heard[id_] = body
        if machine.weather.is_calm or self._chance.random() > self._deaf / 2:
            return answer
        raise ConnectionError("the answer is lost")

    def _verify(self, body: bytes, headers: Mapping[str, str]) -> None:
        try:
            verify(body, headers, key=KEY, now=self._machine.now())
        except InvalidSignature as error:
            self._machine.complain(f"call {headers[ID]} is not what it says: {error}")

    async def _answer(self) -> int:
        """Think about it; nobody thinks long in a calm."""
        if self._machine.weather.is_calm:
            return 204
        if self._chance.random() < self._slow:
            await anyio.sleep(self._chance.expovariate(1 / 3))
        if self._chance.random() >= self._deaf:
            return 204
        self._machine.weather.counts["webhook refused"] += 1
        if self._chance.random() < 0.5:
            raise ConnectionError("nobody is there")
        return self._chance.choice(REFUSALS)

    def untold(self, past: Past, spec: WorkflowSpec, deliveries: Sequence[Delivery]) -> list[str]:
        """A sentence for each change that those outside were not told of, or were told otherwise."""
        if spec.listening is None:
            return []
        happened = [
            (EVENT[event.type], event.version)
            for event in past.events
            if EVENT.get(event.type) in spec.listening.events
        ]
        told = [_said(each) for each in deliveries]
        problems = [
            f"nobody was told of {each}" for each in happened if happened.count(each) > told.count(each)
        ]
        problems += [f"{each} was told, and has not happened" for each in told if each not in happened]
        problems += [
            f"{each.id} is taken for delivered, and nobody has heard it"
            for each in deliveries
            if each.state == DELIVERED and self.heard.get(each.id) != each.payload
        ]
        return problems


def _said(delivery: Delivery) -> tuple[str, Any]:
    return delivery.event, msgspec.json.decode(delivery.payload)["version"]
