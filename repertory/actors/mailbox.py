"""A mailbox: two lanes of messages, a bound with a policy, and the runners that wait for them."""

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from repertory.actors.envelope import Envelope, Item
from repertory.actors.info import MailboxStats
from repertory.actors.reminders import is_reminder
from repertory.actors.runner import WAKE
from repertory.actors.spec import ActorSpec
from repertory.errors import ActorDown, MailboxFull

if TYPE_CHECKING:
    from repertory.actors.cell import Cell
    from repertory.actors.system import ActorSystem


@dataclass(slots=True)
class Crowd:
    """What happens for want of room.

    Attributes:
        waiting: Asks that wait for room, in their order; one whose asker goes is taken out. None: there are none.
        waits: How many ever had to.
        drops: Messages refused or dropped.
    """

    waiting: OrderedDict[Envelope, None] | None = None
    waits: int = 0
    drops: int = 0


class Mailbox(ABC):
    """What waits for an actor, in its life and between its lives.

    Invariants: while a message waits, no runner is parked and none is ``free`` to be made; messages of one
    sender stay in their order; while an ask waits for room there is none; what is closed holds nothing. A
    runner is woken only by the message that finds it parked.

    Attributes:
        signals: The system lane: unbounded, handled first.
        mailbox: The user lane, bounded by ``spec.mailbox``. Both lanes exist only while there is something to
            do: an empty deque is larger than all the rest of an idle actor.
        parked: What the idle runners wait on.
        free: How many runners a message may still call into being; 1 where it is to call a life into being.
        withdrawn: Asks in the user lane whose askers are gone; they do not count against the bound.
        high_water: The most messages that ever waited: the greatest ``depth``.
        crowd: What happens for want of room; None: there always was some.
    """

    __slots__ = (
        "closed",
        "crowd",
        "free",
        "high_water",
        "mailbox",
        "parked",
        "path",
        "signals",
        "spec",
        "system",
        "withdrawn",
    )

    def __init__(self, system: "ActorSystem", path: str, spec: ActorSpec) -> None:
        self.system = system
        self.path = path
        self.spec = spec
        self.closed = False
        self.mailbox: deque[Item] | None = None
        self.signals: deque[Any] | None = None
        self.parked: list[asyncio.Future[int]] | None = None
        self.free = 0
        self.withdrawn = 0
        self.high_water = 0
        self.crowd: Crowd | None = None

    @abstractmethod
    def rouse(self) -> None:
        """A message waits for which there is no runner yet."""

    @property
    def waiting(self) -> OrderedDict[Envelope, None] | None:
        """Asks that wait for room in the mailbox."""
        return self.crowd.waiting if self.crowd is not None else None

    @property
    def depth(self) -> int:
        """Messages that wait, without those whose askers are gone."""
        return len(self.mailbox or ()) + len(self.waiting or ()) - self.withdrawn

    @property
    def stats(self) -> MailboxStats:
        """How full it is, and was."""
        crowd = self.crowd or Crowd()
        return MailboxStats(self.depth, self.high_water, crowd.waits, crowd.drops)

    def post(self, item: Item) -> None:
        """Put a message into the mailbox; it waits there between lives. Raises MailboxFull."""
        mailbox = self.mailbox
        if mailbox is None:
            mailbox = self.mailbox = deque()
        depth = len(mailbox)
        if depth >= self.spec.mailbox and not self._make_room(item):
            return
        mailbox.append(item)
        if depth >= self.high_water:
            self._note_depth()
        if self.parked:
            self.wake()
        elif self.free:
            self.rouse()

    def signal(self, message: Any) -> None:
        """Put a message into the system lane: handled before all others, never refused."""
        if self.closed:
            return
        if self.signals is None:
            self.signals = deque()
        self.signals.append(message)
        self._attend()

    def defer(self, message: Any) -> None:
        """Put a message behind all that wait, without regard to the bound."""
        self.accept((message,))

    def accept(self, items: Iterable[Item]) -> None:
        """Put messages behind all that wait, without regard to the bound."""
        if self.closed:
            self.turn_away(items)
            return
        wanted = self._taken_in(items)
        self.open_mailbox().extend(wanted)
        self._attend_to(wanted)

    def surrender(self) -> list[Item]:
        """Take out all that waits and is still wanted, to be handled elsewhere."""
        items = [*(self.mailbox or ()), *(self.waiting or ())]
        if self.mailbox is not None:
            self.mailbox.clear()
        if self.crowd is not None:
            self.crowd.waiting = None
        wanted = []
        for item in items:
            if type(item) is Envelope:
                if item.settled:
                    self.skip(item)
                    continue
                item.queued = False
            wanted.append(item)
        return wanted

    def put_back(self, items: Iterable[Item]) -> None:
        """Put messages before all that wait, in their order, without regard to the bound."""
        if self.closed:
            self.turn_away(items)
            return
        wanted = self._taken_in(items)
        self.open_mailbox().extendleft(reversed(wanted))
        self._attend_to(wanted)

    def turn_away(self, items: Iterable[Item]) -> None:
        """Nobody will handle these: tell those who wait for an answer."""
        for item in items:
            if type(item) is not Envelope:
                self.report_drop(item, "down")
            elif not item.settled:
                item.fail(ActorDown(f"{self.path} has stopped"))

    def holds(self, message: Any) -> bool:
        """Whether this very object, which is no ask, still waits."""
        return any(waiting is message for lane in (self.signals, self.mailbox) for waiting in lane or ())

    def retract(self, message: Any) -> None:
        """Take out this very object, which is no ask, if it still waits."""
        for lane in (self.signals, self.mailbox):
            for position, waiting in enumerate(lane or ()):
                if lane is not None and waiting is message:
                    del lane[position]
                    if lane is self.mailbox:
                        self.admit()
                    return

    def open_mailbox(self) -> "deque[Item]":
        """The mailbox, made if there is none."""
        if self.mailbox is None:
            self.mailbox = deque()
        return self.mailbox

    def open_parked(self) -> list[asyncio.Future[int]]:
        """Where runners park, made if there was none."""
        if self.parked is None:
            self.parked = []
        return self.parked

    def wake(self) -> None:
        """Let one of the parked runners go on."""
        while self.parked:
            parked = self.parked.pop()
            if not parked.done():  # its runner has been cancelled meanwhile
                parked.set_result(WAKE)
                return
        if self.free:
            self.rouse()

    def wake_all(self) -> None:
        """Let all parked runners see that the life ends."""
        while self.parked:
            parked = self.parked.pop()
            if not parked.done():
                parked.set_result(WAKE)

    def admit(self) -> None:
        """There may be room: let in the first of those that wait for it."""
        crowd = self.crowd
        if crowd is None or crowd.waiting is None:
            return
        mailbox, bound = self.open_mailbox(), self.spec.mailbox
        while crowd.waiting and len(mailbox) - self.withdrawn < bound:
            envelope, _ = crowd.waiting.popitem(last=False)
            if envelope.settled:
                self.skip(envelope)
            else:
                mailbox.append(envelope)
                self._attend()
        if not crowd.waiting:
            crowd.waiting = None

    def withdrew(self, envelope: Envelope) -> None:
        """The asker of an ask that waits here is gone."""
        crowd = self.crowd
        if crowd is not None and crowd.waiting is not None and envelope in crowd.waiting:
            del crowd.waiting[envelope]
            crowd.waiting = crowd.waiting or None
            envelope.queued = False
            self._report_unwanted(envelope)
            return
        self.withdrawn += 1
        self.admit()
        # A full mailbox may hold as many of them again; they are taken out by the half, never one by one.
        if self.withdrawn > self.spec.mailbox and self.withdrawn > len(self.open_mailbox()) // 2:
            self._purge()

    def skip(self, envelope: Envelope) -> None:
        """Drop an ask that has been taken out of the mailbox, and that nobody waits for any more."""
        if envelope.withdrawn:
            self.withdrawn -= 1
        envelope.queued = False  # its asker may be yet to notice that it was cancelled
        self._report_unwanted(envelope)

    def _report_unwanted(self, envelope: Envelope) -> None:
        cancelled = envelope.outcome is not None and envelope.outcome.cancelled()
        self.report_drop(envelope, "abandoned" if cancelled else "expired")

    def report_drop(self, item: Item, reason: str) -> None:
        """State that a message will never be handled."""
        self.system.report_drop(self.path, item.message if type(item) is Envelope else item, reason)

    def _taken_in(self, items: Iterable[Item]) -> list[Item]:
        """Those of ``items``, which wait nowhere, that are still wanted; they wait here now."""
        wanted = []
        for item in items:
            if type(item) is Envelope:
                item.cell = cast("Cell", self)
                if item.settled:
                    self._report_unwanted(item)
                    continue
                item.queued = True
            wanted.append(item)
        return wanted

    def _attend_to(self, items: Sequence[Item]) -> None:
        self._note_depth()
        for _ in items:
            self._attend()

    def _note_depth(self) -> None:
        self.high_water = max(self.high_water, self.depth)

    def _attend(self) -> None:
        if self.parked:
            self.wake()
        elif self.free:
            self.rouse()

    def _make_room(self, item: Item) -> bool:
        """Apply the overflow policy to a full mailbox; return whether there is room now. Raises MailboxFull."""
        mailbox = self.open_mailbox()
        if len(mailbox) - self.withdrawn < self.spec.mailbox:
            return True
        crowd = self.crowd = self.crowd or Crowd()
        if self.spec.overflow == "wait" and type(item) is Envelope:
            crowd.waits += 1
            if crowd.waiting is None:
                crowd.waiting = OrderedDict()
            crowd.waiting[item] = None
            self._note_depth()
            return False
        oldest: Item | None = None
        if self.spec.overflow == "drop_oldest":
            oldest = self._take_oldest()
            if len(mailbox) - self.withdrawn < self.spec.mailbox and oldest is None:
                return True
        crowd.drops += 1
        full = MailboxFull(
            f"{self.path}: {self.spec.mailbox} messages wait already",
            hint="Send more slowly, or raise the actor's mailbox bound.",
        )
        self._drop(item if oldest is None else oldest, full)
        if self.spec.overflow in ("reject", "wait"):
            raise full
        return oldest is not None

    def _drop(self, item: Item, error: MailboxFull) -> None:
        self.report_drop(item, "full")
        if type(item) is Envelope and self.spec.overflow != "reject":
            item.fail(error)

    def _take_oldest(self) -> Item | None:
        """Take out what has waited longest and may be lost; None where there is none, or it is not needed.

        It is not where an asker had been cancelled and was yet to notice: those are skipped. Reminders stay, and
        so are next; sent anew, they would go round and round in a mailbox that stays full.
        """
        mailbox, bound = self.open_mailbox(), self.spec.mailbox
        position = 0
        while position < len(mailbox):
            item = mailbox[position]
            if type(item) is Envelope and item.settled:
                del mailbox[position]
                self.skip(item)
                if len(mailbox) - self.withdrawn < bound:
                    return None
            elif is_reminder(item):
                position += 1
            else:
                del mailbox[position]
                return item
        return None

    def _purge(self) -> None:
        """Take out the asks whose askers are gone."""
        mailbox = self.open_mailbox()
        items = list(mailbox)
        mailbox.clear()  # the same deque, which runners hold
        for item in items:
            if type(item) is Envelope and item.settled:
                self.skip(item)
            else:
                mailbox.append(item)
        self.admit()
