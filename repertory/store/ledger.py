"""Budgets that pay for a call before it is made: its worst case is reserved, what it cost is settled.

An account is a budget with a name, such as ``tenant:acme``. A call names those that pay for it, and all of them
pay or none. Money is an int of nano-dollars here, so that sums are exact: costs are rounded up to it, limits down.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Protocol

from repertory.errors import ConfigError

NANO = 10**9  # nano-dollars in a dollar
MOST = 2**60  # of either kind; sums of it stay within a database's 64 bits


def nano_dollars(dollars: Decimal) -> int:
    """A cost in nano-dollars, rounded up."""
    return int((dollars * NANO).to_integral_value(ROUND_CEILING))


def in_dollars(nano: int) -> Decimal:
    """Nano-dollars in dollars, exactly."""
    return Decimal(nano).scaleb(-9)


@dataclass(frozen=True, slots=True)
class Amount:
    """Money and tokens."""

    nano_dollars: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.nano_dollars <= MOST and 0 <= self.tokens <= MOST):
            raise ValueError(f"{self!r}: expected numbers from 0 to 2**60")

    @property
    def dollars(self) -> Decimal:
        """The money in dollars."""
        return in_dollars(self.nano_dollars)


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The most a call may cost; None where nobody can say, which no account limited in that pays for."""

    nano_dollars: int | None
    tokens: int | None

    @property
    def known(self) -> Amount:
        """What can be said of it."""
        return Amount(min(self.nano_dollars or 0, MOST), min(self.tokens or 0, MOST))


@dataclass(frozen=True, slots=True)
class AccountLimit:
    """What an account may spend in all; None is no limit."""

    nano_dollars: int | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("nano_dollars", "tokens"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= MOST:
                raise ConfigError(f"budget: {name} = {value}: expected a number from 0 to 2**60")

    @classmethod
    def of(cls, dollars: Decimal | None = None, tokens: int | None = None) -> "AccountLimit":
        """A limit in dollars, tokens, or both."""
        nano = None if dollars is None else int((dollars * NANO).to_integral_value(ROUND_FLOOR))
        return cls(nano, tokens)


@dataclass(frozen=True, slots=True)
class Balance:
    """How an account stands.

    Attributes:
        limit: What it may spend in all.
        spent: What calls that have ended were charged.
        uncertain: Of that, what was charged in full because nobody knows what the call cost.
        reserved: The worst case of calls under way.
        reservations: How many those are.
    """

    limit: AccountLimit
    spent: Amount
    uncertain: Amount
    reserved: Amount
    reservations: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a call under way has been granted; a ledger gives it out and takes it back.

    Attributes:
        number: Tells it from others of the same holder.
        holder: Who has it; "" where there is but one.
        accounts: Those that pay, each once.
        most: What each has set aside for it.
    """

    number: int
    holder: str
    accounts: tuple[str, ...]
    most: Amount


class Ledger(Protocol):
    """Where budgets are kept.

    Invariants: a reservation is granted by all its accounts or by none, and only while what each has spent and
    reserved stays within its limit with it. It ends once; ending it again changes nothing. So an account spends
    more than its limit only if a call costs more than its worst case, or the limit is lowered below its spending.

    `settle`, `release` and `write_off` take effect when they are called, whether or not their result is awaited:
    a caller that is cancelled loses none.
    """

    async def limit(self, account: str, limit: AccountLimit) -> None:
        """Set or change what ``account`` may spend in all; it is created if there is none. Raises StoreError."""
        ...

    async def reserve(
        self, accounts: Sequence[str], most: Amount | WorstCase, timeout: float | None = None
    ) -> Reservation:
        """Have each of ``accounts`` set aside what a call costs at most.

        A caller that is cancelled while it waits, for ``timeout`` seconds at most, has reserved nothing.

        Raises:
            TimeoutError: It took longer.
            BudgetExceeded: One has not enough left; named are which, what is left and what was asked.
            AmountUnknown: One is limited in money or tokens, and nobody can say how much of it the call costs.
            ConfigError: One has not been given a limit.
            StoreError: Whether it was reserved could not be written down; nothing stays reserved.
        """
        ...

    def settle(self, reservation: Reservation, spent: Amount) -> Awaitable[None]:
        """End it: charge what the call cost, be that more than was reserved.

        What is returned is done once that is on disk, and raises StoreError.
        """
        ...

    def release(self, reservation: Reservation) -> Awaitable[None]:
        """End it: charge nothing, as nothing can have been billed."""
        ...

    def write_off(self, reservation: Reservation) -> Awaitable[None]:
        """End it: charge it in full, as uncertain, because the call may have been billed and nobody knows what."""
        ...

    async def balance(self, account: str) -> Balance:
        """How ``account`` stands. Raises ConfigError if there is none, StoreError."""
        ...

    async def forget(self, account: str) -> None:
        """Let go of ``account``, if nothing is reserved on it. Raises StoreError."""
        ...

    async def close(self) -> None:
        """Write off what is still reserved here."""
        ...


def unknown_account(name: str) -> ConfigError:
    """What whoever names an account hears that there is none of."""
    return ConfigError(
        f"budget {name!r}: there is no such account",
        hint=f"Give it a limit first: await ledger.limit({name!r}, AccountLimit.of(dollars=Decimal(5))).",
    )
