"""One message on its way: what is asked, who waits for the answer, and until when."""

import asyncio
from typing import Any

from repertory.errors import DeadlineExceeded


class Envelope:
    """A message in a mailbox or in a handler.

    Invariant: ``outcome`` is settled at most once; an envelope whose outcome is settled is never handled.
    """

    __slots__ = ("message", "outcome", "runner", "withdrawn")

    def __init__(self, message: Any, outcome: asyncio.Future[Any] | None) -> None:
        self.message = message
        self.outcome = outcome  # None: a tell, nobody waits
        self.runner: asyncio.Task[Any] | None = None  # the task whose handler works on it
        self.withdrawn = False

    @property
    def settled(self) -> bool:
        """Whether nobody waits for the outcome any more."""
        return self.outcome is not None and self.outcome.done()

    @property
    def abandoned(self) -> bool:
        """Whether the asker was cancelled."""
        return self.outcome is not None and self.outcome.cancelled()

    def reply(self, value: Any) -> None:
        """Give the asker its reply."""
        if self.outcome is not None and not self.outcome.done():
            self.outcome.set_result(value)

    def fail(self, error: BaseException) -> None:
        """Give the asker an error."""
        if self.outcome is not None and not self.outcome.done():
            self.outcome.set_exception(error)

    def withdraw(self) -> None:
        """The asker is gone: skip the message, or cancel the handler that works on it."""
        self.withdrawn = True
        if self.runner is not None:
            self.runner.cancel()

    def expire(self) -> None:
        """The deadline passed: tell the asker and withdraw."""
        if self.outcome is not None and not self.outcome.done():
            name = type(self.message).__name__
            self.outcome.set_exception(DeadlineExceeded(f"no reply to {name} before the deadline"))
            self.withdraw()
