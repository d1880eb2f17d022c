"""When a second endpoint is asked, and how often."""

from collections import deque
from dataclasses import replace
from fractions import Fraction
from math import ceil
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.errors import ConfigError
from repertory.providers.messages import LMRequest, Terms, ToolDefinition
from repertory.providers.policies import Fallback, Hedged
from repertory.providers.policies.hedged import MOST_SAVED, HedgeBudget, Hedging
from repertory.providers.policies.latency_window import LatencyWindow
from repertory.testing import FakeClock
from tests.providers.stand_in import ASK

latencies = st.floats(0, 100) | st.sampled_from([1.0, 2.0])  # some of them equal


@given(st.lists(latencies, max_size=60), st.integers(1, 9), st.floats(0.01, 1))
def test_a_quantile_equals_that_of_the_latest_samples_sorted_anew(
    samples: list[float], size: int, share: float
) -> None:
    window = LatencyWindow(size, least=1)
    latest: deque[float] = deque(maxlen=size)
    for each in samples:
        window.add(each)
        latest.append(each)
        within = sorted(latest)[ceil(share * len(latest)) - 1]
        assert window.quantile(share) == within
        assert sum(one <= within for one in latest) >= share * len(latest)


def test_a_few_samples_say_nothing() -> None:
    window = LatencyWindow()
    for number in range(19):
        window.add(number)
    assert window.quantile(0.95) is None
    window.add(19)
    assert window.quantile(0.95) == 18


@given(st.lists(st.booleans(), max_size=400), st.sampled_from([0.05, 0.07, 0.1, 0.29, 1 / 3, 1.0]))
def test_extra_requests_never_exceed_their_share_of_the_calls(tried: list[bool], most_extra: float) -> None:
    budget = HedgeBudget(most_extra)
    share = Fraction(str(most_extra))
    calls, extra = 0, 0
    history = [(0, 0)]
    for wanted in tried:
        budget.earn()
        calls += 1
        extra += wanted and budget.spend()
        assert extra <= share * calls
        history.append((calls, extra))
    for then, had in history:  # in any stretch that ends now
        assert extra - had <= share * (calls - then) + MOST_SAVED


def test_the_whole_share_can_be_used() -> None:
    budget = HedgeBudget(0.05)
    used = 0
    for _ in range(1000):
        budget.earn()
        used += budget.spend()
    assert used == 50


def test_a_long_calm_does_not_pay_for_a_storm() -> None:
    budget = HedgeBudget(0.05)
    for _ in range(100_000):
        budget.earn()
    assert sum(budget.spend() for _ in range(1000)) == MOST_SAVED


def hedging(answered: int = 20) -> Hedging:
    decider = Hedged(Fallback()).over(["a", "b"], FakeClock(), Random(1))
    for number in range(answered):
        decider.sent("a")
        decider.ended("a", 1 + number / 10, "answered")
    return decider


def test_patience_is_the_quantile_of_the_first_ones_own_latencies() -> None:
    decider = hedging()
    assert decider.patience(ASK, "a") == pytest.approx(2.8)
    assert decider.patience(ASK, "b") is None


def test_calls_cut_off_late_keep_the_quantile_from_sinking_and_those_cut_off_early_say_nothing() -> None:
    decider = hedging(200)
    before = decider.patience(ASK, "a")
    assert before is not None
    for _ in range(200):
        decider.sent("a")
        decider.ended("a", 0.01, "left")
        decider.sent("a")
        decider.ended("a", 0.01, "failed")
    assert decider.patience(ASK, "a") == before
    for _ in range(20):  # a tenth of the window
        decider.sent("a")
        decider.ended("a", before + 5, "left")
    assert decider.patience(ASK, "a") == before + 5


@pytest.mark.parametrize(
    ("request_", "safe"),
    [
        (ASK, True),
        (replace(ASK, tools=(ToolDefinition("pay", "Pays.", {"type": "object"}),)), True),
        (replace(ASK, terms=Terms(cache="refresh")), True),
        (replace(ASK, terms=Terms(cache="bypass")), False),
        (replace(ASK, extra={"store": True}), False),
        (replace(ASK, terms=Terms(priority="batch")), False),
    ],
    ids=["plain", "tools of the caller", "refresh", "bypass", "extra", "batch"],
)
def test_a_second_request_is_sent_only_where_it_does_nothing_but_cost(request_: LMRequest, safe: bool) -> None:
    assert (hedging().patience(request_, "a") is not None) == safe


@pytest.mark.parametrize("wrong", [{"quantile": 0}, {"quantile": 1}, {"most_extra": 0}, {"most_extra": 1.1}])
def test_numbers_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Hedged(Fallback(), **wrong)


def test_hedged_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="itself Hedged"):
        Hedged(Hedged(Fallback()))
