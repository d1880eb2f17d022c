"""The load under which budgets are measured: who pays for which call, what it asks for, and what goes wrong.

All of it follows from a seed, so that the endpoint knows without being told how a call ends. There are 16 runs, in
8 sessions, of 4 keys, of 2 tenants, and one global account; each call is of one of the runs. At each of these five
levels one account has a limit below what its calls would cost.
"""

from dataclasses import dataclass
from random import Random

from repertory.store import AccountLimit, Amount

SEED = 5
RUNS = 16
INPUT, OUTPUT = 400, 1600  # nano-dollars a token
PROMPT = (100, 400)  # bytes
BYTES_PER_TOKEN = 4
MAX_TOKENS = (200, 1000)
REPLY = (0.6, 1.0)  # of max_tokens
ERRORS = 0.02
CANCELS = 0.01
SECONDS = (0.002, 0.02)  # until a reply

MEAN_COST = INPUT * sum(PROMPT) // 2 // BYTES_PER_TOKEN + OUTPUT * (sum(MAX_TOKENS) / 2) * (sum(REPLY) / 2)
# Shares of what the calls of all runs would cost. The last is reached after the others, before the calls are over.
LIMITS = {
    "run:0": 0.65 / 16,
    "session:1": 0.65 / 8,
    "key:1": 0.70 / 4,
    "tenant:1": 0.75 / 2,
    "global": 0.727,
}


@dataclass(frozen=True, slots=True)
class Call:
    """What one call asks for."""

    number: int
    accounts: tuple[str, ...]
    prompt: int  # bytes
    max_tokens: int
    cancelled_after: float | None  # seconds after it was sent

    @property
    def most(self) -> Amount:
        """Its worst case: a token a byte, and a reply that is cut off."""
        return Amount(self.prompt * INPUT + self.max_tokens * OUTPUT, self.prompt + self.max_tokens)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the endpoint makes of it."""

    failed: bool
    seconds: float
    input_tokens: int
    output_tokens: int

    @property
    def cost(self) -> int:
        """Nano-dollars on the bill."""
        return 0 if self.failed else self.input_tokens * INPUT + self.output_tokens * OUTPUT


def call(number: int) -> Call:
    """The call of this number."""
    rng = Random(SEED * 2**32 + number)
    return Call(
        number,
        chain(rng.randrange(RUNS)),
        rng.randint(*PROMPT),
        rng.randint(*MAX_TOKENS),
        rng.uniform(0, SECONDS[1]) if rng.random() < CANCELS else None,
    )


def answer(number: int, prompt: int, max_tokens: int) -> Answer:
    """How the endpoint answers the call of this number."""
    rng = Random(SEED * 2**33 + number)
    return Answer(
        rng.random() < ERRORS,
        rng.uniform(*SECONDS),
        -(-prompt // BYTES_PER_TOKEN),
        int(max_tokens * rng.uniform(*REPLY)),
    )


def chain(run: int) -> tuple[str, ...]:
    """The accounts that pay for the calls of a run."""
    return (f"run:{run}", f"session:{run // 2}", f"key:{run // 4}", f"tenant:{run // 8}", "global")


def limits(calls: int) -> dict[str, AccountLimit]:
    """All accounts, with the limits of those that have one."""
    all_cost = calls * (1 - ERRORS) * MEAN_COST
    accounts = {name for run in range(RUNS) for name in chain(run)}
    return {
        name: AccountLimit(int(all_cost * LIMITS[name]) if name in LIMITS else None) for name in sorted(accounts)
    }
