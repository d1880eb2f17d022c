"""Prices: our sums against the table's own, and bounds that hold."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from genai_prices import Usage as TableUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot
from hypothesis import assume, given, settings
from hypothesis.strategies import (
    SearchStrategy,
    booleans,
    builds,
    datetimes,
    integers,
    just,
    lists,
    sampled_from,
    tuples,
)

from repertory.providers.messages import Usage
from repertory.providers.prices import FREE, Price, Tier, known_model, known_price
from repertory.store.ledger import in_dollars

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
MODELS = [
    ("openai", "gpt-4.1-mini"),
    ("openai", "gpt-5.4"),
    ("openai", "o3"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-opus-4-6"),
    ("google", "gemini-2.5-pro"),
    ("google", "gemini-2.5-flash"),
    ("deepseek", "deepseek-chat"),
    ("perplexity", "sonar-pro"),
    ("groq", "llama-3.3-70b-versatile"),
]


def usages(most: int = 10**6) -> SearchStrategy[Usage]:
    def make(parts: tuple[int, int, int], output: int) -> Usage:
        fresh, read, written = parts
        return Usage(fresh + read + written, output, read, written)

    counts = integers(0, most // 3) | integers(0, min(most, 1000) // 3)
    return builds(make, tuples(counts, counts, counts), integers(0, 10**5))


@given(
    model=sampled_from(MODELS),
    usage=usages(),
    now=datetimes(datetime(2025, 1, 1), datetime(2027, 6, 1), timezones=just(UTC)),
)
@settings(max_examples=400)
def test_a_price_agrees_with_the_tables_own_sum(model: tuple[str, str], usage: Usage, now: datetime) -> None:
    price = known_price(*model, now)
    assert price is not None
    expected = calc_price(
        TableUsage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cached_tokens,
            cache_write_tokens=usage.cache_write_tokens,
        ),
        model[1],
        provider_id=model[0],
        genai_request_timestamp=now,
    ).total_price
    assert in_dollars(price.of(usage) - 1) < expected <= in_dollars(price.of(usage))


rates = integers(0, 10**11)
ONE_TIER = builds(Tier, just(-1), rates, rates, rates, rates, rates)
HIGHER = builds(Tier, integers(0, 10**6), rates, rates, rates, rates, rates)
PRICES = builds(
    lambda first, rest, request, coming: Price(
        (first, *sorted({tier.above: tier for tier in rest}.values(), key=lambda tier: tier.above)),
        request,
        tuple(coming),
    ),
    ONE_TIER,
    lists(HIGHER, max_size=3),
    integers(0, 10**7),
    lists(ONE_TIER | HIGHER, max_size=2),
)


@given(price=PRICES, usage=usages(), more=integers(0, 10**6), media=booleans())
def test_no_call_within_the_bounds_costs_more_than_the_most(
    price: Price, usage: Usage, more: int, media: bool
) -> None:
    most = price.at_most(usage.input_tokens + more, usage.output_tokens + more)
    assert price.of(usage, media=media) <= most
    for tier in price.coming:
        if usage.input_tokens > tier.above:
            assert Price((tier,)).of(usage, media=media) <= most


@given(price=PRICES, usage=usages())
def test_a_cost_is_the_exact_sum_rounded_up(price: Price, usage: Usage) -> None:
    tier = max(
        (t for t in price.tiers if usage.input_tokens > t.above), key=lambda t: t.above, default=price.tiers[0]
    )
    fresh = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    exact = price.request + Fraction(
        fresh * tier.input
        + usage.cached_tokens * tier.cache_read
        + usage.cache_write_tokens * tier.cache_write
        + usage.output_tokens * tier.output,
        10**6,
    )
    assert price.of(usage) - 1 < exact <= price.of(usage)


def test_reads_and_writes_of_the_cache_have_their_own_price() -> None:
    price = Price.flat(
        input=Decimal(3), output=Decimal(15), cache_read=Decimal("0.3"), cache_write=Decimal("3.75")
    )
    assert in_dollars(price.of(Usage(1_000_000, 0))) == 3
    assert in_dollars(price.of(Usage(1_000_000, 0, cached_tokens=1_000_000))) == Decimal("0.3")
    assert in_dollars(price.of(Usage(1_000_000, 0, cache_write_tokens=500_000))) == Decimal("3.375")
    assert in_dollars(price.at_most(1_000_000, 1_000_000)) == Decimal("18.75")


def test_a_call_with_many_input_tokens_is_of_the_higher_tier_as_a_whole() -> None:
    price = known_price("google", "gemini-2.5-pro", NOON)
    assert price is not None
    assert in_dollars(price.of(Usage(200_000, 1000))) == Decimal("0.25") + Decimal("0.01")
    assert in_dollars(price.of(Usage(200_001, 1000))) == Decimal("0.5000025") + Decimal("0.015")
    assert price.at_most(200_001, 1000) > price.at_most(200_000, 1000) * 15 // 10


def test_a_smaller_call_in_a_dearer_lower_tier_is_covered_too() -> None:
    low, high = Tier(-1, 10**10, 0, 0, 0, 10**10), Tier(1000, 10**9, 0, 0, 0, 10**9)
    assert Price((low, high)).at_most(1001, 0) == Price((low,)).at_most(1001, 0)


def test_recordings_are_charged_their_own_price_where_a_usage_does_not_tell_which_tokens_were_theirs() -> None:
    price = known_price("google", "gemini-2.5-flash", NOON)
    assert price is not None
    assert in_dollars(price.of(Usage(1_000_000, 0))) == Decimal("0.3")
    assert in_dollars(price.of(Usage(1_000_000, 0), media=True)) == 1
    same = known_price("openai", "gpt-4.1-mini", NOON)
    assert same is not None
    assert same.of(Usage(9, 9, cached_tokens=5), media=True) == same.of(Usage(9, 9, cached_tokens=5))


def test_what_a_price_becomes_within_the_hour_counts_for_the_most() -> None:
    boundary = datetime(2026, 11, 27, 16, 30, tzinfo=UTC)
    before, after = (
        known_price("deepseek", "deepseek-chat", boundary + timedelta(minutes=minutes)) for minutes in (-20, 20)
    )
    assert before is not None
    assert after is not None
    assert before.of(Usage(1000, 1000)) != after.of(Usage(1000, 1000))
    assert before.at_most(1000, 1000) >= max(before.of(Usage(1000, 1000)), after.of(Usage(1000, 1000)))
    assert after.coming == ()


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("vllm", "gpt-4.1"),
        ("litellm", "gpt-4.1"),  # a gateway may call anything so
        ("compatible", "gpt-4.1"),
        ("openai", "whisper-1"),
        ("openai", "tts-1"),
        ("openai", "text-embedding-3-small"),
        ("perplexity", "sonar-deep-research"),  # citations are billed, and no usage counts them
    ],
)
def test_the_price_of_what_is_unknown_or_not_billed_by_tokens_is_none(provider: str, model: str) -> None:
    assert known_price(provider, model, NOON) is None


def test_a_model_of_our_own_process_is_free() -> None:
    assert known_price("local", "anything", NOON) == FREE
    assert FREE.at_most(10**9, 10**9) == 0


@pytest.mark.parametrize(
    ("ours", "theirs"), [("openai-responses", "openai"), ("anthropic-2023-06-01", "anthropic")]
)
def test_providers_that_the_table_calls_otherwise_are_found(ours: str, theirs: str) -> None:
    model = {"openai": "gpt-4.1", "anthropic": "claude-sonnet-4-5"}[theirs]
    assert known_model(ours, model, NOON) == known_model(theirs, model, NOON)


def test_azure_sells_openais_models_at_their_price() -> None:
    known = known_model("azure", "gpt-4.1", NOON)
    assert known is not None
    assert known.price == known_price("openai", "gpt-4.1", NOON)
    assert known.context_window is not None
    assert known.context_window >= 1_000_000


def test_every_price_in_the_table_is_understood_or_none() -> None:
    priced = 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            known = known_model(provider.id, model.id, NOON)
            if known is None or known.price is None:
                continue
            priced += 1
            assert known.price.tiers[0].above == -1
            assert known.price.at_most(10, 10) >= known.price.of(Usage(10, 10))
    assert priced > 1500


@given(usage=usages(300))
def test_a_free_model_costs_nothing(usage: Usage) -> None:
    assume(usage.input_tokens > 0)
    assert FREE.of(usage) == 0


def test_the_table_is_loaded_only_for_whoever_asks() -> None:
    script = "import sys, repertory, repertory.providers.budget; assert 'genai_prices' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
