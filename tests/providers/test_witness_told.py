"""Who is told of which attempts, and who is not: retries, routes, hedges, equal calls, streams, batches."""

import asyncio
from decimal import Decimal
from random import Random

import pytest

from repertory.clock import SystemClock
from repertory.errors import (
    BudgetExceeded,
    CircuitOpen,
    DeadlineExceeded,
    LMConnectionError,
    LMReplyMalformed,
    RuntimeClosed,
)
from repertory.events import BudgetCharged, Hooks
from repertory.providers.cache import CacheSettings, ReplyCache
from repertory.providers.embeddings import EmbedRequest
from repertory.providers.limits import LimitSettings
from repertory.providers.messages import LMRequest, Message, TextDelta, ToolDefinition
from repertory.providers.policies import Fallback
from repertory.providers.policies.hedged import Hedged
from repertory.providers.route import Route
from repertory.providers.wire import Quirks
from repertory.providers.witness import Intent
from repertory.store import AccountLimit
from tests.endpoint import CutConnection, Hang, Hold, Raw, Reply, ScriptedEndpoint, Status, Step, Streamed, chunk
from tests.providers.conftest import let_time_pass
from tests.providers.recorder import Recorder
from tests.providers.witnessed import PAID, Site, ask, fake

OPENING = chunk(role="assistant", content="Pa")

each_kind = pytest.mark.parametrize("streamed", [False, True], ids=["complete", "stream"])


# --- who is told, and who is not -----------------------------------------------------------------------------


async def test_who_is_refused_before_anything_is_sent_has_intended_nothing() -> None:
    recorder = Recorder()
    async with ScriptedEndpoint([Hang()]) as server:
        site = await Site(server.url, limits=LimitSettings(max_concurrency=1)).opened()
        await site.ledger.limit("a", AccountLimit.of(tokens=1))
        with pytest.raises(BudgetExceeded):
            await site.call(ask(recorder, terms=PAID))
        with pytest.raises(DeadlineExceeded):
            await site.call(ask(recorder, deadline=site.clock.monotonic()))
        site.endpoint.force_circuit("open")
        with pytest.raises(CircuitOpen):
            await site.call(ask(recorder))
        site.endpoint.force_circuit(None)
        first = asyncio.create_task(site.call(ask(Recorder())))
        await server.arrived.acquire()
        second = asyncio.create_task(site.call(ask(recorder)))
        await asyncio.sleep(0)
        assert site.endpoint.snapshot().waiting == 1
        for call in (second, first):
            call.cancel()
        await asyncio.wait([first, second])
        await site.closed()
    assert (recorder.entries, recorder.keys) == ([], 0)


@each_kind
async def test_what_never_reached_the_endpoint_was_not_paid(streamed: bool) -> None:
    recorder = Recorder()
    site = await Site("http://127.0.0.1:9/v1", attempts=2).opened()
    with pytest.raises(LMConnectionError):
        await let_time_pass(fake(site), site.call(ask(recorder, terms=PAID), streamed=streamed))
    await site.endpoint.close()
    with pytest.raises(RuntimeClosed):
        await site.call(ask(recorder, terms=PAID), streamed=streamed)
    assert recorder.endings == ["unpaid"] * 3
    assert recorder.attempts == [("k-1", 1), ("k-1", 2), ("k-2", 1)]


@each_kind
async def test_attempts_of_one_call_share_a_key(streamed: bool) -> None:
    recorder = Recorder()
    good: Step = Streamed((OPENING, chunk("stop"), b"data: [DONE]\n\n")) if streamed else Reply("Pa")
    async with ScriptedEndpoint([Status(503), CutConnection(mid_body=True), good, good]) as server:
        site = await Site(server.url).opened()
        for _ in range(2):
            assert await let_time_pass(fake(site), site.call(ask(recorder), streamed=streamed)) == "Pa"
        await site.closed()
    assert recorder.attempts == [("k-1", 1), ("k-1", 2), ("k-1", 3), ("k-2", 1)]
    assert recorder.endings[:2] == ["unpaid", "uncertain"]
    assert [seen.headers["idempotency-key"] for seen in server.requests] == ["k-1", "k-1", "k-1", "k-2"]


async def test_a_call_without_a_witness_has_no_key() -> None:
    async with ScriptedEndpoint([Reply()]) as server:
        site = await Site(server.url).opened()
        await site.endpoint.complete(LMRequest((Message("user", "Tag?"),)))
        await site.closed()
    assert "idempotency-key" not in server.requests[0].headers


async def test_of_equal_calls_at_once_the_one_that_is_made_is_told_of() -> None:
    done = asyncio.Event()
    recorders = [Recorder() for _ in range(3)]
    async with ScriptedEndpoint([Hold(done, Reply("Paris"))]) as server:
        cache = ReplyCache(CacheSettings(), SystemClock())
        site = await Site(server.url, clock=SystemClock(), cache=cache).opened()
        calls = [asyncio.create_task(site.call(ask(recorder))) for recorder in recorders]
        await server.arrived.acquire()
        done.set()
        assert await asyncio.gather(*calls) == ["Paris"] * 3
        assert await site.call(ask(late := Recorder())) == "Paris"  # from the cache
        await cache.close()
        await site.closed()
    assert [each.endings for each in (*recorders, late)] == [["paid"], [], [], []]
    assert late.keys == 0


async def test_a_call_that_others_wait_for_is_told_of_when_who_made_it_has_left() -> None:
    done = asyncio.Event()
    leader, follower = Recorder(), Recorder()
    async with ScriptedEndpoint([Hold(done, Reply("Paris"))]) as server:
        cache = ReplyCache(CacheSettings(), SystemClock())
        site = await Site(server.url, clock=SystemClock(), cache=cache).opened()
        first, second = (asyncio.create_task(site.call(ask(each))) for each in (leader, follower))
        await server.arrived.acquire()
        first.cancel()
        await asyncio.wait([first])
        assert leader.endings == [None]
        done.set()
        assert await second == "Paris"
        await cache.close()
        await site.closed()
    assert (leader.endings, follower.endings) == (["paid"], [])


async def test_a_stream_that_is_left_early_is_uncertain() -> None:
    recorder = Recorder()
    more = asyncio.Event()
    async with ScriptedEndpoint([Streamed((OPENING, chunk(content="ris")), until=more)]) as server:
        site = await Site(server.url).opened()
        async with site.endpoint.stream(ask(recorder, terms=PAID)) as deltas:
            async for delta in deltas:
                if isinstance(delta, TextDelta):
                    break
            assert recorder.endings == [None]
        more.set()
        await site.closed()
    assert recorder.endings == ["uncertain"]
    assert recorder.entries[0].ids == ["chatcmpl-1"]


async def test_a_reply_that_emulated_tools_cannot_be_read_out_of_may_have_been_paid() -> None:
    recorder = Recorder()
    request = ask(recorder, terms=PAID, tools=(ToolDefinition("look", "", {"type": "object"}),))
    async with ScriptedEndpoint([Reply("nonsense"), Reply('{"answer": "Paris"}')]) as server:
        site = await Site(server.url, attempts=1, quirks=Quirks(emulates=("tools",))).opened()
        with pytest.raises(LMReplyMalformed):
            await site.call(request)
        assert await site.call(request) == "Paris"
        await site.closed()
    assert recorder.endings == ["uncertain", "paid"]


async def test_each_batch_of_texts_is_a_call() -> None:
    recorder = Recorder()
    vectors = Raw(b'{"data": [{"embedding": [1.0]}], "model": "m", "usage": {"prompt_tokens": 7}}')
    async with ScriptedEndpoint([vectors, Status(500), vectors]) as server:
        site = await Site(server.url).opened()
        for _ in range(2):
            embedding = site.endpoint.embed(EmbedRequest(("Paris",), terms=PAID, witness=recorder))
            await let_time_pass(fake(site), embedding)
        await site.closed()
    assert recorder.attempts == [("k-1", 1), ("k-2", 1), ("k-2", 2)]
    assert recorder.endings == ["paid", "unpaid", "paid"]
    assert recorder.entries[0].cost == Decimal("0.000007")
    assert server.requests[0].headers["idempotency-key"] == "k-1"


# --- routes --------------------------------------------------------------------------------------------------


def a_route(*sites: Site, hedged: bool = False) -> Route:
    policy = Hedged(Fallback(), most_extra=1.0) if hedged else Fallback()
    endpoints = [site.endpoint for site in sites]
    return Route("both", endpoints, policy, clock=SystemClock(), hooks=Hooks(), rng=Random(1))


async def test_attempts_of_all_endpoints_that_stand_in_for_each_other_are_told_of() -> None:
    recorder = Recorder()
    async with ScriptedEndpoint([Status(500), Status(500)]) as down, ScriptedEndpoint([Reply("Paris")]) as up:
        sites = [await Site(server.url, name, attempts=2).opened() for server, name in ((down, "a"), (up, "b"))]
        response = await let_time_pass(fake(sites[0]), a_route(*sites).complete(ask(recorder)))
        assert response.text == "Paris"
        for site in sites:
            await site.closed()
    told = [(entry.intent.endpoint, entry.intent.key, entry.intent.attempt) for entry in recorder.entries]
    assert told == [("a", "k-1", 1), ("a", "k-1", 2), ("b", "k-2", 1)]
    assert recorder.endings == ["unpaid", "unpaid", "paid"]


async def test_both_requests_of_a_hedged_call_are_told_of() -> None:
    recorder = Recorder()
    quick = [Reply("in time")] * 20
    async with ScriptedEndpoint([*quick, Hang()]) as first, ScriptedEndpoint([Reply("Paris")]) as second:
        sites = [
            await Site(server.url, name, clock=SystemClock()).opened()
            for server, name in ((first, "a"), (second, "b"))
        ]
        route = a_route(*sites, hedged=True)
        for _ in quick:
            await route.complete(ask(Recorder()))
        assert (await route.complete(ask(recorder))).text == "Paris"
        for site in sites:
            await site.closed()
    assert [(each.intent.endpoint, each.intent.key) for each in recorder.entries] == [("a", "k-1"), ("b", "k-2")]
    assert recorder.endings == ["uncertain", "paid"]


# --- wherever it is cancelled --------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("turns", range(12))
async def test_a_call_that_is_cancelled_anywhere_is_settled_once(turns: int, streamed: bool) -> None:
    async def in_some_turns(_: Intent) -> None:
        for _turn in range(3):
            await asyncio.sleep(0)

    recorder = Recorder(in_some_turns)
    async with ScriptedEndpoint([Hang()]) as server:
        site = await Site(server.url).opened()
        call = asyncio.create_task(site.call(ask(recorder, terms=PAID), streamed=streamed))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        charged = [event for event in site.events if isinstance(event, BudgetCharged)]
        await site.closed()
    endings = [event.ending for event in charged]
    if recorder.entries:
        assert recorder.endings == [{"release": "unpaid", "write_off": "uncertain"}[each] for each in endings]
    else:
        assert endings in ([], ["release"])
