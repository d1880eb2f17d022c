"""What the tests of submitted runs share: models that wait to be let, programs of a few steps, held stores."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import repertory as rp
from repertory.errors import RepertoryError
from repertory.providers.messages import LMRequest, LMResponse
from repertory.runtime.run_handle import RunHandle
from repertory.runtime.run_log import RunEvent
from repertory.testing import Answer, ScriptedLM

PATIENCE = 60  # seconds after which a test that hangs is told so


class Chain(rp.Module):
    """Four steps, each of which asks for what the one before it has answered."""

    def __init__(self) -> None:
        self.steps = [rp.Predict(f"n{number} -> n{number + 1}") for number in range(4)]

    async def forward(self, n0: str) -> rp.Prediction:
        value = n0
        for number, step in enumerate(self.steps):
            inputs: dict[str, Any] = {f"n{number}": value}
            value = (await step(**inputs))[f"n{number + 1}"]
        return rp.Prediction(answer=value)


class Asked(ScriptedLM):
    """A model that tells what it is asked, and lets chosen questions wait.

    Args:
        script: As `ScriptedLM`'s.
        held: Which questions wait until ``release`` is set.

    Attributes:
        questions: The questions as they came, such as ``text: x``.
        given_up: Set when a question that waited was cancelled.
    """

    def __init__(
        self,
        script: Callable[[LMRequest], Answer] | None = None,
        held: Callable[[str], bool] = lambda _: False,
        **more: Any,
    ) -> None:
        super().__init__(script or appended, **more)
        self.questions: list[str] = []
        self.arrived = asyncio.Semaphore(0)
        self.release = asyncio.Event()
        self.given_up = asyncio.Event()
        self._held = held

    async def complete(self, request: LMRequest) -> LMResponse:
        self.questions.append(question(request))
        self.arrived.release()
        if self._held(question(request)):
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.given_up.set()
                raise
        return await super().complete(request)

    async def until_asked(self, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            for _ in range(times):
                await self.arrived.acquire()


def question(request: LMRequest) -> str:
    return request.messages[-1].text


def fields_asked(lm: Asked) -> list[str]:
    """The input of each question: the programs here have one for each."""
    return [text.partition(": ")[0] for text in lm.questions]


def appended(request: LMRequest) -> str:
    """The answer of `Chain` and `Two`: the input and the first letter of the output's name."""
    name, _, value = question(request).partition(": ")
    output = {"text": "middle", "middle": "answer"}.get(name) or f"n{int(name[1:]) + 1}"
    return json.dumps({output: f"{value}{output[-1] if output[0] == 'n' else output[0]}"})


async def events_of(handle: RunHandle, after: int = 0) -> list[RunEvent]:
    async with asyncio.timeout(PATIENCE):
        return [event async for event in handle.events(after=after)]


def kinds(events: list[RunEvent]) -> list[str]:
    return [event.kind for event in events]


async def events_until(handle: RunHandle, kind: str, count: int = 1) -> list[RunEvent]:
    """The events up to the one that is the ``count``-th of its kind, as soon as it is there."""
    events: list[RunEvent] = []
    async with asyncio.timeout(PATIENCE):
        async for event in handle.events():
            events.append(event)
            count -= event.kind == kind
            if not count:
                return events
    raise AssertionError(f"the run has ended without {kind}: {events}")


async def outcome_of(handle: RunHandle) -> rp.Prediction:
    async with asyncio.timeout(PATIENCE):
        return await handle.result()


async def failure_of(handle: RunHandle) -> RepertoryError:
    try:
        found = await outcome_of(handle)
    except RepertoryError as error:
        return error
    raise AssertionError(f"the run ended well: {found}")


@contextmanager
def held(store: Path) -> Iterator[None]:
    """While this lasts nothing can be written into the store, as where another process writes for long."""
    connection = sqlite3.connect(store, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


def as_killed_now(store: Path, copy: Path) -> None:
    """What the store would hold if the process that writes it were killed at this moment.

    Nobody owns runs in the copy: who opens it takes them up.
    """
    with sqlite3.connect(store) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.close()
