"""What a witness is told, and what becomes of a call when it cannot write the intent down."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis.strategies import booleans, builds, integers, none, sampled_from

from repertory.clock import SystemClock
from repertory.errors import (
    ConfigError,
    DeadlineExceeded,
    LMConnectionError,
    LMServerError,
    LMTimeout,
    RuntimeClosed,
    StoreError,
)
from repertory.events import BudgetCharged, Event, Hooks, LMCallFinished
from repertory.providers.budget import TOLD, BudgetSettings, BudgetStage
from repertory.providers.limits import LimitSettings
from repertory.providers.messages import TERMS, Terms, Usage
from repertory.providers.prices import Price
from repertory.providers.witness import Intent, Told, request_hash
from repertory.store import AccountLimit, MemoryLedger
from repertory.store.ledger import in_dollars
from repertory.testing import FakeClock
from tests.endpoint import Hang, Raw, Reply, ScriptedEndpoint, Status
from tests.providers.recorder import Recorder
from tests.providers.witnessed import COST, PAID, PRICE, Site, Stuck, ask, failing

each_kind = pytest.mark.parametrize("streamed", [False, True], ids=["complete", "stream"])


# --- what an intent says -------------------------------------------------------------------------------------


async def test_an_intent_says_what_is_asked_of_whom_and_what_it_costs_at_most() -> None:
    recorder = Recorder()
    async with ScriptedEndpoint([Reply("Paris"), Reply("Paris")]) as server:
        site = await Site(server.url).opened()
        await site.call(ask(recorder))
        await site.call(replace(ask(recorder), max_tokens=None))
        await site.closed()
        identity = site.endpoint.settings.identity
    bounded, unbounded = (entry.intent for entry in recorder.entries)
    assert (bounded.key, bounded.attempt, bounded.endpoint) == ("k-1", 1, "qa")
    assert len(bounded.request_hash) == 32
    most = site.endpoint.most_cost(ask(recorder))
    assert most is not None
    assert bounded.nano_most == most
    assert bounded.tokens_most > 5
    assert (unbounded.key, unbounded.nano_most, unbounded.tokens_most) == ("k-2", None, 0)
    assert unbounded.request_hash != bounded.request_hash
    assert [entry.cost for entry in recorder.entries] == [COST, COST]
    assert request_hash(b"{}", identity) != request_hash(b"{}", identity + " 2") != request_hash(b"{ }", identity)


async def test_the_same_asked_again_has_the_same_hash() -> None:
    recorder = Recorder()
    async with ScriptedEndpoint([Reply(), Reply()]) as server:
        for _ in range(2):
            site = await Site(server.url).opened()
            await site.call(ask(recorder))
            await site.closed()
    first, second = (entry.intent.request_hash for entry in recorder.entries)
    assert first == second


async def test_a_cap_stands_for_a_price_that_nobody_knows() -> None:
    recorder = Recorder()
    async with ScriptedEndpoint([Reply(), Hang()]) as server:
        site = await Site(server.url, clock=SystemClock(), budget=BudgetSettings(call_cap=Decimal("0.5"))).opened()
        assert (await site.endpoint.complete(ask(recorder))).cost is None
        with pytest.raises(DeadlineExceeded):
            await site.call(ask(recorder, deadline=site.clock.monotonic() + 0.05))
        await site.closed()
    assert recorder.endings == ["paid", "uncertain"]
    assert [entry.cost for entry in recorder.entries] == [Decimal("0.5"), Decimal("0.5")]


async def test_what_nobody_counted_is_uncertain_although_there_is_an_answer() -> None:
    uncounted = Raw(b'{"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}], "id": "c"}')
    recorder = Recorder()
    async with ScriptedEndpoint([uncounted]) as server:
        site = await Site(server.url).opened()
        assert await site.call(ask(recorder, terms=PAID)) == "ok"
        await site.closed()
    entry = recorder.entries[0]
    assert (entry.ending, entry.usage, entry.cost) == (
        "uncertain",
        Usage(),
        in_dollars(entry.intent.nano_most or 0),
    )


# --- intents that cannot be written down ---------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("terms", [TERMS, PAID], ids=["unpaid", "paid"])
async def test_what_cannot_be_written_down_is_not_sent(streamed: bool, terms: Terms) -> None:
    recorder = Recorder(failing(StoreError("disk full")))
    async with ScriptedEndpoint([]) as server:
        site = await Site(server.url).opened()
        with pytest.raises(StoreError, match="disk full"):
            await site.call(ask(recorder, terms=terms), streamed=streamed)
        await site.closed()
        assert (await site.ledger.balance("a")).spent.nano_dollars == 0
    assert server.requests == []
    assert [(entry.ending, entry.cost) for entry in recorder.entries] == [("unpaid", Decimal(0))]
    assert site.finished == []  # no attempt was made


@each_kind
async def test_a_caller_who_leaves_while_the_intent_is_written_down_has_sent_nothing(streamed: bool) -> None:
    disk = Stuck()
    recorder = Recorder(disk)
    async with ScriptedEndpoint([]) as server:
        site = await Site(server.url).opened()
        call = asyncio.create_task(site.call(ask(recorder, terms=PAID), streamed=streamed))
        await disk.begun.wait()
        assert site.endpoint.snapshot().limits.in_flight == 1
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await site.closed()
    assert server.requests == []
    assert recorder.endings == ["unpaid"]


async def test_an_intent_is_waited_for_no_longer_than_the_caller_waits() -> None:
    recorder = Recorder(Stuck())
    async with ScriptedEndpoint([]) as server:
        site = await Site(server.url, clock=SystemClock()).opened()
        with pytest.raises(DeadlineExceeded, match="qa: the deadline passed while the call was written down"):
            await site.call(ask(recorder, deadline=site.clock.monotonic() + 0.02))
        await site.closed()
    assert server.requests == []
    assert recorder.endings == ["unpaid"]


async def test_a_timeout_of_the_witness_is_its_own() -> None:
    async with ScriptedEndpoint([]) as server:
        site = await Site(server.url).opened()
        with pytest.raises(TimeoutError, match="the disk"):
            await site.call(ask(Recorder(failing(TimeoutError("the disk")))))
        await site.closed()


async def test_time_that_writing_took_is_none_of_the_endpoints() -> None:
    clock = FakeClock()

    async def slowly(_: Intent) -> None:
        clock.advance(100)

    recorder = Recorder(slowly)
    async with ScriptedEndpoint([Reply("Paris")]) as server:
        site = await Site(server.url, clock=clock).opened()
        assert await site.call(ask(recorder, deadline=clock.monotonic() + 150)) == "Paris"
        with pytest.raises(DeadlineExceeded, match="before the call was made"):
            await site.call(ask(recorder, deadline=clock.monotonic() + 100))
        await site.closed()
    assert recorder.endings == ["paid", "unpaid"]
    assert [event.seconds for event in site.events if isinstance(event, LMCallFinished)] == [0]


async def test_a_probe_that_cannot_be_written_down_leaves_its_place_to_another() -> None:
    clock = FakeClock()
    async with ScriptedEndpoint([*[Status(500)] * 5, Reply("Paris")]) as server:
        site = await Site(server.url, clock=clock, attempts=1).opened()
        for _ in range(5):
            with pytest.raises(LMServerError):
                await site.call(ask(Recorder()))
        clock.advance(60)
        with pytest.raises(StoreError):
            await site.call(ask(Recorder(failing(StoreError("disk full")))))
        assert site.endpoint.snapshot().circuit.state == "half_open"
        assert await site.call(ask(Recorder())) == "Paris"
        await site.closed()


async def test_a_witness_that_breaks_its_promise_keeps_nobody_from_the_endpoint() -> None:
    class Broken(Recorder):
        def settled(self, intent: Intent, ending: Told, usage: Usage, cost: Decimal | None) -> None:
            raise AssertionError("broken")

    async with ScriptedEndpoint([Reply(), Status(400)]) as server:
        site = await Site(server.url, limits=LimitSettings(max_concurrency=1)).opened()
        for _ in range(2):
            with pytest.raises(AssertionError, match="broken"):
                await site.call(ask(Broken(), terms=PAID))
        await site.closed()


# --- one rule ------------------------------------------------------------------------------------------------

FAILURES = [
    LMServerError("500"),
    LMTimeout("slow"),
    LMConnectionError("cut"),
    LMConnectionError("refused", unsent=True),
    RuntimeClosed("closed"),
    ConfigError("no such file"),
    asyncio.CancelledError(),
    ValueError("a bug"),
]
USAGES = builds(Usage, integers(0, 50), integers(0, 50))


@given(
    failure=none() | sampled_from(FAILURES),
    usage=USAGES,
    status=none() | sampled_from([200, 400, 408, 429, 500, 504]),
    sent=booleans(),
    price=none() | sampled_from([PRICE]),
    cap=none() | sampled_from([Decimal("0.01")]),
    bounded=booleans(),
)
def test_a_witness_is_told_what_the_accounts_are_charged(
    failure: BaseException | None,
    usage: Usage,
    status: int | None,
    sent: bool,
    price: Price | None,
    cap: Decimal | None,
    bounded: bool,
) -> None:
    async def main() -> None:
        events: list[Event] = []
        ledger = MemoryLedger()
        await ledger.limit("a", AccountLimit())
        stage = BudgetStage(
            *(BudgetSettings(price=price, call_cap=cap), ledger),
            endpoint="qa",
            provider="",
            model="m",
            clock=FakeClock(),
            hooks=Hooks([events.append]),
        )
        told = []
        for terms in (PAID, TERMS):
            recorder = Recorder()
            request = replace(ask(recorder, terms=terms), max_tokens=60 if bounded else None)
            hold = await stage.reserve(request, b"Tag?") or stage.unpaid(request, b"Tag?")
            await hold.intend(recorder, "k", 1, "qa", "hash")
            costs = []
            for _ in range(2):  # only the first counts
                if failure is None:
                    costs.append(hold.succeed(usage))
                else:
                    hold.fail(failure, sent=sent, status=status)
            told.append((recorder.entries[0], costs[:1]))
        (entry, costs), (unpaid, unpaid_costs) = told
        assert (entry.ending, entry.usage, entry.cost) == (unpaid.ending, unpaid.usage, unpaid.cost)
        assert costs == unpaid_costs
        (charged,) = [event for event in events if isinstance(event, BudgetCharged)]
        assert entry.ending == {str(ending): each for ending, each in TOLD.items()}[charged.ending]
        assert in_dollars(charged.nano_dollars) == (entry.cost or 0)
        if entry.ending == "paid" and price is not None:
            assert costs == [entry.cost]

    asyncio.run(main())
