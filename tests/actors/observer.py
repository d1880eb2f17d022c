"""An actor that is told of others' ends."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from repertory.actors import Actor, ActorRef, Down, Exit, Exited, Message, Monitor, handles


@dataclass(frozen=True, slots=True)
class Do(Message[Any]):
    """Have the actor do something to itself."""

    what: Callable[["Observer"], Any]


class Observer(Actor[None]):
    """Writes down whose ends it is told of."""

    def __init__(self, log: list[tuple[str, Exit]] | None = None) -> None:
        self.log = [] if log is None else log

    @handles(Do)
    async def do(self, message: Do) -> Any:
        return message.what(self)

    @handles(Down)
    async def down(self, message: Down) -> None:
        self.log.append((f"{message.ref.path} is down", message.exit))

    @handles(Exited)
    async def exited(self, message: Exited) -> None:
        self.log.append((f"{message.ref.path} exited", message.exit))


class Trapping(Observer):
    trap_exit: ClassVar[bool] = True


async def link(one: ActorRef, other: ActorRef) -> None:
    await one.ask(Do(lambda actor: actor.link(other)))


async def monitor(one: ActorRef, other: ActorRef) -> Monitor:
    made = await one.ask(Do(lambda actor: actor.monitor(other)))
    assert isinstance(made, Monitor)
    return made


async def settle_to_rest() -> None:
    """Return when actors without a message have given up their tasks."""
    await asyncio.sleep(5)
