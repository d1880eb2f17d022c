"""What the tests of this room share: programs, and runtimes that ask a `ScriptedEndpoint`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import repertory as rp
from repertory.events import Event
from repertory.runtime.config import RuntimeConfig, make_config
from repertory.runtime.runtime import Runtime
from tests.endpoint import Reply, ScriptedEndpoint, Seen, Step

# One thread: more would spin while another test computes.
LOCAL = make_config("the tests", {"lm": {"default": {"model": "local", "threads": 1}}})


class Two(rp.Module):
    """Two steps, one after the other."""

    def __init__(self, **more: Any) -> None:
        self.first = rp.Predict("text -> middle", **more)
        self.second = rp.Predict("middle -> answer", **more)

    async def forward(self, text: str) -> rp.Prediction:
        middle = await self.first(text=text)
        return await self.second(middle=middle.middle)


class Fan(rp.Module):
    """The same question three times at once, then each answer's follow-up."""

    def __init__(self) -> None:
        self.two = Two()
        self.branches = [rp.Predict("text -> middle") for _ in range(2)]

    async def forward(self, text: str) -> rp.Prediction:
        same = [self.two.first(text=text) for _ in range(3)]
        other = [branch(text=text) for branch in self.branches]
        middles = await asyncio.gather(*same, *other)
        answers = await asyncio.gather(*(self.two.second(middle=middle.middle) for middle in middles))
        return rp.Prediction(answers=[answer.answer for answer in answers])


class Collected:
    """A hook that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[Event], count: int = 1) -> Any:
        async with asyncio.timeout(60):
            while len(self.of(kind)) < count:
                self._news.clear()
                await self._news.wait()
        return self.of(kind)[count - 1]


def config_for(server: ScriptedEndpoint, **lm: Any) -> RuntimeConfig:
    lm = {"model": "openai/x", "base_url": server.url, "api_key_env": "", "attempts": 1, **lm}
    return make_config("the test", {"lm": {"default": lm}})


def runtime_for(server: ScriptedEndpoint, store: Path | None = None, *, hooks: Any = (), **lm: Any) -> Runtime:
    return Runtime(config_for(server, **lm), store=store, hooks=hooks, timeout=60, seed=1)


def field_and_value(seen: Seen) -> tuple[str, str]:
    """The input of the question a request asks: every program here has one."""
    name, _, value = seen.last_message.partition(": ")
    return name, value


def reply_to(seen: Seen) -> Step:
    """Every output is the first letter of its name and the input."""
    name, value = field_and_value(seen)
    output = {"text": "middle", "middle": "answer"}[name]
    return Reply(json.dumps({output: f"{output[0]}{value}"}))


async def requests_seen(server: ScriptedEndpoint, count: int) -> None:
    async with asyncio.timeout(60):
        for _ in range(count):
            await server.arrived.acquire()
