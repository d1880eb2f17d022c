"""What the system must know to run an actor: how it is made, how much may wait for it, when it may rest."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias, TypeGuard, get_args

from repertory.errors import ConfigError

if TYPE_CHECKING:
    from repertory.actors.actor import Actor

Overflow: TypeAlias = Literal["wait", "reject", "drop_newest", "drop_oldest"]

OVERFLOWS = get_args(Overflow)


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
        self._check(is_seconds(self.start_timeout, above=True), "start_timeout", "seconds above 0")
        self._check(is_count(self.concurrency, 1), "concurrency", "a whole number, at least 1")
        self._check(is_count(self.mailbox, 1), "mailbox", "a whole number, at least 1")
        self._check(self.overflow in OVERFLOWS, "overflow", "'wait', 'reject', 'drop_newest' or 'drop_oldest'")
        self._check(
            self.passivate_after is None or is_seconds(self.passivate_after, above=True),
            "passivate_after",
            "seconds above 0, or None",
        )
        self._check(isinstance(self.lazy, bool), "lazy", "True or False")

    def _check(self, valid: bool, argument: str, wanted: str) -> None:
        if not valid:
            refuse(type(self).__name__, argument, getattr(self, argument), wanted)


def is_name(value: object) -> TypeGuard[str]:
    """Whether ``value`` is a text that is not empty."""
    return isinstance(value, str) and bool(value)


def is_count(value: object, least: int) -> bool:
    """Whether ``value`` is a whole number, ``least`` or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: object) -> TypeGuard[float]:
    """Whether ``value`` is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_seconds(value: object, *, above: bool = False) -> bool:
    """Whether ``value`` is a finite number of seconds: ``above`` 0, or at least 0."""
    return is_number(value) and (value > 0 if above else value >= 0)


def refuse(owner: str, argument: str, value: object, wanted: str) -> NoReturn:
    """Raise ConfigError: what ``owner`` was given as ``argument`` is not what it must be."""
    raise ConfigError(f"{owner}: {argument} = {value!r}", hint=f"It must be {wanted}.")
