"""What can be seen of actors from outside, as data: consoles, commands and alerts draw it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MailboxStats:
    """A mailbox at one moment.

    Attributes:
        depth: Messages that wait now.
        high_water: The most that ever waited.
        waits: Asks that had to wait for room.
        drops: Messages that were refused or dropped for want of room.
    """

    depth: int
    high_water: int
    waits: int
    drops: int


@dataclass(frozen=True, slots=True)
class ActorInfo:
    """An actor at one moment, and those below it.

    Attributes:
        kind: The name of its class; "" while there is no object.
        state: "running", "starting", "restarting", "stopping", "passivated" or "stopped".
        incarnation: The number of its present life, from 1; 0 before the first.
        restarts: How often its supervisor started it again.
        age: Seconds since its present life began; None between lives.
        handling: The types of the messages it is at work on.
        last_error: What ended a life last, as text.
        children: Those it supervises, in start order.
    """

    path: str
    kind: str
    state: str
    incarnation: int
    restarts: int
    age: float | None
    mailbox: MailboxStats
    handling: tuple[str, ...]
    last_error: str | None
    children: "tuple[ActorInfo, ...]"
