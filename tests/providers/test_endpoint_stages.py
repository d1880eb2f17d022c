"""An endpoint's stages at work together, over real sockets: who pays, who is asked again, what is remembered."""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from repertory.clock import SystemClock
from repertory.errors import (
    BudgetExceeded,
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    LMError,
    LMModelUnknown,
    LMRequestRejected,
    LMServerError,
)
from repertory.events import BudgetCharged, EndpointProbed, Event, Hooks, LMCallFinished
from repertory.providers import anthropic_messages
from repertory.providers.budget import BudgetSettings
from repertory.providers.cache import CacheSettings, ReplyCache
from repertory.providers.embeddings import EmbedRequest
from repertory.providers.endpoint import Endpoint
from repertory.providers.limits import LimitSettings
from repertory.providers.messages import End, LMRequest, Message, Terms, Usage
from repertory.providers.prices import Price
from repertory.providers.settings import EndpointSettings
from repertory.store import AccountLimit, Amount, MemoryLedger
from repertory.testing import FakeClock
from tests.endpoint import (
    CutConnection,
    Hang,
    Hold,
    Raw,
    Reply,
    ScriptedEndpoint,
    Seen,
    Status,
    Step,
    Streamed,
    chunk,
)
from tests.providers.conftest import let_time_pass

DOLLAR = 10**9
PRICE = Price.flat(input=Decimal(1_000_000), output=Decimal(1_000_000))  # a dollar a token
PAID = LMRequest((Message("user", "Hi"),), max_tokens=7, terms=Terms(accounts=("team",)))
USED = Amount(18 * DOLLAR, 18)  # what `Reply` is counted for: 11 tokens read, 7 written


class Bench:
    """An endpoint whose calls one account pays for, and what it told."""

    def __init__(self, url: str, clock: Any = None, **settings: Any) -> None:
        self.told: list[Event] = []
        self.ledger = MemoryLedger()
        given = {"attempts": 1, "budget": BudgetSettings(price=PRICE), **settings}
        self.endpoint = Endpoint(
            EndpointSettings("qa", "m", url, **given),
            clock=clock or SystemClock(),
            hooks=Hooks([self.told.append]),
            rng=Random(1),
            ledger=self.ledger,
        )

    async def limited(self, dollars: int = 10_000) -> "Bench":
        await self.ledger.limit("team", AccountLimit.of(Decimal(dollars)))
        return self

    async def spent(self) -> tuple[Amount, Amount, int]:
        balance = await self.ledger.balance("team")
        return balance.spent, balance.uncertain, balance.reservations

    def endings(self) -> list[str]:
        return [event.ending for event in self.told if isinstance(event, BudgetCharged)]


# --- who pays ------------------------------------------------------------------------------------------------


async def test_a_reply_is_charged_what_it_was_counted_for_and_says_what_it_cost() -> None:
    async with ScriptedEndpoint([Reply()]) as server:
        bench = await Bench(server.url).limited()
        reply = await bench.endpoint.complete(PAID)
        await bench.endpoint.close()
    assert reply.cost == 18
    assert await bench.spent() == (USED, Amount(), 0)


async def test_every_attempt_reserves_and_ends_for_itself() -> None:
    async with ScriptedEndpoint([Status(500), Status(503), Reply()]) as server:
        clock = FakeClock()
        bench = await Bench(server.url, clock, attempts=3).limited()
        await let_time_pass(clock, bench.endpoint.complete(PAID))
        await bench.endpoint.close()
    assert bench.endings() == ["release", "release", "settle"]
    assert await bench.spent() == (USED, Amount(), 0)


@pytest.mark.parametrize(
    ("step", "ending"),
    [
        (Status(400), "release"),
        (Status(429), "release"),
        (Status(504), "write_off"),  # a gateway that waits no longer: the model may go on
        (CutConnection(), "write_off"),
        (CutConnection(mid_body=True), "write_off"),
        (Raw(b"{"), "write_off"),
        (Raw(b'{"choices":[{"message":{"content":"hi"}}]}'), "write_off"),  # nobody counted
    ],
    ids=str,
)
async def test_what_may_have_been_billed_is_charged_and_nothing_stays_reserved(step: Step, ending: str) -> None:
    async with ScriptedEndpoint([step]) as server:
        bench = await Bench(server.url).limited()
        with suppress(LMError):
            await bench.endpoint.complete(PAID)
        await bench.endpoint.close()
    assert bench.endings() == [ending]
    spent, uncertain, reservations = await bench.spent()
    assert (spent, reservations) == (uncertain, 0)
    assert (spent == Amount()) == (ending == "release")


async def test_an_endpoint_that_cannot_be_reached_costs_nothing() -> None:
    bench = await Bench("http://127.0.0.1:1/v1").limited()
    with pytest.raises(LMError):
        await bench.endpoint.complete(PAID)
    await bench.endpoint.close()
    assert (bench.endings(), await bench.spent()) == (["release"], (Amount(), Amount(), 0))


async def test_a_cancelled_call_is_charged_only_if_it_was_sent() -> None:
    async with ScriptedEndpoint([Hang(), Reply()]) as server:
        bench = await Bench(server.url, limits=LimitSettings(max_concurrency=1)).limited()
        sent = asyncio.create_task(bench.endpoint.complete(PAID))
        await server.arrived.acquire()
        queued = asyncio.create_task(bench.endpoint.complete(PAID))
        await asyncio.sleep(0)  # all it does up to the queue is synchronous
        assert bench.endpoint.snapshot().waiting == 1
        queued.cancel()
        await asyncio.wait([queued])
        assert bench.endings() == ["release"]
        sent.cancel()
        await asyncio.wait([sent])
        assert bench.endings() == ["release", "write_off"]
        await bench.endpoint.close()
    assert (await bench.spent())[2] == 0


async def test_a_stream_is_charged_when_it_is_whole_and_written_off_when_it_is_left() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7}}\n\n'
    whole = Streamed((chunk(content="Hi"), chunk("stop"), usage, b"data: [DONE]\n\n"))
    left = Streamed((chunk(content="Hi"), chunk("stop")), until=asyncio.Event())
    async with ScriptedEndpoint([whole, left]) as server:
        bench = await Bench(server.url).limited()
        async with bench.endpoint.stream(PAID) as deltas:
            *_, last = [delta async for delta in deltas]
        assert isinstance(last, End)
        assert last.response.cost == 18
        async with bench.endpoint.stream(PAID):
            pass
        await bench.endpoint.close()
    assert bench.endings() == ["settle", "write_off"]


async def test_what_nothing_is_sure_to_pay_for_is_not_sent() -> None:
    async with ScriptedEndpoint([]) as server:
        bench = await Bench(server.url).limited(5)
        with pytest.raises(BudgetExceeded) as exceeded:
            await bench.endpoint.complete(PAID)
        assert (exceeded.value.account, exceeded.value.endpoint) == ("team", "qa")
        with pytest.raises(LMRequestRejected, match="max_tokens is not set"):
            await bench.endpoint.complete(replace(PAID, max_tokens=None))
        with pytest.raises(ConfigError, match="there is no such account"):
            await bench.endpoint.complete(replace(PAID, terms=Terms(accounts=("nobody",))))
        await bench.endpoint.close()
    assert server.requests == []


async def test_a_bound_of_the_endpoints_own_is_sent_where_somebody_pays() -> None:
    async with ScriptedEndpoint([Reply(), Reply()]) as server:
        bench = await Bench(server.url, budget=BudgetSettings(price=PRICE, max_tokens=7)).limited()
        await bench.endpoint.complete(replace(PAID, max_tokens=None))
        await bench.endpoint.complete(LMRequest((Message("user", "Hi"),)))
        await bench.endpoint.close()
    assert [seen.body.get("max_tokens") for seen in server.requests] == [7, None]


# --- who is asked again --------------------------------------------------------------------------------------


async def test_retries_are_a_small_share_of_the_calls_whatever_fails() -> None:
    async with ScriptedEndpoint(lambda _: Status(500)) as server:
        clock = FakeClock()
        bench = Bench(server.url, clock, attempts=3)
        bench.endpoint.force_circuit("closed")
        for _ in range(200):
            with pytest.raises(LMServerError):
                await let_time_pass(clock, bench.endpoint.complete(replace(PAID, terms=Terms())))
        await bench.endpoint.close()
    snapshot = bench.endpoint.snapshot()
    assert 200 < len(server.requests) <= 200 * 1.1 + 10 * 2  # the floor is granted anew in each minute
    assert snapshot.retries.refused > 0
    assert snapshot.failures == 200


# --- what is remembered --------------------------------------------------------------------------------------


def caching(url: str) -> Endpoint:
    clock = SystemClock()
    cache = ReplyCache(CacheSettings(), clock)
    settings = EndpointSettings("qa", "m", url, attempts=1)
    return Endpoint(settings, clock=clock, hooks=Hooks(), rng=Random(1), cache=cache)


async def test_equal_calls_at_the_same_time_are_one_request() -> None:
    release = asyncio.Event()
    async with ScriptedEndpoint([Hold(release, Reply("Paris"))]) as server:
        lm = caching(server.url)
        ask = LMRequest((Message("user", "Capital?"),))
        calls = [asyncio.create_task(lm.complete(ask)) for _ in range(50)]
        await server.arrived.acquire()
        release.set()
        replies = await asyncio.gather(*calls)
        again = await lm.complete(ask)
        await lm.close()
    assert len(server.requests) == 1
    assert {reply.text for reply in replies} == {"Paris"}
    assert [reply.source for reply in replies].count("model") == 1
    assert (again.text, again.source, again.cost) == ("Paris", "cache", Decimal(0))


async def test_two_endpoints_with_one_cache_do_not_answer_for_each_other() -> None:
    async with ScriptedEndpoint([Reply("one"), Reply("two")]) as server:
        clock = SystemClock()
        cache = ReplyCache(CacheSettings(), clock)
        said = []
        for model in ("a", "b", "a", "b"):
            settings = EndpointSettings("qa", model, server.url)
            lm = Endpoint(settings, clock=clock, hooks=Hooks(), rng=Random(1), cache=cache)
            said.append((await lm.complete(LMRequest((Message("user", "Hi"),)))).text)
            await lm.close()
    assert said == ["one", "two", "one", "two"]


# --- vectors -------------------------------------------------------------------------------------------------


def vectors(seen: Seen) -> Step:
    texts = enumerate(seen.body["input"])
    entries = [{"index": number, "embedding": [float(len(text)), 0.5]} for number, text in texts]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    return Raw(json.dumps({"data": entries, "model": "m", "usage": usage}).encode())


async def test_texts_become_vectors_and_their_tokens_are_paid_for() -> None:
    async with ScriptedEndpoint(vectors) as server:
        bench = await Bench(server.url).limited()
        response = await bench.endpoint.embed(EmbedRequest(("a", "bcd"), terms=Terms(accounts=("team",))))
        await bench.endpoint.close()
    assert response.vectors == ((1.0, 0.5), (3.0, 0.5))
    assert response.usage == Usage(5)
    assert await bench.spent() == (Amount(5 * DOLLAR, 5), Amount(), 0)
    assert [event.input_tokens for event in bench.told if isinstance(event, LMCallFinished)] == [5]


async def test_an_endpoint_without_embeddings_says_who_has_them() -> None:
    bench = Bench("http://127.0.0.1:1/v1", protocol=anthropic_messages)
    with pytest.raises(LMRequestRejected, match="the endpoint offers no embeddings") as refused:
        await bench.endpoint.embed(EmbedRequest(("a",)))
    assert "openai/text-embedding-3-small" in str(refused.value.hint)


# --- health --------------------------------------------------------------------------------------------------


async def test_a_probe_that_is_answered_lets_the_next_call_through() -> None:
    models = Raw(b'{"data": [{"id": "m"}]}')
    async with ScriptedEndpoint([Status(401), models, Reply("well")]) as server:
        bench = Bench(server.url)
        ask = replace(PAID, terms=Terms())
        with pytest.raises(LMError):
            await bench.endpoint.complete(ask)
        with pytest.raises(CircuitOpen):
            await bench.endpoint.complete(ask)
        assert bench.endpoint.snapshot().health.state == "down"
        assert bench.endpoint.obstacle() is not None
        assert await bench.endpoint.probe(5) is None
        assert (await bench.endpoint.complete(ask)).text == "well"
        assert bench.endpoint.snapshot().health.state == "well"
        await bench.endpoint.close()
    assert [event for event in bench.told if isinstance(event, EndpointProbed)] == [EndpointProbed("qa", None)]


async def test_a_probe_tells_of_a_model_that_is_misspelt() -> None:
    async with ScriptedEndpoint([Raw(b'{"data": [{"id": "gpt-4.1-mini"}]}'), Status(503)]) as server:
        settings = EndpointSettings("qa", "gpt-41-mini", server.url)
        lm = Endpoint(settings, clock=SystemClock(), hooks=Hooks(), rng=Random(1))
        unknown = await lm.probe(5)
        assert isinstance(unknown, LMModelUnknown)
        assert "Did you mean 'gpt-4.1-mini'" in str(unknown.hint)
        assert isinstance(await lm.probe(5), LMServerError)
        await lm.close()


async def test_what_is_wrong_is_said_in_words() -> None:
    release = asyncio.Event()
    async with ScriptedEndpoint([Hold(release), Reply(), Reply()]) as server:
        bench = Bench(server.url, limits=LimitSettings(max_concurrency=1))
        calls = [asyncio.create_task(bench.endpoint.complete(replace(PAID, terms=Terms()))) for _ in range(3)]
        await server.arrived.acquire()
        health = bench.endpoint.snapshot().health
        release.set()
        await asyncio.gather(*calls)
        await bench.endpoint.close()
    assert (health.state, health.reasons) == ("strained", ("2 calls wait for their turn behind 1 in flight",))


async def test_a_request_that_is_too_long_for_the_model_is_known_before_the_call() -> None:
    bench = Bench("http://127.0.0.1:1/v1", context_window=100)
    long = LMRequest((Message("user", "word " * 200),))
    misfit = bench.endpoint.misfit(long)
    assert misfit is not None
    assert "its model takes 100 at most" in misfit.message
    assert bench.endpoint.misfit(LMRequest((Message("user", "word"),), max_tokens=10)) is None


async def test_a_call_whose_deadline_has_passed_is_not_made() -> None:
    async with ScriptedEndpoint([]) as server:
        clock = FakeClock()
        bench = await Bench(server.url, clock).limited()
        with pytest.raises(DeadlineExceeded, match="the deadline passed before the call was made"):
            await bench.endpoint.complete(replace(PAID, deadline=clock.monotonic()))
        await bench.endpoint.close()
    assert (server.requests, await bench.spent()) == ([], (Amount(), Amount(), 0))
