"""The budget stage: what an attempt reserves, and how that ends."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import binary, integers, none, text

from repertory.errors import (
    BudgetExceeded,
    ConfigError,
    DeadlineExceeded,
    LMConnectionError,
    LMRequestRejected,
    LMServerError,
    LMTimeout,
    PriceUnknown,
)
from repertory.events import BudgetCharged, BudgetRefused, Event, Hooks
from repertory.providers import anthropic_messages, openai_chat
from repertory.providers.budget import (
    HARMLESS,
    INSTRUCTIONS,
    TEMPLATE,
    BudgetSettings,
    BudgetStage,
    input_at_most,
    worst_case,
)
from repertory.providers.ending import outcome_of
from repertory.providers.messages import LMRequest, MediaPart, Message, Terms, TextPart, ToolDefinition, Usage
from repertory.providers.prices import FREE, Price
from repertory.providers.wire import Quirks
from repertory.store import AccountLimit, Amount, MemoryLedger, WorstCase
from repertory.testing import FakeClock

PRICE = Price.flat(input=Decimal(1), output=Decimal(4), cache_read=Decimal("0.1"))  # 1,000 nano-dollars a token
MONEY = AccountLimit.of(dollars=Decimal(1))
TOKENS = AccountLimit.of(tokens=10_000)
PICTURE = MediaPart("image", "image/png", b"12345")


def request(**changes: Any) -> LMRequest:
    given: dict[str, Any] = {
        "messages": (Message("user", "Hello"),),
        "max_tokens": 100,
        "terms": Terms(accounts=("a",)),
    }
    return LMRequest(**given | changes)


def body_of(request: LMRequest) -> bytes:
    return openai_chat.encode(request, "m", Quirks())


async def a_stage(limit: AccountLimit, hooks: Hooks | None = None, **settings: Any) -> BudgetStage:
    ledger = MemoryLedger()
    await ledger.limit("a", limit)
    return stage_at(ledger, FakeClock(), "compatible", "m", BudgetSettings(**settings), hooks)


def stage_at(
    ledger: MemoryLedger,
    clock: FakeClock,
    provider: str,
    model: str,
    settings: BudgetSettings | None = None,
    hooks: Hooks | None = None,
) -> BudgetStage:
    return BudgetStage(
        settings or BudgetSettings(),
        ledger,
        endpoint="e",
        provider=provider,
        model=model,
        clock=clock,
        hooks=hooks or Hooks(),
    )


async def reserved(stage: BudgetStage, asked: LMRequest) -> Amount:
    await stage.reserve(asked, body_of(asked))
    return (await stage.ledger.balance("a")).reserved


# --- bounds --------------------------------------------------------------------------------------------------


@given(words=text(), more=text())
def test_a_model_that_reads_bytes_reads_no_more_than_is_counted(words: str, more: str) -> None:
    asked = LMRequest((Message("system", words), Message("user", (TextPart(more),))))
    bound = input_at_most(asked, body_of(asked), {})
    assert bound is not None
    assert bound >= len(words.encode()) + len(more.encode()) + TEMPLATE


@given(data=binary(max_size=300), tokens=integers(0, 5000))
def test_a_picture_counts_what_it_is_bounded_by_and_not_its_bytes(data: bytes, tokens: int) -> None:
    def bound(*parts: MediaPart) -> int | None:
        asked = LMRequest((Message("user", (TextPart("What is this?"), *parts)),))
        return input_at_most(asked, body_of(asked), {"image": tokens})

    without, with_one = bound(), bound(MediaPart("image", "image/png", data))
    assert without is not None
    assert with_one is not None
    assert without + tokens <= with_one <= without + tokens + 200  # the words around it on the wire


def test_a_part_whose_bound_nobody_has_given_leaves_the_input_unbounded() -> None:
    asked = LMRequest((Message("user", (PICTURE,)),))
    assert input_at_most(asked, b"", {"audio": 100, "file": 100}) is None
    asked = LMRequest((Message("user", (MediaPart("image", url="https://example.com/a.png"),)),))
    assert input_at_most(asked, b"12345678", {"image": 100}) == 108 + TEMPLATE


def test_tools_and_schemas_bring_instructions_that_the_body_does_not_show() -> None:
    tool = ToolDefinition("f", "", {"type": "object"})
    assert input_at_most(request(tools=(tool,)), b"", {}) == TEMPLATE + INSTRUCTIONS
    assert input_at_most(request(response_schema={"type": "object"}), b"", {}) == TEMPLATE + INSTRUCTIONS


@given(input_tokens=none() | integers(0, 10**6), max_tokens=none() | integers(1, 10**5), n=integers(1, 5))
def test_the_worst_case_is_known_only_as_far_as_all_it_depends_on_is(
    input_tokens: int | None, max_tokens: int | None, n: int
) -> None:
    tokens = None if input_tokens is None or max_tokens is None else input_tokens + max_tokens * n
    assert worst_case(None, input_tokens, max_tokens, n, None) == WorstCase(None, tokens)
    assert worst_case(None, input_tokens, max_tokens, n, 77) == WorstCase(77, tokens)
    for cap in (None, 77):
        priced = worst_case(PRICE, input_tokens, max_tokens, n, cap)
        if input_tokens is None or max_tokens is None:
            assert priced == WorstCase(cap, None)
        else:
            assert priced == WorstCase(PRICE.at_most(input_tokens, max_tokens * n), tokens)


# --- endings -------------------------------------------------------------------------------------------------

COUNTED = Usage(10, 5)


@pytest.mark.parametrize(
    ("error", "facts", "ending"),
    [
        (None, {"usage": COUNTED, "status": 200}, "settle"),
        (None, {"usage": Usage(), "status": 200}, "write_off"),  # a server that counts nothing
        (LMConnectionError("refused"), {"sent": False}, "release"),
        (DeadlineExceeded("before the call"), {"sent": False}, "release"),
        (asyncio.CancelledError(), {"sent": False}, "release"),
        (asyncio.CancelledError(), {}, "write_off"),
        (LMConnectionError("broken"), {}, "write_off"),
        (LMTimeout("no answer"), {}, "write_off"),
        (KeyboardInterrupt(), {}, "write_off"),
        (LMServerError("overloaded"), {"status": 529}, "release"),
        (LMRequestRejected("no"), {"status": 400}, "release"),
        (LMServerError("an error in a good answer"), {"status": 200}, "write_off"),
        (LMConnectionError("broken in mid-stream"), {"status": 200}, "write_off"),
        (LMServerError("a gateway that did not wait"), {"status": 504}, "write_off"),
        (LMTimeout("likewise"), {"status": 408}, "write_off"),
    ],
)
def test_what_may_have_been_billed_is_never_released(
    error: BaseException | None, facts: Mapping[str, Any], ending: str
) -> None:
    assert outcome_of(error, **facts) == ending


async def test_a_reply_is_charged_what_its_usage_costs() -> None:
    stage = await a_stage(MONEY, price=PRICE)
    hold = await stage.reserve(request(), body_of(request()))
    assert hold is not None
    assert hold.succeed(Usage(1000, 50, cached_tokens=400)) == Decimal("0.00084")
    balance = await stage.ledger.balance("a")
    assert (balance.spent, balance.uncertain, balance.reservations) == (Amount(840_000, 1050), Amount(), 0)


async def test_a_reply_that_nobody_counted_is_charged_in_full_and_its_cost_is_unknown() -> None:
    stage = await a_stage(MONEY, price=PRICE)
    most = await reserved(stage, request())
    hold = await stage.reserve(request(), body_of(request()))
    assert hold is not None
    assert hold.succeed(Usage()) is None
    balance = await stage.ledger.balance("a")
    assert (balance.spent, balance.uncertain) == (most, most)


@pytest.mark.parametrize(
    ("facts", "charged"), [({"sent": False, "status": None}, False), ({"sent": True, "status": None}, True)]
)
async def test_a_hold_ends_once_however_often_it_is_told(facts: Mapping[str, Any], charged: bool) -> None:
    stage = await a_stage(MONEY, price=PRICE)
    hold = await stage.reserve(request(), body_of(request()))
    assert hold is not None
    hold.fail(LMConnectionError("gone"), **facts)
    before = await stage.ledger.balance("a")
    assert (before.spent != Amount()) == charged
    hold.fail(asyncio.CancelledError(), sent=True, status=None)
    hold.succeed(COUNTED)
    assert await stage.ledger.balance("a") == before


# --- reserving -----------------------------------------------------------------------------------------------


async def test_a_request_that_names_no_accounts_reserves_nothing() -> None:
    stage = await a_stage(AccountLimit(0, 0))
    assert await stage.reserve(request(terms=Terms()), b"x" * 100) is None


async def test_every_reply_asked_for_is_reserved() -> None:
    one, three = request(), request(n=3)
    amounts = [await reserved(await a_stage(MONEY, price=PRICE), asked) for asked in (one, three)]
    more = len(body_of(three)) - len(body_of(one))
    assert amounts[1].tokens - amounts[0].tokens == 200 + more
    assert amounts[1].nano_dollars - amounts[0].nano_dollars == 200 * 4000 + more * 1000


async def test_a_budget_that_has_not_enough_left_names_the_endpoint_too() -> None:
    told: list[Event] = []
    stage = await a_stage(AccountLimit.of(tokens=99), Hooks([told.append]), price=PRICE)
    with pytest.raises(BudgetExceeded, match="budget 'a' has 99 tokens left") as caught:
        await stage.reserve(request(), body_of(request()))
    assert (caught.value.endpoint, caught.value.account) == ("e", "a")
    assert told == [BudgetRefused("e", ("a",), "budget_exceeded")]


async def test_who_pays_what_is_told() -> None:
    told: list[Event] = []
    stage = await a_stage(MONEY, Hooks([told.append]), price=PRICE)
    holds = [await stage.reserve(request(), b"x" * 100) for _ in range(3)]
    first, second, third = (hold for hold in holds if hold is not None)
    first.succeed(COUNTED)
    second.fail(LMServerError("no"), sent=True, status=500)
    third.fail(LMTimeout("no"), sent=True, status=None)
    most = Amount((100 + TEMPLATE) * 1000 + 100 * 4000, 100 + TEMPLATE + 100)
    assert told == [
        BudgetCharged("e", ("a",), "settle", 30_000, 15),
        BudgetCharged("e", ("a",), "release", 0, 0),
        BudgetCharged("e", ("a",), "write_off", most.nano_dollars, most.tokens),
    ]


@pytest.mark.parametrize("limit", [MONEY, TOKENS], ids=["money", "tokens"])
async def test_a_reply_without_bound_is_refused_with_a_remedy(limit: AccountLimit) -> None:
    stage = await a_stage(limit, price=PRICE)
    with pytest.raises(LMRequestRejected, match="max_tokens is not set") as caught:
        await stage.reserve(request(max_tokens=None), b"")
    assert "max_tokens of the endpoint's budget" in str(caught.value.hint)
    assert ("call_cap" in str(caught.value.hint)) == (limit is MONEY)
    assert (await stage.ledger.balance("a")).reservations == 0


async def test_the_endpoints_own_bound_is_sent_where_the_caller_has_none() -> None:
    stage = await a_stage(MONEY, price=PRICE, max_tokens=30)
    assert stage.bounded(request(max_tokens=None)).max_tokens == 30
    assert stage.bounded(request()).max_tokens == 100
    assert stage.bounded(request(max_tokens=None, terms=Terms())).max_tokens is None


async def test_an_account_without_limit_pays_for_anything_and_counts_what_is_known() -> None:
    stage = await a_stage(AccountLimit())
    asked = request(max_tokens=None, messages=(Message("user", (PICTURE,)),), extra={"service_tier": "priority"})
    hold = await stage.reserve(asked, body_of(asked))
    assert hold is not None
    assert hold.succeed(COUNTED) is None
    assert (await stage.ledger.balance("a")).spent == Amount(0, 15)


async def test_an_account_limited_in_tokens_alone_needs_no_price() -> None:
    stage = await a_stage(TOKENS)
    hold = await stage.reserve(request(), body_of(request()))
    assert hold is not None
    assert hold.succeed(COUNTED) is None
    assert (await stage.ledger.balance("a")).spent == Amount(0, 15)


async def test_money_does_not_pay_for_what_has_no_known_price() -> None:
    stage = await a_stage(MONEY)
    with pytest.raises(PriceUnknown, match="price of 'm', and budget 'a', which is limited in money") as caught:
        await stage.reserve(request(), body_of(request()))
    assert "call_cap" in str(caught.value.hint)
    assert caught.value.endpoint == "e"


async def test_a_cap_is_reserved_and_charged_where_the_price_is_unknown_and_the_cost_stays_unknown() -> None:
    stage = await a_stage(MONEY, call_cap=Decimal("0.02"))
    hold = await stage.reserve(request(max_tokens=None), body_of(request()))
    assert hold is not None
    assert (await stage.ledger.balance("a")).reserved == Amount(20_000_000)
    assert hold.succeed(COUNTED) is None
    assert (await stage.ledger.balance("a")).spent == Amount(20_000_000, 15)


async def test_a_cap_is_no_bound_of_tokens() -> None:
    stage = await a_stage(AccountLimit.of(Decimal(1), 10_000), call_cap=Decimal("0.02"))
    with pytest.raises(LMRequestRejected, match="max_tokens is not set"):
        await stage.reserve(request(max_tokens=None), b"")


async def test_a_picture_is_refused_unless_its_tokens_are_bounded_or_the_call_is_capped() -> None:
    asked = request(messages=(Message("user", (PICTURE,)),))
    with pytest.raises(LMRequestRejected, match="pictures, recordings or documents") as caught:
        await (await a_stage(MONEY, price=PRICE)).reserve(asked, body_of(asked))
    assert "media_tokens" in str(caught.value.hint)
    assert await reserved(await a_stage(MONEY, price=PRICE, call_cap=Decimal("0.5")), asked) == Amount(500_000_000)
    bounded = await reserved(await a_stage(MONEY, price=PRICE, media_tokens={"image": 5000}), asked)
    assert bounded.tokens > 5100


async def test_a_capped_call_whose_price_is_known_is_charged_what_it_cost() -> None:
    stage = await a_stage(MONEY, price=PRICE, call_cap=Decimal("0.5"))
    hold = await stage.reserve(request(max_tokens=None), b"")
    assert hold is not None
    assert hold.succeed(COUNTED) == Decimal("0.00003")


async def test_a_field_of_the_providers_own_that_may_change_the_cost_is_refused() -> None:
    stage = await a_stage(MONEY, price=PRICE)
    asked = request(extra={"top_k": 5, "service_tier": "priority"})
    with pytest.raises(LMRequestRejected, match=r"extra\['service_tier'\]: nobody knows") as caught:
        await stage.reserve(asked, body_of(asked))
    assert str(caught.value.hint) == "Leave it out, or give the endpoint a call_cap in dollars."
    with pytest.raises(LMRequestRejected, match=r"extra\['service_tier'\]"):
        await (await a_stage(TOKENS, price=PRICE)).reserve(asked, body_of(asked))
    hold = await (await a_stage(MONEY, price=PRICE, call_cap=Decimal(1))).reserve(asked, body_of(asked))
    assert hold is not None
    assert hold.succeed(COUNTED) is None


def test_no_field_that_bounds_or_prices_a_call_counts_as_harmless() -> None:
    costly = {"max_tokens", "max_completion_tokens", "max_output_tokens", "n", "model", "service_tier", "tools"}
    assert not HARMLESS & (
        costly | {"generationConfig", "cache_control", "messages", "input", "contents", "speed"}
    )


async def test_an_account_that_nobody_made_is_named() -> None:
    stage = await a_stage(MONEY, price=PRICE)
    with pytest.raises(ConfigError, match="'b': there is no such account"):
        await stage.reserve(request(terms=Terms(accounts=("a", "b"))), body_of(request()))


async def test_a_price_is_that_of_the_time_at_which_the_call_is_over() -> None:
    ledger = MemoryLedger()
    await ledger.limit("a", MONEY)
    clock = FakeClock(time=1_764_261_000.0 - 60)  # a minute before 16:30 UTC, when DeepSeek's price changes
    stage = stage_at(ledger, clock, "deepseek", "deepseek-chat")
    before = stage.price()
    hold = await stage.reserve(request(), body_of(request()))
    clock.advance(60)
    after = stage.price()
    assert hold is not None
    assert before is not None
    assert after is not None
    assert hold.succeed(Usage(1000, 1000)) == Amount(after.of(Usage(1000, 1000))).dollars
    assert after.of(Usage(1000, 1000)) != before.of(Usage(1000, 1000))


async def test_a_model_of_our_own_is_free_and_costs_nothing_rather_than_something_unknown() -> None:
    ledger = MemoryLedger()
    await ledger.limit("a", AccountLimit(0))
    stage = stage_at(ledger, FakeClock(), "local", "smollm2")
    assert stage.price() == FREE
    hold = await stage.reserve(request(), body_of(request()))
    assert hold is not None
    assert hold.succeed(COUNTED) == 0


@pytest.mark.parametrize("wrong", [{"max_tokens": 0}, {"call_cap": Decimal(-1)}, {"call_cap": Decimal("NaN")}])
def test_settings_that_bound_nothing_are_refused(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"budget: (max_tokens|call_cap) = "):
        BudgetSettings(**wrong)


def test_a_document_of_words_is_not_counted_out_of_the_words_beside_it() -> None:
    """Anthropic's protocol carries it as it is: its base64, longer by a third, is not in the body."""
    words = Message("user", (MediaPart("file", "text/plain", b"x" * 9000), TextPart("y" * 2000)))
    asked = request(messages=(words,))
    body = anthropic_messages.encode(asked, "m", Quirks())
    most = input_at_most(asked, body, {"file": 10})
    assert most is not None
    assert most >= 9000 + 2000
