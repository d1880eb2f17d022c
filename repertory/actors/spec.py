"""What the system must know to run an actor: how it is made, how much may wait for it, when it may rest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from repertory.errors import ConfigError

if TYPE_CHECKING:
    from repertory.actors.actor import Actor

Overflow: TypeAlias = Literal["wait", "reject", "drop_newest", "drop_oldest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorSpec:
    """How one actor is run.

    Args:
        start: Makes the actor object of each life.
        start_timeout: Seconds its ``started`` may take.
        concurrency: Messages it may handle at a time.
        mailbox: Messages that may wait for it.
        overflow: What happens to a message that finds the mailbox full. ``reject`` raises MailboxFull at its
            sender; ``wait`` lets an ask wait for room within its deadline (a tell cannot wait and is
            rejected); ``drop_newest`` drops the message and ``drop_oldest`` the one that waited longest, though
            never a durable reminder.
        passivate_after: Seconds without a message after which the object is dropped, to be made again by the
            next message; None: it stays.
        lazy: Whether its first life begins with the first message instead of at once.

    Raises ConfigError naming the argument.
    """

    start: "Callable[[], Actor[Any]]"
    start_timeout: float = 30.0
    concurrency: int = 1
    mailbox: int = 10_000
    overflow: Overflow = "reject"
    passivate_after: float | None = None
    lazy: bool = False

    def __post_init__(self) -> None:
        self._check(callable(self.start), "start", "a function that makes the actor")
        self._check(self.start_timeout > 0, "start_timeout", "seconds above 0")
        self._check(self.concurrency >= 1, "concurrency", "at least 1")
        self._check(self.mailbox >= 1, "mailbox", "at least 1")
        self._check(self.overflow in get_args(Overflow), "overflow", " or ".join(map(repr, get_args(Overflow))))
        self._check(
            self.passivate_after is None or self.passivate_after > 0, "passivate_after", "seconds above 0, or None"
        )

    def _check(self, valid: bool, argument: str, wanted: str) -> None:
        if not valid:
            name = type(self).__name__
            raise ConfigError(f"{name}: {argument} = {getattr(self, argument)!r}", hint=f"It must be {wanted}.")
