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


@dataclass(frozen=True, slots=True, eq=False)
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
    """Is told of every attempt, and once of each how it ended.

    Attempts may overlap: of a hedged call two are under way, and one that others wait for too (single flight) goes
    on when the caller who made it has left. ``identified`` and ``settled`` are quick and must not raise.
    """

    def key(self) -> str:
        """Return the idempotency key of the next call; asked once a call, before its first attempt is sent."""
        ...

    def intend(self, intent: Intent) -> Awaitable[object]:
        """Write down that an attempt is about to be sent; done once it is on disk.

        Whatever this raises keeps the attempt from being sent. It is ``settled`` as ``unpaid`` all the same, also
        if the wait was cancelled or the call's deadline passed: the intent may have reached the disk.
        """
        ...

    def identified(self, intent: Intent, response_id: str) -> None:
        """The provider has told its id of the answer, which is under way; at most once an attempt."""
        ...

    def settled(self, intent: Intent, ending: Told, usage: Usage, cost: Decimal | None) -> None:
        """An attempt has ended.

        Args:
            intent: The attempt; the object that ``intend`` was given.
            ending: Whether it was paid for. A whole answer that nobody counted is ``uncertain`` too.
            usage: What it was counted for; zeros unless it was paid.
            cost: Dollars: what those who pay for it are charged. That is the most it can have cost where it is
                ``uncertain``, or where nobody knows the price and a cap stands for it. None: nobody knows.
        """
        ...


def request_hash(body: bytes, identity: str) -> str:
    """The digest of ``body`` as sent to the endpoint of this ``identity``: BLAKE2b (RFC 7693), 128 bits."""
    digest = blake2b(identity.encode(), digest_size=TOLD_DIGEST)
    digest.update(b"\0")
    digest.update(body)
    return digest.hexdigest()
