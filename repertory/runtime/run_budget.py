"""A budget of one run: an account of the ledger that pays for it alone."""

from dataclasses import dataclass, replace
from decimal import Decimal

from repertory.errors import ConfigError
from repertory.providers.messages import Terms
from repertory.store.ledger import AccountLimit, Ledger


@dataclass(frozen=True, slots=True)
class RunBudget:
    """What a run may spend in all, across processes. A call is not made that could cost more than is left.

    Args:
        dollars: Money, such as ``Decimal("0.25")``; None: no limit.
        tokens: Tokens in and out together; None: no limit.

    Raises ConfigError if nothing is limited, or by less than nothing.
    """

    dollars: Decimal | float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        if self.dollars is None and self.tokens is None:
            raise ConfigError(
                "RunBudget() limits nothing", hint="Write RunBudget(dollars=0.25), or tokens=10_000."
            )
        self.limit()

    def limit(self) -> AccountLimit:
        """The same as the ledger has it."""
        dollars = None if self.dollars is None else Decimal(str(self.dollars))
        return AccountLimit.of(dollars, self.tokens)


async def paid_by_itself(terms: Terms, run: str, budget: RunBudget | None, ledger: Ledger) -> Terms:
    """``terms`` with the account of a run's own that ``budget`` limits, if there is one. Raises StoreError."""
    if budget is None:
        return terms
    account = account_of(run)
    await ledger.limit(account, budget.limit())
    return replace(terms, accounts=(*terms.accounts, account))


async def settle_up(terms: Terms, run: str, ledger: Ledger) -> None:
    """The run has ended for good: the account of its own is not needed any more. Raises StoreError."""
    if (account := account_of(run)) in terms.accounts:
        await ledger.forget(account)


def account_of(run: str) -> str:
    """The account that a run has of its own."""
    return f"run:{run}"
