"""Answers that were paid for once: asked to be kept, named as soon as they begin, fetched again by their id."""

import asyncio
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from repertory.clock import Clock
from repertory.errors import (
    DeadlineExceeded,
    LMAuthError,
    LMConnectionError,
    LMReplyMalformed,
    LMRequestRejected,
    LMServerError,
    RuntimeClosed,
)
from repertory.events import Hooks
from repertory.providers.budget import BudgetSettings
from repertory.providers.endpoint import Endpoint
from repertory.providers.failures import Peer
from repertory.providers.limits import LimitSettings
from repertory.providers.messages import (
    LMRequest,
    LMResponse,
    Message,
    Terms,
    TextDelta,
    ToolCallPart,
    ToolDefinition,
)
from repertory.providers.openai_stored import decode, path
from repertory.providers.policies import Fallback
from repertory.providers.prices import Price
from repertory.providers.route import Route
from repertory.providers.settings import EndpointSettings
from repertory.providers.wire import Quirks
from repertory.store import AccountLimit, MemoryLedger
from repertory.testing import FakeClock
from tests.faulty.billing import BillingServer, Manner, billed, read_log
from tests.faulty.dialects import DIALECTS, OPENAI, RESPONSES, USAGE
from tests.faulty.http import answer
from tests.faulty.server import Cut, FaultyServer, Hold, Send
from tests.providers.conftest import let_time_pass
from tests.providers.recorder import Recorder
from tests.providers.stand_in import StandIn, reply

PRICE = Price.flat(input=Decimal(1), output=Decimal(4))
COST = Decimal("0.000039")
SOON = 1030.0  # half a minute from where a fake clock begins


def ask(**fields: Any) -> LMRequest:
    return LMRequest((Message("user", "Capital of France?"),), **fields)


def an_endpoint(url: str, clock: Clock | None = None, **settings: Any) -> Endpoint:
    given: dict[str, Any] = {"protocol": RESPONSES.protocol, "budget": BudgetSettings(price=PRICE)}
    ledger = settings.pop("ledger", None)
    return Endpoint(
        EndpointSettings("qa", "m", url, **given | settings),
        clock=clock or FakeClock(),
        hooks=Hooks(),
        rng=Random(1),
        ledger=ledger,
    )


def cut_half_way(good: bytes) -> tuple[Send, Cut]:
    return (Send(good[: good.index(b"output_text.done")]), Cut())


# --- so that it can be fetched -------------------------------------------------------------------------------


async def test_an_answer_that_is_witnessed_is_asked_to_be_kept_and_told_by_stream() -> None:
    async with BillingServer(RESPONSES) as server:
        endpoint = an_endpoint(server.url)
        recorder = Recorder()
        told = await endpoint.complete(ask(witness=recorder))
        plain = await endpoint.complete(ask())
        await endpoint.close()
    assert (told.text, told.usage, told.cost) == (plain.text, plain.usage, plain.cost) == ("Paris", USAGE, COST)
    first, second = server.server.requests
    assert (first.body["store"], first.body["stream"]) == (True, True)
    assert (second.body["store"], second.body.get("stream")) == (False, None)
    assert recorder.entries[0].ids == [told.id]


async def test_who_says_that_nothing_shall_be_kept_is_heard() -> None:
    async with BillingServer(RESPONSES) as server:
        endpoint = an_endpoint(server.url)
        response = await endpoint.complete(ask(witness=Recorder(), extra={"store": False}))
        assert await endpoint.fetch(response.id, SOON) is None
        await endpoint.close()
    assert server.server.requests[0].body["store"] is False


async def test_where_nothing_can_be_fetched_a_witnessed_call_is_sent_as_any_other() -> None:
    async with BillingServer(RESPONSES) as server:
        endpoint = an_endpoint(server.url, quirks=Quirks(stores=False))
        assert not endpoint.can_fetch
        await endpoint.complete(ask(witness=Recorder()))
        await endpoint.close()
    body = server.server.requests[0].body
    assert (body["store"], body.get("stream")) == (False, None)


@pytest.mark.parametrize("streamed", [False, True], ids=["complete", "stream"])
async def test_its_id_is_told_before_its_first_word(streamed: bool) -> None:
    rest = asyncio.Event()

    def opening_first(good: bytes) -> tuple[Send, Hold, Send]:
        end = good.index(b"\r\n", good.index(b"response.created")) + 2
        return (Send(good[:end]), Hold(rest), Send(good[end:]))

    recorder = Recorder()
    async with BillingServer(RESPONSES, manner=lambda _: Manner(opening_first)) as server:
        endpoint = an_endpoint(server.url)

        async def call() -> None:
            if not streamed:
                await endpoint.complete(ask(witness=recorder))
                return
            async with endpoint.stream(ask(witness=recorder)) as deltas:
                async for _ in deltas:
                    pass

        task = asyncio.create_task(call())
        await server.server.holding.acquire()
        await recorder.named.wait()
        assert recorder.entries[0].ids == ["r-1-1"]
        assert recorder.endings == [None]
        rest.set()
        await task
        await endpoint.close()
    assert recorder.endings == ["paid"]


# --- fetched, not bought -------------------------------------------------------------------------------------


async def test_an_answer_whose_reader_was_cut_off_is_fetched_and_not_bought(tmp_path: Path) -> None:
    log = tmp_path / "asked.jsonl"
    recorder = Recorder()
    request = ask(max_tokens=100, witness=recorder)
    async with BillingServer(RESPONSES, manner=lambda _: Manner(cut_half_way), log=log) as server:
        endpoint = an_endpoint(server.url, attempts=1)
        with pytest.raises(LMConnectionError):
            await endpoint.complete(request)
        assert recorder.endings == ["uncertain"]
        found = await endpoint.fetch(recorder.entries[0].ids[0], SOON, request)
        await endpoint.close()
    assert found is not None
    assert (found.text, found.usage, found.cost, found.id) == ("Paris", USAGE, COST, "r-1-1")
    asked = read_log(log)
    assert asked == server.asked
    assert [(each.key, each.whole) for each in asked] == [("k-1", False)]
    assert billed(asked) == USAGE


async def test_without_the_request_nobody_knows_what_it_cost() -> None:
    async with BillingServer(RESPONSES) as server:
        endpoint = an_endpoint(server.url)
        told = await endpoint.complete(ask(witness=Recorder()))
        found = await endpoint.fetch(told.id, SOON)
        await endpoint.close()
    assert found == replace(told, cost=None)


async def test_an_answer_that_is_being_made_is_waited_for() -> None:
    clock = FakeClock()
    async with BillingServer(RESPONSES, manner=lambda _: Manner(keeps="in_progress")) as server:
        endpoint = an_endpoint(server.url, clock)
        told = await endpoint.complete(ask(witness=Recorder()))
        fetching = asyncio.create_task(endpoint.fetch(told.id, SOON))
        for _ in range(3):
            await clock.until_asleep()
            clock.advance(1)
        await clock.until_asleep()
        server.finish(told.id)
        clock.advance(1)
        found = await fetching
        await endpoint.close()
    assert found is not None
    assert found.text == "Paris"
    assert server.fetched == [told.id] * 5


async def test_an_answer_that_is_still_being_made_at_the_deadline_is_not_one_that_will_never_be() -> None:
    clock = FakeClock()
    async with BillingServer(RESPONSES, manner=lambda _: Manner(keeps="in_progress")) as server:
        endpoint = an_endpoint(server.url, clock)
        told = await endpoint.complete(ask(witness=Recorder()))
        with pytest.raises(DeadlineExceeded, match="deadline passed while the answer was still being made"):
            await let_time_pass(clock, endpoint.fetch(told.id, clock.monotonic() + 5))
        await endpoint.close()
    assert len(server.fetched) == 5


async def test_what_is_not_there_or_was_cancelled_is_nothing() -> None:
    async with BillingServer(RESPONSES) as server:
        endpoint = an_endpoint(server.url)
        told = await endpoint.complete(ask(witness=Recorder()))
        server.finish(told.id, "cancelled")
        assert await endpoint.fetch(told.id, SOON) is None
        assert await endpoint.fetch("another", SOON) is None
        await endpoint.close()


def test_what_a_response_says_of_itself() -> None:
    def read(**said: Any) -> object:
        whole = {**json.loads(RESPONSES.reply("Paris")), **said}
        return decode(json.dumps(whole).encode(), Peer("qa"))

    assert read(status="queued") == read(status="in_progress") == "under way"
    assert read(status="failed", error={"code": "server_error", "message": "sorry"}) == "gone"
    assert read(status="cancelled") == "gone"
    assert read(status="incomplete", incomplete_details={"reason": "interrupted"}) == "gone"
    assert read(status="incomplete", incomplete_details=None) == "gone"
    cut = read(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert isinstance(cut, LMResponse)
    assert (cut.text, cut.finish_reason) == ("Paris", "length")
    with pytest.raises(LMReplyMalformed, match="qa: its answer is not a JSON object"):
        decode(b"[]", Peer("qa"))


def test_an_id_cannot_lead_elsewhere() -> None:
    assert path("../models", None).startswith("/responses/..%2Fmodels?")
    assert "logprobs" not in path("r", ask())
    assert path("r", ask(top_logprobs=2)).endswith("&include[]=message.output_text.logprobs")


# --- what goes wrong -----------------------------------------------------------------------------------------


async def test_what_may_pass_is_asked_again_and_what_does_not_is_raised() -> None:
    clock = FakeClock()
    busy = answer(OPENAI.error("overloaded", "busy"), 503, headers={"Retry-After": "7"})
    answers = (answer(b'{"half'), busy, answer(RESPONSES.reply("Paris")))
    async with FaultyServer((Send(each),) for each in answers) as server:
        endpoint = an_endpoint(server.url, clock)
        found = await let_time_pass(clock, endpoint.fetch("r-1", SOON))
        assert found is not None
        assert found.text == "Paris"
        assert clock.monotonic() == 1000 + 1 + 7
        await endpoint.close()
    async with FaultyServer([(Send(answer(OPENAI.error("key", "no"), 401)),)]) as server:
        endpoint = an_endpoint(server.url)
        with pytest.raises(LMAuthError):
            await endpoint.fetch("r-1", SOON)
        await endpoint.close()
        with pytest.raises(RuntimeClosed):
            await endpoint.fetch("r-1", SOON)
    async with FaultyServer(lambda _: (Send(busy),)) as server:
        clock = FakeClock()
        endpoint = an_endpoint(server.url, clock)
        with pytest.raises(LMServerError):
            await let_time_pass(clock, endpoint.fetch("r-1", SOON))
        await endpoint.close()
    assert clock.monotonic() < SOON


async def test_a_server_that_does_not_answer_is_given_up_at_the_deadline() -> None:
    async with FaultyServer(lambda _: (Hold(),)) as server:
        clock = FakeClock()
        endpoint = an_endpoint(server.url, clock)
        with pytest.raises(DeadlineExceeded, match=r"the deadline passed 0\.0 s after sending"):
            await endpoint.fetch("r-1", clock.monotonic() + 0.05)
        await endpoint.close()


async def test_a_caller_who_leaves_takes_the_question_along() -> None:
    async with FaultyServer(lambda _: (Hold(),)) as server:
        endpoint = an_endpoint(server.url)
        fetching = asyncio.create_task(endpoint.fetch("r-1", SOON))
        await server.holding.acquire()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await server.until_quiet()
        await endpoint.close()


async def test_it_is_free_and_waits_for_nobody() -> None:
    ledger = MemoryLedger()
    await ledger.limit("a", AccountLimit.of(dollars=Decimal(0)))
    async with BillingServer(RESPONSES) as server:
        endpoint = an_endpoint(server.url, ledger=ledger, limits=LimitSettings(max_concurrency=1))
        told = await endpoint.complete(ask(max_tokens=10, witness=Recorder()))
        endpoint.force_circuit("open")
        found = await endpoint.fetch(told.id, SOON, ask(max_tokens=10, terms=Terms(accounts=("a",))))
        await endpoint.close()
        assert (await ledger.balance("a")).spent.nano_dollars == 0
    assert found is not None
    assert endpoint.snapshot().calls == 1


@pytest.mark.parametrize("name", sorted(DIALECTS.keys() - {"responses"}))
async def test_a_protocol_that_keeps_no_answers_says_so(name: str) -> None:
    endpoint = an_endpoint("http://127.0.0.1:1/v1", protocol=DIALECTS[name].protocol)
    assert not endpoint.can_fetch
    with pytest.raises(LMRequestRejected, match="qa: the endpoint keeps no answers") as caught:
        await endpoint.fetch("r-1", SOON)
    assert "openai-responses/NAME" in str(caught.value)
    await endpoint.close()


# --- who reads it --------------------------------------------------------------------------------------------


async def test_emulated_tools_are_read_out_of_what_was_fetched() -> None:
    said = '{"calls": [{"name": "look", "arguments": {"at": "map"}}]}'
    request = ask(tools=(ToolDefinition("look", "", {"type": "object"}),), witness=Recorder())
    async with BillingServer(RESPONSES, lambda _: said) as server:
        endpoint = an_endpoint(server.url, quirks=Quirks(emulates=("tools",)))
        told = await endpoint.complete(request)
        found = await endpoint.fetch(told.id, SOON, request)
        await endpoint.close()
    assert found == told
    assert found is not None
    assert found.tool_calls == (ToolCallPart("call_0", "look", '{"at":"map"}'),)


async def test_a_stream_of_an_answer_that_is_kept_is_passed_on_as_ever() -> None:
    said = []
    async with BillingServer(RESPONSES, lambda _: "Paris it is") as server:
        endpoint = an_endpoint(server.url)
        async with endpoint.stream(ask(witness=Recorder())) as deltas:
            async for delta in deltas:
                said += [delta.text] if isinstance(delta, TextDelta) else []
        await endpoint.close()
    assert said == ["Paris", " it is"]


async def test_a_route_fetches_from_the_endpoint_that_gave_the_answer() -> None:
    a, b = StandIn("a", kept=reply("of a")), StandIn("b", kept=reply("of b"), can_fetch=True)
    route = Route("both", [a, b], Fallback(), clock=FakeClock(), hooks=Hooks(), rng=Random(1))
    assert [route.can_fetch(name) for name in ("a", "b", "c")] == [False, True, False]
    assert await route.fetch("b", "r-1", SOON) == reply("of b")
    assert (a.fetched, b.fetched) == ([], ["r-1"])
    with pytest.raises(LMRequestRejected, match="both: it has no endpoint 'c'"):
        await route.fetch("c", "r-1", SOON)
