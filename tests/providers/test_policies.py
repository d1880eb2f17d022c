"""In which order a route's candidates are asked, by each policy."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.errors import ConfigError
from repertory.providers.messages import Terms
from repertory.providers.policies import Cheapest, Fallback, Hedged, LeastLatency, Order, Policy, Weighted
from repertory.providers.policies.least_latency import PeakEwma
from repertory.providers.policies.sticky import Homes
from repertory.providers.policies.weighted import SmoothTurns
from repertory.testing import FakeClock
from tests.providers.stand_in import ASK, StandIn

NAMES = ("a", "b", "c", "d")
POLICIES: dict[str, Policy] = {
    "fallback": Fallback(),
    "weighted": Weighted({"a": 3, "c": 1}),
    "least_latency": LeastLatency(),
    "cheapest": Cheapest(),
    "hedged": Hedged(Weighted({"b": 2, "d": 1})),
}

candidates = st.tuples(
    *[
        st.builds(
            StandIn,
            st.just(name),
            blocked=st.sampled_from([None, None, "its circuit is open"]),
            unfit=st.sampled_from([False, False, True]),
            cost=st.none() | st.integers(0, 5),
        )
        for name in NAMES
    ]
)


def order(policy: Policy, names: Sequence[str] = NAMES, clock: FakeClock | None = None, seed: int = 1) -> Order:
    return policy.over(names, clock or FakeClock(), Random(seed))


def is_able(candidate: StandIn) -> bool:
    return candidate.blocked is None and not candidate.unfit


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@given(data=st.data())
def test_every_candidate_is_in_the_order_once_and_those_that_can_answer_come_first(
    policy: Policy, data: st.DataObject
) -> None:
    decider = order(policy, seed=data.draw(st.integers(0, 99)))
    for _ in range(data.draw(st.integers(1, 8))):
        listed = data.draw(candidates)
        ranked = list(
            decider.rank(replace(ASK, terms=Terms(sticky=data.draw(st.sampled_from(["", "k1", "k2"])))), listed)
        )
        assert sorted(each.name for each in ranked) == list(NAMES)
        if not isinstance(policy, Fallback):
            able = [is_able(each) for each in ranked]  # type: ignore[arg-type]  # they are the stand-ins given
            assert able == sorted(able, reverse=True)


def test_fallback_keeps_the_list_whatever_is_in_the_way() -> None:
    listed = [StandIn("a", blocked="open"), StandIn("b", unfit=True), StandIn("c")]
    assert list(order(Fallback()).rank(replace(ASK, terms=Terms(sticky="k")), listed)) == listed


# --- weighted ------------------------------------------------------------------------------------------------


def test_weighted_turns_are_mixed_as_in_nginx() -> None:
    turns = SmoothTurns({"a": 5, "b": 1, "c": 1})
    assert [turns.turn("abc") for _ in range(7)] == list("aabacaa")


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(0, 7), min_size=1), st.integers(0, 40))
def test_every_period_has_exactly_the_weights_wherever_it_starts(weights: dict[str, int], start: int) -> None:
    turns = SmoothTurns(weights)
    for _ in range(start):
        turns.turn(weights)
    period = sum(weights.values())
    had = Counter(turns.turn(weights) for _ in range(period))
    assert had == +Counter(weights)


@given(st.lists(st.sets(st.sampled_from("abcd")), max_size=40))
def test_whoever_comes_and_goes_only_those_present_get_a_turn(present: list[set[str]]) -> None:
    turns = SmoothTurns({"a": 4, "b": 2, "c": 1, "d": 0})
    for names in present:
        turn = turns.turn(sorted(names))
        assert turn in names - {"d"} if names - {"d"} else turn is None


@given(st.integers(0, 20))
def test_who_was_away_does_not_catch_up(periods: int) -> None:
    weights = {"a": 2, "b": 1, "c": 5}
    turns = SmoothTurns(weights)
    assert Counter(turns.turn("ab") for _ in range(3 * periods)) == Counter({"a": 2 * periods, "b": periods})
    assert Counter(turns.turn("abc") for _ in range(8)) == Counter(weights)


def test_who_has_no_weight_is_asked_last_and_the_others_stand_in_as_listed() -> None:
    listed = [StandIn(name) for name in NAMES]
    decider = order(Weighted({"b": 1, "d": 1}))
    ranked = [[each.name for each in decider.rank(ASK, listed)] for _ in range(2)]
    assert ranked == [["b", "a", "c", "d"], ["d", "a", "b", "c"]]


def test_a_sticky_request_is_nobodys_turn() -> None:
    listed = [StandIn(name) for name in NAMES]
    decider = order(Weighted({"a": 1, "b": 1}))
    firsts = []
    for _ in range(6):
        firsts.append(decider.rank(ASK, listed)[0].name)
        decider.rank(replace(ASK, terms=Terms(sticky="k")), listed)
    assert firsts == ["a", "b"] * 3


@pytest.mark.parametrize("weights", [{"a": 0}, {}, {"a": -1}, {"a": 0.5}, {"a": True}])
def test_weights_that_mean_nothing_are_refused(weights: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="weights"):
        Weighted(weights)


def test_a_weight_for_nobody_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match=r"weights\['x'\](.|\n)*a, b"):
        order(Weighted({"x": 1}), ["a", "b"])


# --- sticky --------------------------------------------------------------------------------------------------


def home(homes: Homes, key: str, present: Sequence[str]) -> str | None:
    found = homes.of(key, [StandIn(name) for name in present])
    return found.name if found else None


@given(st.text(), st.sets(st.sampled_from(NAMES), min_size=1), st.randoms(use_true_random=False))
def test_a_key_moves_only_when_its_home_is_gone_and_comes_back_with_it(
    key: str, present: set[str], rng: Random
) -> None:
    homes = Homes({"a": 1, "b": 2, "c": 1, "d": 5})
    everywhere = home(homes, key, NAMES)
    some = sorted(present)
    rng.shuffle(some)
    if everywhere in present:
        assert home(homes, key, some) == everywhere
    assert home(homes, key, some) in present
    assert home(homes, key, NAMES) == everywhere


def test_keys_are_given_out_by_weight() -> None:
    homes = Homes({"a": 3, "b": 1, "c": 0})
    had = Counter(home(homes, f"user {number}", "abc") for number in range(4000))
    assert had["c"] == 0
    assert abs(had["a"] - 3000) < 100  # 3.6 standard deviations, and the keys are always the same


def test_a_key_has_the_same_home_in_every_process() -> None:
    homes = Homes(dict.fromkeys(NAMES, 1))
    assert [home(homes, f"user {number}", NAMES) for number in range(8)] == list("abdddcab")


@pytest.mark.parametrize("policy", [Weighted({"a": 1, "b": 1, "c": 1}), LeastLatency(), Cheapest()])
def test_a_sticky_request_goes_home_first_and_elsewhere_only_while_home_is_in_the_way(policy: Policy) -> None:
    listed = [StandIn(name, cost=number) for number, name in enumerate("abc")]
    decider = order(policy, "abc")
    ask = replace(ASK, terms=Terms(sticky="user 7"))
    firsts = {decider.rank(ask, listed)[0].name for _ in range(20)}
    assert len(firsts) == 1
    resident = next(each for each in listed if each.name in firsts)
    resident.blocked = "its circuit is open"
    assert decider.rank(ask, listed)[0] is not resident
    resident.blocked = None
    assert decider.rank(ask, listed)[0] is resident


def test_keys_of_any_characters_have_a_home() -> None:
    assert home(Homes({"a": 1}), "\ud800", "a") == "a"


# --- cheapest ------------------------------------------------------------------------------------------------


def test_the_cheapest_that_can_answer_is_first_and_unknown_prices_are_last() -> None:
    listed = [
        StandIn("unknown"),
        StandIn("dear", cost=9),
        StandIn("cheap but shut", cost=1, blocked="its circuit is open"),
        StandIn("cheap", cost=2),
        StandIn("as cheap", cost=2),
        StandIn("free but unfit", cost=0, unfit=True),
    ]
    ranked = order(Cheapest(), [each.name for each in listed]).rank(ASK, listed)
    expected = ["cheap", "as cheap", "dear", "unknown", "cheap but shut", "free but unfit"]
    assert [each.name for each in ranked] == expected


# --- least latency -------------------------------------------------------------------------------------------


def test_an_estimate_jumps_up_and_comes_down_slowly(clock: FakeClock) -> None:
    estimate = PeakEwma(clock, decay=10)

    def ended(seconds: float) -> float:
        estimate.sent()
        clock.advance(1)
        estimate.ended(seconds, "answered")
        return round(estimate.wait(), 3)

    assert [ended(1), ended(5), ended(1), ended(1)] == [1, 5, 4.619, 4.275]


def test_calls_under_way_stand_in_line_before_the_next(clock: FakeClock) -> None:
    estimate = PeakEwma(clock, decay=10)
    estimate.sent()
    estimate.ended(2, "answered")
    estimate.sent()
    estimate.sent()
    assert estimate.wait() == 6


def test_the_slow_are_tried_again_after_a_while_by_one_call_at_a_time(clock: FakeClock) -> None:
    estimate = PeakEwma(clock, decay=10)
    estimate.sent()
    estimate.ended(30, "answered")
    clock.advance(60)
    assert estimate.wait() < 0.1
    estimate.sent()
    assert estimate.wait() == 60


def test_until_the_first_call_returned_the_unproven_get_no_second(clock: FakeClock) -> None:
    estimate = PeakEwma(clock, decay=10)
    assert estimate.wait() == 0
    estimate.sent()
    assert estimate.wait() > 1e6


def test_who_fails_fast_does_not_look_quick(clock: FakeClock) -> None:
    estimate = PeakEwma(clock, decay=10)
    waits = []
    for _ in range(8):
        estimate.sent()
        estimate.ended(0.01, "failed")
        waits.append(estimate.wait())
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_call_that_was_cut_off_tells_only_that_it_would_have_taken_longer(clock: FakeClock) -> None:
    estimate = PeakEwma(clock, decay=10)
    estimate.sent()
    estimate.ended(0.5, "left")
    assert estimate.wait() == 0
    for seconds, outcome_wait in [(2, 2), (0.1, 2), (3, 3)]:
        estimate.sent()
        estimate.ended(seconds, "answered" if seconds == 2 else "left")
        assert estimate.wait() == outcome_wait


@given(st.integers(0, 1000))
def test_of_two_drawn_the_quicker_is_first_and_the_other_second(seed: int) -> None:
    listed = [StandIn(name) for name in NAMES]
    decider = order(LeastLatency(), seed=seed)
    for seconds, name in enumerate(NAMES, 1):
        decider.sent(name)
        decider.ended(name, seconds, "answered")
    ranked = [each.name for each in decider.rank(ASK, listed)]
    assert ranked[0] < ranked[1]
    assert ranked[2:] == sorted(ranked[2:])


def test_the_slowest_of_several_is_never_first_and_all_others_are() -> None:
    listed = [StandIn(name) for name in NAMES]
    decider = order(LeastLatency())
    for seconds, name in enumerate(NAMES, 1):
        decider.sent(name)
        decider.ended(name, seconds, "answered")
    firsts = Counter(decider.rank(ASK, listed)[0].name for _ in range(300))
    assert set(firsts) == {"a", "b", "c"}
    assert firsts["a"] > firsts["b"] > firsts["c"]


@pytest.mark.parametrize("decay", [0, -1, float("inf"), float("nan")])
def test_a_decay_that_means_nothing_is_refused(decay: float) -> None:
    with pytest.raises(ConfigError, match="decay"):
        LeastLatency(decay)
