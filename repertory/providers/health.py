"""How an endpoint is, in a word and with reasons that an operator can read."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from repertory.providers.breaker import BreakerSnapshot
from repertory.providers.limits import LimitsSnapshot
from repertory.providers.retry_budget import RetryBudgetSnapshot

State: TypeAlias = Literal["well", "strained", "down"]


@dataclass(frozen=True, slots=True)
class Health:
    """What can be expected of an endpoint.

    Attributes:
        state: ``well``; ``strained``: it answers, but calls wait or are not repeated; ``down``: calls are refused.
        reasons: Why it is not well, the gravest first; empty if it is.
    """

    state: State
    reasons: tuple[str, ...]


def health_of(circuit: BreakerSnapshot, limits: LimitsSnapshot, retries: RetryBudgetSnapshot) -> Health:
    """Judge an endpoint by the states of its breaker, its limiter and its retry budget."""
    down = list(_why_down(circuit))
    strained = []
    if circuit.state == "half_open":
        strained.append(f"its circuit is half open: a probe is under way; it had opened: {circuit.reason}")
    if circuit.forced == "closed":
        strained.append("an operator keeps its circuit closed, whatever happens")
    if limits.paused_for > 0:
        strained.append(f"the provider wants no call for another {limits.paused_for:.1f} s")
    waiting = sum(limits.waiting.values())
    if waiting:
        at_most = f" behind {limits.concurrency} in flight" if limits.concurrency is not None else ""
        strained.append(f"{waiting} calls wait for their turn{at_most}")
    if retries.retries and not retries.left:
        strained.append(f"its retry budget is used up: {retries.retries} retries for {retries.calls} calls")
    return Health("down" if down else "strained" if strained else "well", (*down, *strained))


def _why_down(circuit: BreakerSnapshot) -> tuple[str, ...]:
    if circuit.state != "open":
        return ()
    if circuit.forced == "open":
        return (circuit.reason,)
    return (f"its circuit is open for another {circuit.open_for:.1f} s: {circuit.reason}",)
