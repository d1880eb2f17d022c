"""An actor that is at work, so that all that is sent to it waits."""

import asyncio

from repertory.actors import ActorRef, ActorSystem
from repertory.actors.cell import Cell
from repertory.actors.info import MailboxStats
from repertory.actors.spec import Overflow
from repertory.events import Event, MessageDropped
from tests.actors.kernel import Echo, Gate, Hold, Probe, of, settle


class Busy:
    """An actor with a mailbox for two that is at work on a message until it is let go on."""

    def __init__(self, system: ActorSystem) -> None:
        self.system = system
        self.log: list[object] = []
        self.gate = Gate()
        self.ref: ActorRef
        self.asked: dict[int, asyncio.Task[int]] = {}

    async def begin(self, overflow: Overflow) -> None:
        self.ref = await self.system.spawn(lambda: Probe(self.log), name="busy", mailbox=2, overflow=overflow)
        self.log.clear()
        self.ref.tell(Hold(self.gate))
        await self.gate.entered.wait()

    @property
    def cell(self) -> Cell:
        return cell_of(self.ref)

    @property
    def stats(self) -> MailboxStats:
        return self.ref.stats

    async def ask(self, *values: int, timeout: float | None = None) -> None:
        for value in values:
            self.asked[value] = asyncio.create_task(self.ref.ask(Echo(value), timeout=timeout))
        await settle()

    async def cancel(self, *values: int) -> None:
        for value in values:
            self.asked[value].cancel()
        await settle()

    async def let_go(self) -> list[object]:
        """What has then been handled, and what the askers got."""
        self.gate.open.set()
        await settle()
        assert (self.cell.depth, self.cell.withdrawn) == (0, 0)
        return self.log[1:]

    async def outcome(self, value: int) -> int | type[BaseException]:
        (outcome,) = await asyncio.gather(self.asked[value], return_exceptions=True)
        return outcome if isinstance(outcome, int) else type(outcome)


def cell_of(ref: ActorRef) -> Cell:
    cell = ref.find_cell()
    assert cell is not None
    return cell


def dropped(events: list[Event]) -> list[str]:
    return [event.reason for event in of(MessageDropped, events)]
