"""One ask on its way: what is asked, who waits for the answer, and until when.

A tell travels bare: nobody waits for it, so the message itself is all there is.
"""

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

from repertory.errors import DeadlineExceeded

if TYPE_CHECKING:
    from repertory.actors.cell import Cell
    from repertory.actors.runner import Runner


class Envelope:
    """An ask in a mailbox or in a handler.

    Invariant: ``outcome`` is settled at most once; an envelope that is withdrawn or settled is never handled.

    Attributes:
        cell: Whom it is addressed to.
        asker: The ask whose handler asks this one, if any: the chain of those that wait for each other.
        awaits: The asks that its own handling waits for; None: there never was one.
        deadline: On the clock's ``monotonic()``; None: no limit.
        runner: Who is at work on it.
        queued: Whether it waits in the mailbox of ``cell``; else it is being handled, has been, is stashed, or is
            on its way to another mailbox.
    """

    __slots__ = ("asker", "awaits", "cell", "deadline", "message", "outcome", "queued", "runner", "withdrawn")

    def __init__(self, message: Any, outcome: asyncio.Future[Any] | None, cell: "Cell") -> None:
        self.message = message
        self.outcome = outcome  # None: stands for the tells that a runner handles
        self.cell = cell
        self.asker: Envelope | None = None
        self.awaits: set[Envelope] | None = None
        self.deadline: float | None = None
        self.runner: Runner | None = None
        self.queued = True  # which it is at once, or never
        self.withdrawn = False

    @property
    def settled(self) -> bool:
        """Whether nobody waits for the outcome any more."""
        return self.withdrawn or (self.outcome is not None and self.outcome.done())

    def reply(self, value: Any) -> None:
        """Give the asker its reply."""
        if self.outcome is not None and not self.outcome.done():
            self.outcome.set_result(value)

    def fail(self, error: BaseException) -> None:
        """Give the asker an error."""
        if self.outcome is not None and not self.outcome.done():
            self.outcome.set_exception(error)

    def withdraw(self) -> None:
        """The asker is gone: the message is to be skipped, or the handler that works on it cancelled."""
        self.withdrawn = True
        if self.queued:
            self.cell.withdrew(self)
        elif self.runner is not None:
            self.runner.interrupt(self)

    def expire(self) -> None:
        """The deadline passed: tell the asker and withdraw."""
        if self.outcome is not None and not self.outcome.done():
            name = type(self.message).__name__
            self.outcome.set_exception(
                DeadlineExceeded(f"{self.cell.path}: no reply to {name} before the deadline")
            )
            self.withdraw()


Item: TypeAlias = Envelope | Any
"""What waits in a mailbox: an ask's envelope, or a tell's bare message."""

being_handled: ContextVar[Envelope | None] = ContextVar("being_handled", default=None)
"""What the handler that this code runs in is at work on."""
