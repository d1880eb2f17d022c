"""How an attempt ended for those who pay for it and those who keep its record: the one rule for both."""

from typing import Final, Literal, TypeAlias

from repertory.errors import ConfigError, LMConnectionError, RuntimeClosed
from repertory.providers.messages import Usage

Ending: TypeAlias = Literal["settle", "release", "write_off"]

GAVE_UP: Final = frozenset({408, 504, 524})
"""Statuses of a gateway that did not wait any longer for a model that may go on, and be billed."""

NONE_COUNTED: Final = Usage()


def outcome_of(
    error: BaseException | None, *, usage: Usage = NONE_COUNTED, sent: bool = True, status: int | None = None
) -> Ending:
    """How the reservation of an attempt ends.

    Args:
        error: Why it failed, a cancellation too; None if there was a reply.
        usage: What the reply was counted for; zeros if it was not.
        sent: Whether anything can have reached the provider.
        status: The answer's HTTP status; None if there was none.
    """
    if error is None:
        return "settle" if usage.input_tokens or usage.output_tokens else "write_off"
    if not sent:
        return "release"
    if status is None or 200 <= status < 300 or status in GAVE_UP:
        return "write_off"
    return "release"


def was_sent(error: BaseException) -> bool:
    """Whether an attempt that was handed to the transport, and failed like this, can have reached the provider."""
    if isinstance(error, LMConnectionError):
        return not error.unsent
    # What the transport is not to send it refuses before it opens a connection.
    return not isinstance(error, RuntimeClosed | ConfigError)
