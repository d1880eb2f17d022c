"""The actor that looks after the endpoints: it remembers their circuits and asks after those that are open."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from repertory.actors import Actor
from repertory.errors import RepertoryError, StaleState, StoreError
from repertory.events import CircuitsNotKept
from repertory.providers.breaker_memory import BreakerMemory
from repertory.providers.endpoint import Endpoint

LOOK_INTERVAL = 1.0  # seconds from one look to the next
PROBE_INTERVAL = 5.0  # seconds from one probe of an endpoint to the next
PROBE_TIMEOUT = 5.0  # seconds
PAUSE = 5.0  # seconds until a store that failed is written to again
DRIFT = 1.0  # seconds by which a point in time may seem to move between two looks, since two clocks tell it


class Circuits(BaseModel):
    """The persisted state: what each endpoint's breaker remembers, by the endpoint's name."""

    model_config = ConfigDict(frozen=True)

    memories: dict[str, dict[str, Any]] = {}


class EndpointKeeper(Actor[Circuits]):
    """Takes a look at the endpoints once a second, for as long as it lives.

    Circuits that changed are written down, so that a daemon that is started again does not learn anew, at the cost
    of its first callers, what the one before it knew. An endpoint whose circuit is open is probed, at no cost;
    one that answers may be called again at once.

    Nothing it meets is worth the life of a runtime: where the store fails, it is tried again later; where another
    runtime at the same store writes its own circuits down, that one's are kept, and these are not.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._probed: dict[str, float] = {}
        self._failed = False  # whether the latest write did
        self._write_from = 0.0  # when the store is written to again, on the clock
        self._overtaken = False

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
        now = self.system.clock.monotonic()
        memories = {endpoint.name: endpoint.circuit_memory() for endpoint in self._endpoints}
        if self._overtaken or now < self._write_from or _are_kept(memories, self.state.memories):
            return
        try:
            await self.commit(Circuits(memories={name: asdict(each) for name, each in memories.items()}))
        except StoreError as error:
            self._overtaken = isinstance(error, StaleState)
            self._write_from = now + PAUSE
            if not self._failed and self.system.hooks:
                self.system.hooks.emit(CircuitsNotKept(error))
            self._failed = True
        else:
            self._failed = False

    async def _probe(self) -> None:
        now = self.system.clock.monotonic()
        due = [
            endpoint
            for endpoint in self._endpoints
            if (circuit := endpoint.snapshot().circuit).shut
            and circuit.forced is None
            and now - self._probed.get(endpoint.name, -PROBE_INTERVAL) >= PROBE_INTERVAL
        ]
        async with asyncio.TaskGroup() as probes:
            for endpoint in due:
                self._probed[endpoint.name] = now
                probes.create_task(_ask_after(endpoint))


async def _ask_after(endpoint: Endpoint) -> None:
    with suppress(RepertoryError):  # its owner closed it
        await endpoint.probe(PROBE_TIMEOUT)


def _are_kept(memories: Mapping[str, BreakerMemory], kept: Mapping[str, object]) -> bool:
    return memories.keys() == kept.keys() and all(
        _is_same(memory, BreakerMemory.parse(kept[name])) for name, memory in memories.items()
    )


def _is_same(memory: BreakerMemory, kept: BreakerMemory | None) -> bool:
    if kept is None:
        return False
    until, kept_until = memory.open_until, kept.open_until
    if until is not None and kept_until is not None and abs(until - kept_until) < DRIFT:
        memory = replace(memory, open_until=kept_until)
    return memory == kept
