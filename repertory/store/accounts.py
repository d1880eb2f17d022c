"""Accounts and what they grant: the decision that every ledger makes, wherever it keeps its accounts."""

from collections.abc import Sequence
from dataclasses import dataclass

from repertory.errors import AmountUnknown, BudgetExceeded
from repertory.store.ledger import MOST, AccountLimit, Amount, Balance, WorstCase, in_dollars


@dataclass(slots=True, eq=False)
class Account:
    """A budget and what it has paid and promised.

    Invariant: `reserve` follows on an asking of `refusal` that had none to give, so what is spent and reserved
    together exceeds a limit only by what a call cost above its worst case, or after the limit was lowered.
    """

    name: str
    nano_limit: int | None = None
    token_limit: int | None = None
    nano_spent: int = 0
    tokens_spent: int = 0
    nano_uncertain: int = 0  # of what was spent
    tokens_uncertain: int = 0
    nano_reserved: int = 0
    tokens_reserved: int = 0
    reservations: int = 0

    def refusal(self, most: Amount | WorstCase) -> BudgetExceeded | AmountUnknown | None:
        """Why a call that may cost so much cannot be paid for; None if it can."""
        if self.nano_limit is not None:
            left = self.nano_limit - self.nano_spent - self.nano_reserved
            nano = most.nano_dollars
            if nano is None or nano > left:
                asked = None if nano is None else _shown(nano)
                return self._refusal("money", _shown(left), asked, _shown(self.nano_reserved))
        if self.token_limit is not None:
            left = self.token_limit - self.tokens_spent - self.tokens_reserved
            tokens = most.tokens
            if tokens is None or tokens > left:
                asked = None if tokens is None else f"{tokens} tokens"
                return self._refusal("tokens", f"{left} tokens", asked, f"{self.tokens_reserved} tokens")
        return None

    def reserve(self, most: Amount) -> None:
        """Set ``most`` aside."""
        self.nano_reserved += most.nano_dollars
        self.tokens_reserved += most.tokens
        self.reservations += 1

    def end(self, most: Amount, spent: Amount, *, uncertain: bool) -> None:
        """Take back what was set aside, and charge ``spent``."""
        self.nano_reserved -= most.nano_dollars
        self.tokens_reserved -= most.tokens
        self.reservations -= 1
        self.nano_spent += spent.nano_dollars
        self.tokens_spent += spent.tokens
        if uncertain:
            self.nano_uncertain += spent.nano_dollars
            self.tokens_uncertain += spent.tokens

    def balance(self) -> Balance:
        """How it stands."""
        return Balance(
            AccountLimit(self.nano_limit, self.token_limit),
            _amount(self.nano_spent, self.tokens_spent),
            _amount(self.nano_uncertain, self.tokens_uncertain),
            _amount(self.nano_reserved, self.tokens_reserved),
            self.reservations,
        )

    def _refusal(self, kind: str, left: str, asked: str | None, reserved: str) -> BudgetExceeded | AmountUnknown:
        if asked is None:
            return AmountUnknown(
                f"budget {self.name!r} is limited in {kind}, and nobody can say how much of it the call may cost",
                account=self.name,
                kind=kind,
            )
        waiting = f"{reserved} are reserved for {self.reservations} calls under way; " if self.reservations else ""
        return BudgetExceeded(
            f"budget {self.name!r} has {left} left, the call may cost {asked}",
            account=self.name,
            hint=f"{waiting}raise its limit, or ask for less: fewer max_tokens, a shorter prompt.",
        )


def grant(
    paying: Sequence[Account], most: Amount | WorstCase, known: Amount
) -> BudgetExceeded | AmountUnknown | None:
    """Have every account set aside ``known``, which is what can be said of ``most``.

    If one cannot pay for ``most``, none does, and why is returned.
    """
    for account in paying:
        refusal = account.refusal(most)
        if refusal is not None:
            return refusal
    for account in paying:
        account.reserve(known)
    return None


def _shown(nano: int) -> str:
    return f"${in_dollars(nano):f}"


def _amount(nano: int, tokens: int) -> Amount:
    return Amount(min(nano, MOST), min(tokens, MOST))
