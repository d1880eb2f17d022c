"""An actor without hooks: it has a task only while it has something to do."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from repertory.actors import Actor, Message, handles
from tests.actors.kernel import Echo, Gate, Hold, Raise


@dataclass(frozen=True, slots=True)
class Run(Message[Any]):
    """Have the actor run this in its handler."""

    what: "Callable[[Light], Coroutine[Any, Any, Any]]"


class Light(Actor[None]):
    """Does what it is told, and writes down what it echoed."""

    def __init__(self, log: list[object] | None = None) -> None:
        self.log: list[object] = [] if log is None else log

    @handles(Echo)
    async def echo(self, message: Echo) -> int:
        self.log.append(message.value)
        return message.value

    @handles(Hold)
    async def hold(self, message: Hold) -> str:
        message.gate.entered.set()
        try:
            await message.gate.open.wait()
        except asyncio.CancelledError:
            message.gate.cancelled = True
            raise
        return "held"

    @handles(Raise)
    async def raise_(self, message: Raise) -> None:
        raise message.error

    @handles(Run)
    async def run(self, message: Run) -> Any:
        return await message.what(self)


async def cleans_up(gate: Gate, seconds: float) -> None:
    """Wait until cancelled, then take a while to end."""
    gate.entered.set()
    try:
        await asyncio.Event().wait()
    finally:
        gate.cancelled = True
        await asyncio.sleep(seconds)
