"""How a life ended."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Exit:
    """The reason of an actor's end, as Erlang/OTP tells them apart.

    ``normal``: it stopped itself. ``shutdown``: it was asked to, or a supervisor gave up. ``error``: it
    crashed or was killed; ``error`` then holds what ended it. ``passivated``: it rests, and the next message
    begins another life; nobody takes that for an end.
    """

    kind: Literal["normal", "shutdown", "error", "passivated"]
    error: BaseException | None = None

    def __post_init__(self) -> None:
        if self.error is not None and not isinstance(self.error, BaseException):
            raise TypeError(f"Exit: error = {self.error!r}; it must be an exception object, or None")

    @property
    def abnormal(self) -> bool:
        """Whether this end is a failure."""
        return self.kind == "error"


NORMAL = Exit("normal")
SHUTDOWN = Exit("shutdown")
PASSIVATED = Exit("passivated")


def check_exit(exit: object) -> None:
    """Raise TypeError unless ``exit`` is an `Exit`."""
    if not isinstance(exit, Exit):
        raise TypeError(f"stop: exit = {exit!r}; it must be an Exit, such as Exit('error', error)")
