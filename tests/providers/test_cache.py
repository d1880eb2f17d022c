"""The cache in memory: what is kept, what is asked, and equal calls at the same time."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any, Literal

import pytest

from repertory.clock import SystemClock
from repertory.errors import ConfigError, LMRequestRejected, LMServerError, RuntimeClosed
from repertory.events import Hooks
from repertory.providers.cache import Ask, CacheSettings, CacheSnapshot, ReplyCache
from repertory.providers.cache_key import cache_key
from repertory.providers.endpoint import Endpoint
from repertory.providers.messages import Choice, LMRequest, LMResponse, Message, Terms, Usage
from repertory.providers.settings import EndpointSettings
from repertory.testing import FakeClock
from tests.endpoint import Hang, ScriptedEndpoint

HELLO = LMRequest((Message("user", "hello"),))
REFRESH = replace(HELLO, terms=Terms(cache="refresh"))
BYPASS = replace(HELLO, terms=Terms(cache="bypass"))


def reply(text: str = "hi", **fields: Any) -> LMResponse:
    return replace(LMResponse(text, "stop", Usage(3, 2), "m", "1", cost=Decimal("0.5")), **fields)


def kept(text: str = "hi", source: Literal["cache", "stale"] = "cache") -> LMResponse:
    return reply(text, source=source, cost=Decimal(0))


class Model:
    """A model that is asked by `ask` and answers by `answer`, the oldest question first."""

    def __init__(self) -> None:
        self.deadlines: list[float | None] = []
        self.cancelled = 0
        self.arrived = asyncio.Semaphore(0)
        self._questions: list[asyncio.Future[LMResponse]] = []

    async def ask(self, deadline: float | None) -> LMResponse:
        self.deadlines.append(deadline)
        question: asyncio.Future[LMResponse] = asyncio.get_running_loop().create_future()
        self._questions.append(question)
        self.arrived.release()
        try:
            return await question
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    @property
    def asked(self) -> int:
        return len(self.deadlines)

    def answer(self, outcome: LMResponse | BaseException, question: int = 0) -> None:
        asked = self._questions.pop(question)
        if isinstance(outcome, BaseException):
            asked.set_exception(outcome)
        else:
            asked.set_result(outcome)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
async def cache(clock: FakeClock) -> AsyncIterator[ReplyCache]:
    cache = ReplyCache(CacheSettings(ttl=10, stale_for=20), clock)
    yield cache
    await cache.close()


async def put(cache: ReplyCache, text: str = "hi", key: str = "k") -> None:
    await cache.answer(key, REFRESH, once(reply(text)))


def once(outcome: LMResponse | BaseException) -> Ask:
    async def ask(deadline: float | None) -> LMResponse:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return ask


nobody = once(AssertionError("the model was asked"))


async def test_an_equal_request_is_answered_from_memory_and_costs_nothing(cache: ReplyCache) -> None:
    assert await cache.answer("k", HELLO, once(reply())) == reply()
    assert await cache.answer("k", HELLO, nobody) == kept()


async def test_another_key_is_another_answer(cache: ReplyCache) -> None:
    await put(cache)
    assert (await cache.answer("other", HELLO, once(reply("ho")))).text == "ho"


async def test_an_answer_that_is_too_old_is_asked_for_again(cache: ReplyCache, clock: FakeClock) -> None:
    await put(cache)
    clock.advance(9.5)
    assert await cache.answer("k", HELLO, nobody) == kept()
    clock.advance(0.5)
    assert await cache.answer("k", HELLO, once(reply("new"))) == reply("new")
    clock.advance(9.5)
    assert await cache.answer("k", HELLO, nobody) == kept("new")


async def test_a_stale_answer_is_given_to_whoever_asks_for_it_until_it_is_too_old_for_that(
    cache: ReplyCache, clock: FakeClock
) -> None:
    assert await cache.stale("k") is None
    await put(cache)
    clock.advance(29.5)
    assert await cache.stale("k") == kept(source="stale")
    clock.advance(0.5)
    assert await cache.stale("k") is None


async def test_a_refresh_asks_and_replaces(cache: ReplyCache) -> None:
    await put(cache, "old")
    assert await cache.answer("k", REFRESH, once(reply("new"))) == reply("new")
    assert await cache.answer("k", HELLO, nobody) == kept("new")


async def test_a_refresh_that_fails_leaves_what_is_kept(cache: ReplyCache) -> None:
    await put(cache)
    with pytest.raises(LMServerError):
        await cache.answer("k", REFRESH, once(LMServerError("down")))
    assert await cache.answer("k", HELLO, nobody) == kept()


async def test_what_is_kept_is_given_while_it_is_being_refreshed(cache: ReplyCache, model: Model) -> None:
    await put(cache, "old")
    refreshing = asyncio.ensure_future(cache.answer("k", REFRESH, model.ask))
    await model.arrived.acquire()
    assert await cache.answer("k", HELLO, nobody) == kept("old")
    model.answer(reply("new"))
    assert await refreshing == reply("new")


async def test_a_refresh_waits_for_another_one_but_not_for_a_call_that_may_bring_what_is_kept(
    cache: ReplyCache, model: Model
) -> None:
    using = asyncio.ensure_future(cache.answer("k", HELLO, model.ask))
    await model.arrived.acquire()
    refreshing = [asyncio.ensure_future(cache.answer("k", REFRESH, model.ask)) for _ in range(3)]
    await model.arrived.acquire()
    joining = asyncio.ensure_future(cache.answer("k", HELLO, nobody))
    await asyncio.sleep(0)
    model.answer(reply("new"), question=1)
    assert [each.text for each in await asyncio.gather(*refreshing, joining)] == ["new"] * 4
    model.answer(reply("old"))
    assert (await using).text == "old"
    assert model.asked == 2
    # The older answer came later.
    assert await cache.answer("k", HELLO, nobody) == kept("new")


async def test_a_refresh_can_still_be_joined_when_the_call_that_it_overtook_has_ended(
    cache: ReplyCache, model: Model
) -> None:
    calls = [asyncio.ensure_future(cache.answer("k", request, model.ask)) for request in (HELLO, REFRESH)]
    for _ in calls:
        await model.arrived.acquire()
    model.answer(reply("old"))
    assert (await calls[0]).text == "old"
    calls.append(asyncio.ensure_future(cache.answer("k", HELLO, nobody)))
    await asyncio.sleep(0)
    model.answer(reply("new"))
    assert [each.text for each in await asyncio.gather(*calls)] == ["old", "new", "new"]


async def test_who_bypasses_the_cache_joins_nobody_and_leaves_nothing(cache: ReplyCache, model: Model) -> None:
    calls = [asyncio.ensure_future(cache.answer("k", BYPASS, model.ask)) for _ in range(2)]
    calls.append(asyncio.ensure_future(cache.answer("k", HELLO, model.ask)))
    for _ in calls:
        await model.arrived.acquire()
    for text in "abc":
        model.answer(reply(text))
    assert await asyncio.gather(*calls) == [reply("a"), reply("b"), reply("c")]
    assert await cache.answer("k", HELLO, nobody) == kept("c")
    assert await cache.answer("k", BYPASS, once(reply("d"))) == reply("d")
    assert await cache.answer("k", HELLO, nobody) == kept("c")


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "length"])
async def test_a_success_is_kept(cache: ReplyCache, reason: str) -> None:
    await cache.answer("k", HELLO, once(reply(finish_reason=reason)))
    assert (await cache.answer("k", HELLO, nobody)).finish_reason == reason


@pytest.mark.parametrize("reason", ["refusal", "content_filter", "unknown", "error"])
@pytest.mark.parametrize("of_another", [False, True])
async def test_a_refusal_is_not_kept(cache: ReplyCache, reason: str, of_another: bool) -> None:
    refused = reply(others=(Choice("no", reason),)) if of_another else reply(finish_reason=reason)
    assert await cache.answer("k", HELLO, once(refused)) == refused
    assert (await cache.answer("k", HELLO, once(reply("yes")))).text == "yes"


async def test_a_refusal_does_not_replace_what_is_kept(cache: ReplyCache) -> None:
    await put(cache)
    await cache.answer("k", REFRESH, once(reply("no", finish_reason="refusal")))
    assert await cache.answer("k", HELLO, nobody) == kept()


async def test_a_failure_is_not_kept(cache: ReplyCache) -> None:
    with pytest.raises(LMServerError):
        await cache.answer("k", HELLO, once(LMServerError("down")))
    assert await cache.answer("k", HELLO, once(reply())) == reply()


async def test_an_answer_that_cannot_be_written_is_given_all_the_same(cache: ReplyCache) -> None:
    assert (await cache.answer("k", HELLO, once(reply("\ud800")))).text == "\ud800"
    assert await cache.answer("k", HELLO, once(reply())) == reply()


async def test_fifty_equal_calls_are_one_and_one_of_them_is_told_the_cost(cache: ReplyCache, model: Model) -> None:
    calls = [asyncio.ensure_future(cache.answer("k", HELLO, model.ask)) for _ in range(50)]
    await model.arrived.acquire()
    model.answer(reply())
    assert await asyncio.gather(*calls) == [reply(), *[kept()] * 49]
    assert model.asked == 1
    assert cache.snapshot() == CacheSnapshot(
        entries=1, bytes=cache.snapshot().bytes, hits=0, misses=1, joined=49, stale=0, stored=0, store_failures=0
    )


async def test_if_the_first_caller_leaves_the_second_is_told_the_cost(cache: ReplyCache, model: Model) -> None:
    calls = [asyncio.ensure_future(cache.answer("k", HELLO, model.ask)) for _ in range(3)]
    await model.arrived.acquire()
    calls[0].cancel()
    await asyncio.wait(calls[:1])
    model.answer(reply())
    assert await asyncio.gather(*calls[1:]) == [reply(), kept()]
    assert (model.asked, model.cancelled) == (1, 0)


async def test_a_call_ends_when_the_last_of_its_callers_has_left(cache: ReplyCache, model: Model) -> None:
    calls = [asyncio.ensure_future(cache.answer("k", HELLO, model.ask)) for _ in range(3)]
    await model.arrived.acquire()
    for call in calls:
        assert model.cancelled == 0
        call.cancel()
        await asyncio.wait([call])
    await asyncio.sleep(0)
    assert model.cancelled == 1


async def test_who_comes_when_all_others_are_leaving_has_a_call_of_its_own(
    cache: ReplyCache, model: Model
) -> None:
    leaving = asyncio.ensure_future(cache.answer("k", HELLO, model.ask))
    await model.arrived.acquire()
    leaving.cancel()
    coming = asyncio.ensure_future(cache.answer("k", HELLO, model.ask))
    await model.arrived.acquire()
    assert (leaving.cancelled(), model.cancelled) == (True, 1)
    model.answer(reply(), question=1)
    assert await coming == reply()


async def test_cancelling_all_callers_closes_the_socket() -> None:
    async with ScriptedEndpoint([Hang()]) as server:
        settings = EndpointSettings("e", "m", server.url)
        endpoint = Endpoint(settings, clock=SystemClock(), hooks=Hooks(), rng=Random(1))
        cache = ReplyCache(CacheSettings(), SystemClock())

        async def ask(deadline: float | None) -> LMResponse:
            return await endpoint.complete(replace(HELLO, deadline=deadline))

        calls = [asyncio.ensure_future(cache.answer("k", HELLO, ask)) for _ in range(5)]
        await server.arrived.acquire()
        for call in calls:
            call.cancel()
        await server.client_left.wait()
        assert len(server.requests) == 1
        await cache.close()
        await endpoint.close()


async def test_a_call_that_cancels_itself_ends_its_callers_as_if_they_had_made_it(cache: ReplyCache) -> None:
    with pytest.raises(asyncio.CancelledError):
        await cache.answer("k", HELLO, once(asyncio.CancelledError()))


async def test_a_close_ends_what_is_under_way_and_refuses_what_comes(cache: ReplyCache, model: Model) -> None:
    await put(cache, key="kept")
    calls = [asyncio.ensure_future(cache.answer(key, HELLO, model.ask)) for key in "aab"]
    for _ in "ab":
        await model.arrived.acquire()
    await cache.close()
    assert model.cancelled == 2
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RuntimeClosed] * 3
    for key in ("c", "kept"):
        with pytest.raises(RuntimeClosed):
            await cache.answer(key, HELLO, model.ask)
    assert model.asked == 2


async def test_a_close_before_a_call_has_begun_keeps_it_from_being_made(cache: ReplyCache, model: Model) -> None:
    call = asyncio.ensure_future(cache.answer("k", HELLO, model.ask))
    closing = asyncio.ensure_future(cache.close())  # runs when the caller has come and the call has not begun
    with pytest.raises(RuntimeClosed):
        await call
    await closing
    assert model.asked == 0


async def test_no_repr_and_no_key_shows_what_was_said(cache: ReplyCache, model: Model) -> None:
    canary = "sk-canary-1"
    request = LMRequest((Message("user", canary),), extra={"token": canary})
    key = cache_key(request, "openai|gpt|https://api.openai.com/v1")
    await cache.answer(key, request, once(reply(canary)))
    for shown in (key, repr(cache), repr(cache.snapshot())):
        assert canary not in shown
    with pytest.raises(LMRequestRejected) as caught:
        cache_key(replace(request, extra={"token": {canary}}), "")
    assert canary not in "".join(traceback.format_exception(caught.value))


async def test_the_state_can_be_read(cache: ReplyCache, clock: FakeClock) -> None:
    await put(cache, "hello")
    await cache.answer("k", HELLO, nobody)
    clock.advance(15)
    await cache.stale("k")
    state = cache.snapshot()
    assert (state.entries, state.hits, state.misses, state.joined, state.stale) == (1, 1, 1, 0, 1)
    assert state.bytes > 100
    assert repr(cache) == f"ReplyCache(1 answers, {state.bytes} bytes)"


@pytest.mark.parametrize("field", ["max_bytes", "ttl", "stale_for"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_settings_that_make_no_sense_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"cache: {field} = {value}"):
        CacheSettings(**{field: value})  # type: ignore[arg-type]  # wrong on purpose


async def test_a_cache_that_shrinks_asks_again_for_what_it_gave_up(cache: ReplyCache, model: Model) -> None:
    asking = asyncio.create_task(cache.answer("k", HELLO, model.ask))
    await model.arrived.acquire()
    model.answer(reply())
    await asking
    held = cache.snapshot().bytes
    assert cache.shrink(1.0) == held > 0
    asking = asyncio.create_task(cache.answer("k", HELLO, model.ask))
    await model.arrived.acquire()
    model.answer(reply("hello again"))
    assert (await asking).text == "hello again"
