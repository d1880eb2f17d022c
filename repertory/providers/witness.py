"""Whoever keeps the record of a call: it is told of every attempt before that is sent, and how it ended.

Without such a record a process that was killed cannot know what it may have bought.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Literal, Protocol, TypeAlias

from repertory.providers.messages import Usage

TOLD_DIGEST = 16  # bytes; it tells apart the calls of one record, which nobody attacks

Told: TypeAlias = Literal["paid", "unpaid", "uncertain"]
"""How an attempt ended: it was paid for, nobody will bill it, or nobody knows; see ``ending``."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One attempt at a call that must be paid for, about to be sent.

    Attributes:
        key: The idempotency key of the call: the same for all its attempts, and when the call is made again after
            a crash.
        attempt: From 1.
        endpoint: The endpoint's name.
        request_hash: A digest in hexadecimal of what is asked, as it goes over the wire, and of whom.
        nano_most: Nano-dollars that it costs at most; None: nobody knows.
        tokens_most: Tokens that it takes at most, as far as that is known: 0 where nothing bounds the reply.
    """

    key: str
    attempt: int
    endpoint: str
    request_hash: str
    nano_most: int | None
    tokens_most: int


class Witness(Protocol):
    """Is told of the attempts at one call after the other, and of each how it ended.

    It is told of one attempt at a time: each ``intend`` is followed by exactly one ``settled`` before the next,
    and what is ``identified`` in between is that attempt's. ``identified`` and ``settled`` must not raise.
    """

    def key(self) -> str:
        """Return the idempotency key of the next call; asked once a call, before its first attempt is sent."""
        ...

    def intend(self, intent: Intent) -> Awaitable[None]:
        """Write down that the attempt is about to be sent; done once it is on disk.

        Whatever this raises keeps the attempt from being sent. The attempt is ``settled`` as ``unpaid`` all the
        same, also if the wait was cancelled or the call's deadline passed: it may have reached the disk.
        """
        ...

    def identified(self, response_id: str) -> None:
        """The provider has told its id of the answer that is under way; at most once an attempt."""
        ...

    def settled(self, ending: Told, usage: Usage, cost: Decimal | None) -> None:
        """The attempt has ended.

        Args:
            ending: Whether it was paid for. A whole answer that nobody counted is ``uncertain`` too.
            usage: What it was counted for; zeros unless it was paid.
            cost: Dollars: what those who pay for it are charged. That is the most it can have cost where it is
                ``uncertain``, or where nobody knows the price and a cap stands for it. None: nobody knows.
        """
        ...

    def beside(self) -> "Witness":
        """Return the witness of a call that is made at the same time, for the same answer (a hedge's second)."""
        ...


def request_hash(body: bytes, identity: str) -> str:
    """The digest of ``body`` as sent to the endpoint of this ``identity``: BLAKE2b (RFC 7693), 128 bits."""
    digest = blake2b(identity.encode(), digest_size=TOLD_DIGEST)
    digest.update(b"\0")
    digest.update(body)
    return digest.hexdigest()
