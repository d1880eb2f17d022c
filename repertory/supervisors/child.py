"""Child specifications: what a supervisor starts, and when it starts it again.

Semantics: Erlang/OTP ``supervisor``, "Child specification".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from repertory.actors import Actor, Exit
from repertory.errors import ConfigError

Restart: TypeAlias = Literal["permanent", "transient", "temporary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """How a supervisor runs one child.

    Args:
        id: Unique within the supervisor; the last part of the child's path.
        start: Makes the actor object of each new life.
        restart: ``permanent`` is always restarted, ``transient`` only after a failure, ``temporary`` never.
        shutdown: Seconds the child may take to stop before it is killed; None: as long as it takes.
        start_timeout: Seconds its ``started`` may take.
        concurrency: Messages it may handle at a time.
        mailbox: Messages that may wait for it.

    Raises ConfigError naming the argument.
    """

    id: str
    start: Callable[[], Actor[Any]]
    restart: Restart = "permanent"
    shutdown: float | None = 5.0
    start_timeout: float = 30.0
    concurrency: int = 1
    mailbox: int = 10_000

    def __post_init__(self) -> None:
        _check(bool(self.id) and "/" not in self.id, "id", self.id, "a name without '/'")
        _check(callable(self.start), "start", self.start, "a function that makes the actor")
        _check(
            self.restart in ("permanent", "transient", "temporary"),
            "restart",
            self.restart,
            "'permanent', 'transient' or 'temporary'",
        )
        _check(self.shutdown is None or self.shutdown >= 0, "shutdown", self.shutdown, "seconds, or None")
        _check(self.start_timeout > 0, "start_timeout", self.start_timeout, "seconds above 0")
        _check(self.concurrency >= 1, "concurrency", self.concurrency, "at least 1")
        _check(self.mailbox >= 1, "mailbox", self.mailbox, "at least 1")

    def restarts_after(self, exit: Exit) -> bool:
        """Whether a child that ended so is started again."""
        if self.restart == "permanent":
            return True
        return self.restart == "transient" and exit.abnormal


def _check(valid: bool, argument: str, value: object, wanted: str) -> None:
    if not valid:
        raise ConfigError(f"ChildSpec: {argument} = {value!r}", hint=f"It must be {wanted}.")
