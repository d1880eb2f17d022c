"""The actor that looks after the endpoints: it remembers their circuits and asks after those that are open."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict

from repertory.actors import Actor
from repertory.providers.breaker_memory import BreakerMemory
from repertory.providers.endpoint import Endpoint

LOOK_INTERVAL = 1.0  # seconds from one look to the next
PROBE_INTERVAL = 5.0  # seconds from one probe of an endpoint to the next
PROBE_TIMEOUT = 5.0  # seconds


class Circuits(BaseModel):
    """The persisted state: what each endpoint's breaker remembers, by the endpoint's name."""

    model_config = ConfigDict(frozen=True)

    memories: dict[str, dict[str, Any]] = {}


class EndpointKeeper(Actor[Circuits]):
    """Takes a look at the endpoints once a second, for as long as it lives.

    Circuits that changed are written down, so that a daemon that is started again does not learn anew, at the cost
    of its first callers, what the one before it knew. An endpoint whose circuit is open is probed, at no cost;
    one that answers may be called again at once.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._probed: dict[str, float] = {}

    async def started(self) -> None:
        """Give each breaker what is remembered of it, if the process is new."""
        for endpoint in self._endpoints if self.incarnation == 1 else ():
            memory = BreakerMemory.parse(self.state.memories.get(endpoint.name))
            if memory is not None:
                endpoint.recall_circuit(memory)
        self.background(self._watch())

    async def _watch(self) -> None:
        while True:
            await self.system.clock.sleep(LOOK_INTERVAL)
            await self._remember()
            await self._probe()

    async def _remember(self) -> None:
        memories = {endpoint.name: asdict(endpoint.circuit_memory()) for endpoint in self._endpoints}
        if memories != self.state.memories:
            await self.commit(Circuits(memories=memories))

    async def _probe(self) -> None:
        now = self.system.clock.monotonic()
        due = [
            endpoint
            for endpoint in self._endpoints
            if endpoint.snapshot().circuit.shut
            and now - self._probed.get(endpoint.name, -PROBE_INTERVAL) >= PROBE_INTERVAL
        ]
        async with asyncio.TaskGroup() as probes:
            for endpoint in due:
                self._probed[endpoint.name] = now
                probes.create_task(endpoint.probe(PROBE_TIMEOUT))
