"""A program served over loopback, with a client to ask it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from prometheus_client import CollectorRegistry

from repertory.events import Event
from repertory.modules import Module, Predict
from repertory.providers.lm import LM
from repertory.runtime.config import RuntimeConfig, ServerConfig, make_config
from repertory.runtime.runtime import Runtime
from repertory.runtime.telemetry import PrometheusHook
from repertory.server.app import make_app
from repertory.server.connections import Bounds
from repertory.server.cutoff import Cutoff
from repertory.server.listening import listen, make_runner, reserve_port

SPAM = '{"label": "spam"}'
PREDICT = "/v1/programs/mail/predict"
PATIENCE = 20  # seconds after which something that must happen is not going to

EventT = TypeVar("EventT", bound=Event)


class Recorder:
    """A hook that keeps events and lets a test wait for one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def of(self, kind: type[EventT]) -> list[EventT]:
        return [event for event in self.events if isinstance(event, kind)]

    async def first(self, kind: type[EventT]) -> EventT:
        async with asyncio.timeout(PATIENCE):
            while not (found := self.of(kind)):
                self._changed.clear()
                await self._changed.wait()
        return found[0]


@dataclass(slots=True)
class Service:
    """What a test of the HTTP side holds."""

    client: aiohttp.ClientSession
    host: str
    port: int
    runtime: Runtime
    recorder: Recorder
    requests: Cutoff = field(default_factory=Cutoff)

    async def predict(
        self, inputs: object = None, *, headers: Mapping[str, str] | None = None, path: str = PREDICT
    ) -> tuple[int, Mapping[str, str], dict[str, Any]]:
        inputs = {"text": "Win!"} if inputs is None else inputs
        async with self.client.post(path, json=inputs, headers=headers) as response:
            return response.status, response.headers, await response.json(content_type=None)


def mail() -> Predict:
    return Predict("text -> label: Literal['spam', 'ham']")


def endpoint_config(url: str, **server: Any) -> RuntimeConfig:
    """A configuration whose language model is a scripted endpoint."""
    model = {"model": "openai/scripted", "base_url": url, "api_key_env": "", "attempts": 1}
    return make_config("test", {"journal": False, "lm": {"default": model}, "server": server})


@asynccontextmanager
async def serving(
    lm: LM | RuntimeConfig,
    *,
    program: Module | None = None,
    headers: Mapping[str, str] | None = None,
    store: Path | None = None,
    bounds: Bounds | None = None,
    requests: Cutoff | None = None,
    **server: Any,
) -> AsyncIterator[Service]:
    """Serve ``program`` as ``mail``; without ``auth=True`` no key is asked for."""
    settings = ServerConfig(**{"auth": False, "port": 0} | server)
    recorder, registry, requests = Recorder(), CollectorRegistry(), requests or Cutoff()
    runtime = (
        Runtime(lm, store=store, hooks=[recorder, PrometheusHook(registry)])
        if isinstance(lm, RuntimeConfig)
        else Runtime(lm=lm, store=store, hooks=[recorder, PrometheusHook(registry)])
    )
    runner = make_runner(make_app(runtime, settings, registry, requests), runtime.hooks, bounds)
    async with runtime:
        await runtime.start(program or mail(), name="mail")
        await runner.setup()
        try:
            _, url = await listen(runner, await reserve_port(settings), settings)
            async with aiohttp.ClientSession(url, headers=headers) as client:
                host, port = runner.addresses[0]
                yield Service(client, host, port, runtime, recorder, requests)
        finally:
            requests.cut()
            await runner.cleanup()
