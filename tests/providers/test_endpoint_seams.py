"""Where an endpoint's stages meet: what one holds or knows while another fails."""

import asyncio
import sqlite3
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from repertory.clock import SystemClock
from repertory.errors import (
    BudgetExceeded,
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    EndpointOverloaded,
    LMAuthError,
    LMConnectionError,
    LMRateLimited,
    LMRequestRejected,
    LMTimeout,
    RepertoryError,
    RuntimeClosed,
)
from repertory.events import Event, Hooks, LMRetryScheduled
from repertory.providers.breaker import BreakerSettings
from repertory.providers.budget import BudgetSettings, BudgetStage
from repertory.providers.cache import CacheSettings, ReplyCache
from repertory.providers.endpoint import Endpoint
from repertory.providers.failures import Peer
from repertory.providers.gate import Call, Gate
from repertory.providers.limits import LimitSettings
from repertory.providers.messages import LMRequest, LMResponse, MediaPart, Message, Terms, TextDelta, TextPart
from repertory.providers.prices import Price
from repertory.providers.settings import EndpointSettings
from repertory.providers.streamed_reply import StreamedReply
from repertory.providers.token_estimate import TokenEstimate
from repertory.providers.transport import Stream
from repertory.providers.transport_settings import TransportSettings
from repertory.providers.wire import Quirks
from repertory.store import AccountLimit, Amount, LedgerTable, MemoryLedger, Store
from repertory.testing import FakeClock
from tests.endpoint import CutConnection, Hold, Raw, Reply, ScriptedEndpoint, Status, Streamed

PRICE = Price.flat(input=Decimal(1), output=Decimal(4))
PAID = Terms(accounts=("a",))


def ask(text: str = "Tag?", **fields: Any) -> LMRequest:
    return LMRequest((Message("user", text),), **fields)


def an_endpoint(url: str, *, hooks: Hooks | None = None, **given: Any) -> Endpoint:
    stages: dict[str, Any] = {"clock": SystemClock(), "hooks": hooks or Hooks(), "rng": Random(1)}
    stages |= {name: given.pop(name) for name in ("cache", "ledger", "clock") if name in given}
    return Endpoint(EndpointSettings("qa", "m-1", url, **given), **stages)


def a_gate(clock: FakeClock, limits: LimitSettings, ledger: MemoryLedger | None = None) -> Gate:
    settings = EndpointSettings("qa", "m-1", "http://127.0.0.1:1/v1", limits=limits)
    budget = BudgetStage(
        *(settings.budget, ledger or MemoryLedger()),
        endpoint="qa",
        provider="",
        model="m-1",
        clock=clock,
        hooks=Hooks(),
    )
    return Gate(settings, budget, TokenEstimate(), clock, Hooks(), Random(1))


async def test_a_locked_ledger_is_waited_for_no_longer_than_the_caller_waits(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "s.db")
    ledger = await LedgerTable.open(store)
    await ledger.limit("a", AccountLimit.of(dollars=Decimal(1)))
    async with ScriptedEndpoint([]) as server:
        endpoint = an_endpoint(server.url, ledger=ledger, budget=BudgetSettings(price=PRICE))
        with closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            deadline = SystemClock().monotonic() + 0.05
            with pytest.raises(DeadlineExceeded, match="qa: the deadline passed while the budgets"):
                await endpoint.complete(ask(max_tokens=5, terms=PAID, deadline=deadline))
        await endpoint.close()
    assert server.requests == []
    await ledger.sweep()  # behind what the lock held up
    assert (await ledger.balance("a")).reservations == 0
    await ledger.close()
    await store.close()


async def test_a_ledger_whose_store_is_gone_keeps_no_turn_and_no_reply(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "s.db")
    ledger = await LedgerTable.open(store)
    await ledger.limit("a", AccountLimit.of(dollars=Decimal(1)))
    gone = asyncio.Event()
    async with ScriptedEndpoint([Hold(gone), Hold(gone, Status(400))]) as server:
        endpoint = an_endpoint(server.url, ledger=ledger, budget=BudgetSettings(price=PRICE))
        calls = []
        for _ in range(2):
            calls.append(asyncio.create_task(endpoint.complete(ask(max_tokens=5, terms=PAID))))
            await server.arrived.acquire()
        await store.close()
        gone.set()
        answered, refused = await asyncio.gather(*calls, return_exceptions=True)
        assert not isinstance(answered, BaseException), answered
        assert isinstance(refused, LMRequestRejected)
        assert endpoint.snapshot().limits.in_flight == 0
        await endpoint.close()
    with suppress(RepertoryError):
        await ledger.close()


async def test_a_call_refused_at_its_turn_is_no_sign_of_health(clock: FakeClock) -> None:
    gate = a_gate(clock, LimitSettings())
    call = Call(ask(), b"{}", clock.monotonic() + 100, 1)
    busy = [await gate.admit(call) for _ in range(4)]
    for attempt in busy[:2]:
        attempt.fail(LMRateLimited("too many"))
    limit = gate.limits.snapshot().concurrency
    assert limit == 2
    waiting = asyncio.create_task(gate.admit(call))
    await asyncio.sleep(0)
    gate.breaker.force("open")
    for attempt in busy[2:]:
        attempt.fail(asyncio.CancelledError())
    with pytest.raises(CircuitOpen):
        await waiting
    assert gate.limits.snapshot().concurrency == limit


async def test_a_call_for_which_the_queue_has_no_room_is_refused_at_once() -> None:
    events: list[Event] = []
    until = asyncio.Event()
    async with ScriptedEndpoint([Hold(until)]) as server:
        limits = LimitSettings(max_concurrency=1, max_waiting=0)
        endpoint = an_endpoint(server.url, hooks=Hooks([events.append]), limits=limits)
        first = asyncio.create_task(endpoint.complete(ask()))
        await server.arrived.acquire()
        with pytest.raises(EndpointOverloaded):
            await endpoint.complete(ask("Nacht?"))
        assert endpoint.snapshot().retries.retries == 0
        assert not [event for event in events if isinstance(event, LMRetryScheduled)]
        until.set()
        await first
        await endpoint.close()


async def test_an_answer_cut_for_those_who_pay_is_not_given_to_those_who_do_not() -> None:
    ledger = MemoryLedger()
    await ledger.limit("a", AccountLimit.of(dollars=Decimal(1)))
    async with ScriptedEndpoint([Reply("Gut", finish_reason="length"), Reply("Guten Tag")]) as server:
        endpoint = an_endpoint(
            server.url,
            ledger=ledger,
            cache=ReplyCache(CacheSettings(), SystemClock()),
            budget=BudgetSettings(price=PRICE, max_tokens=1),
        )
        assert (await endpoint.complete(ask(terms=PAID))).text == "Gut"
        assert (await endpoint.complete(ask())).text == "Guten Tag"
        assert (await endpoint.complete(ask(terms=PAID))).source == "cache"
        await endpoint.close()


@pytest.mark.parametrize("fields", [{"max_tokens": -1}, {"max_tokens": 0}, {"max_tokens": 5, "n": 0}])
async def test_what_servers_take_for_no_bound_is_none(fields: dict[str, Any]) -> None:
    ledger = MemoryLedger()
    await ledger.limit("a", AccountLimit.of(dollars=Decimal(1)))
    async with ScriptedEndpoint([]) as server:
        endpoint = an_endpoint(server.url, ledger=ledger, budget=BudgetSettings(price=PRICE))
        name, value = list(fields.items())[-1]
        with pytest.raises(LMRequestRejected, match=f"qa: {name} = {value}"):
            await endpoint.complete(ask(terms=PAID, **fields))
        assert server.requests == []
        await endpoint.close()


@pytest.mark.parametrize("usage", ["", ',"usage":{"prompt_tokens":11}', ',"usage":{"completion_tokens":7}'])
async def test_a_reply_counted_by_half_is_charged_in_full(usage: str) -> None:

    ledger = MemoryLedger()
    await ledger.limit("a", AccountLimit.of(dollars=Decimal(1)))
    body = f'{{"choices":[{{"message":{{"content":"Guten Tag"}},"finish_reason":"stop"}}]{usage}}}'
    async with ScriptedEndpoint([Raw(body.encode())]) as server:
        endpoint = an_endpoint(server.url, ledger=ledger, budget=BudgetSettings(price=PRICE))
        reply = await endpoint.complete(ask(max_tokens=50, terms=PAID))
        await endpoint.close()
    balance = await ledger.balance("a")
    assert (reply.cost, balance.spent, balance.reservations) == (None, balance.uncertain, 0)
    assert balance.spent.tokens > 50


@pytest.mark.parametrize("extra", [{"x": "\ud800"}, {"x": 2**80}, {"x": object()}])
async def test_a_request_that_json_cannot_carry_is_rejected_by_name(extra: dict[str, object]) -> None:
    endpoint = an_endpoint("http://127.0.0.1:1/v1")
    with pytest.raises(LMRequestRejected, match=r"extra\.x"):
        await endpoint.complete(ask(extra=extra))
    with pytest.raises(LMRequestRejected):
        async with endpoint.stream(ask("\ud800")):
            pass
    await endpoint.close()


def picture(size: int) -> LMRequest:
    return LMRequest((Message("user", (TextPart("What?"), MediaPart("image", "image/png", b"x" * size))),))


async def test_a_picture_is_not_taken_for_as_many_words_as_it_has_bytes() -> None:
    endpoint = an_endpoint("http://127.0.0.1:1/v1", context_window=128_000)
    assert endpoint.misfit(picture(2**20)) is None
    await endpoint.close()


async def test_pictures_teach_nothing_about_words() -> None:
    async with ScriptedEndpoint(lambda _: Reply()) as server:
        endpoint = an_endpoint(server.url, context_window=1000)
        long = ask("word " * 800)  # 4,000 bytes, about 1,300 tokens by the first ratio
        assert endpoint.misfit(long) is not None
        for _ in range(3):
            await endpoint.complete(picture(100_000))
        assert endpoint.misfit(long) is not None
        await endpoint.close()


async def test_several_replies_share_no_context_window() -> None:
    endpoint = an_endpoint("http://127.0.0.1:1/v1", context_window=1000)
    assert endpoint.misfit(ask(max_tokens=400, n=8)) is None
    await endpoint.close()


async def test_a_price_that_cannot_be_worked_out_does_not_fail_the_route() -> None:
    endpoint = an_endpoint("http://127.0.0.1:1/v1", budget=BudgetSettings(price=PRICE))
    assert endpoint.most_cost(ask("\ud800", max_tokens=5)) is None
    await endpoint.close()


@pytest.mark.parametrize(
    "url",
    [
        "user:canary@host/v1",
        "http://user:canary@host/v1",
        "https://host/v1?key=canary",
        "https://host/v1#canary",
        "http://host:99999/v1",
        "http://[::1/v1",
    ],
)
def test_a_base_url_that_cannot_be_one_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigError, match="endpoint qa: base_url") as error:
        EndpointSettings("qa", "m-1", url)
    assert "canary" not in f"{error.value} {error.value!r}"


async def test_an_answer_that_was_not_held_to_its_schema_is_not_given_where_it_would_be() -> None:
    cache = ReplyCache(CacheSettings(), SystemClock())
    asked = ask(response_schema={"type": "object"})
    async with ScriptedEndpoint([Reply("well,"), Reply("{}")]) as server:
        free = an_endpoint(server.url, cache=cache, quirks=Quirks(constrains=None), schema_dialect=None)
        held = an_endpoint(server.url, cache=cache)
        assert ((await free.complete(asked)).text, (await held.complete(asked)).text) == ("well,", "{}")
        await free.close()
        await held.close()


async def test_gateways_that_are_told_models_apart_by_a_header_have_answers_of_their_own() -> None:
    cache = ReplyCache(CacheSettings(), SystemClock())
    async with ScriptedEndpoint(lambda seen: Reply(seen.headers["x-route"])) as server:
        for route in ("a", "b"):
            transport = TransportSettings(headers={"X-Route": route})
            endpoint = an_endpoint(server.url, cache=cache, transport=transport)
            assert (await endpoint.complete(ask())).text == route
            await endpoint.close()


async def test_the_body_of_an_error_that_drips_does_not_outlast_the_deadline() -> None:
    gone = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()
        gone.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    endpoint = an_endpoint(f"http://127.0.0.1:{port}/v1")
    try:
        async with asyncio.timeout(5):
            with pytest.raises(DeadlineExceeded):
                async with endpoint.stream(ask(deadline=SystemClock().monotonic() + 0.2)):
                    pass
            await gone.wait()  # its connection was closed
    finally:
        await endpoint.close()
        server.close()


async def test_a_secret_in_any_header_is_struck_out_of_what_the_peer_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY", "canary-9c1")
    async with ScriptedEndpoint([Status(401, "no such token: canary-9c1")]) as server:
        endpoint = an_endpoint(server.url, transport=TransportSettings(header_envs={"X-Gateway": "GATEWAY"}))
        with pytest.raises(LMAuthError, match=r"no such token: \[secret\]") as error:
            await endpoint.complete(ask())
        assert "canary" not in f"{error.value!r} {endpoint.snapshot()}"
        await endpoint.close()


def piece(text: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % text.encode()


@pytest.mark.parametrize("probes", [1, 2])
async def test_a_stream_that_probes_keeps_nobody_out_while_it_is_read(probes: int, clock: FakeClock) -> None:
    rest = asyncio.Event()
    probing = Streamed((piece("a"), piece("b")), until=rest)
    async with ScriptedEndpoint([Status(401), probing, Reply(), Reply()]) as server:
        endpoint = an_endpoint(server.url, clock=clock, breaker=BreakerSettings(probes=probes))
        with pytest.raises(LMAuthError):
            await endpoint.complete(ask())
        clock.advance(10)
        async with endpoint.stream(ask()) as deltas:
            assert await anext(deltas) == TextDelta("a")
            assert endpoint.snapshot().circuit.state == ("closed" if probes == 1 else "half_open")
            await endpoint.complete(ask())
            assert endpoint.snapshot().circuit.state == "closed"
        await endpoint.complete(ask())
        assert (endpoint.snapshot().circuit.state, endpoint.snapshot().limits.in_flight) == ("closed", 0)
        rest.set()
        await endpoint.close()


class SilentStream:
    """Headers came; nothing follows."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def read(self, timeout: float, left: float) -> bytes:
        self.waits.append(timeout)
        raise LMTimeout("nothing")

    def close(self) -> None:
        pass


async def test_the_wait_for_headers_is_part_of_the_wait_for_the_first_token(clock: FakeClock) -> None:
    settings = EndpointSettings("qa", "m-1", "http://127.0.0.1:1/v1", first_token_timeout=4.0)
    stream, asked = SilentStream(), clock.monotonic()
    clock.advance(3)
    call = Call(ask(), b"{}", asked + 100, 1)
    attempt = await a_gate(clock, LimitSettings()).admit(call)
    reply = StreamedReply(settings, Peer("qa"), cast(Stream, stream), attempt, clock, call.deadline)
    with pytest.raises(LMTimeout, match="no output within 4 s"):
        await reply.begin(asked)
    assert stream.waits == [1.0]


async def test_what_a_closed_endpoint_refuses_is_not_charged() -> None:
    ledger = MemoryLedger()
    await ledger.limit("a", AccountLimit.of(dollars=Decimal(1)))
    endpoint = an_endpoint("http://127.0.0.1:1/v1", ledger=ledger, budget=BudgetSettings(price=PRICE))
    await endpoint.close()
    with pytest.raises(RuntimeClosed):
        await endpoint.complete(ask(max_tokens=5, terms=PAID))
    assert (await ledger.balance("a")).spent == Amount()


@pytest.mark.parametrize("accounts", [("tokens",), ("nobody",)])
async def test_what_another_callers_budget_refuses_is_not_refused_to_who_joins(accounts: tuple[str, ...]) -> None:
    ledger = MemoryLedger()
    await ledger.limit("tokens", AccountLimit.of(tokens=1000))  # and nothing bounds the reply
    async with ScriptedEndpoint([Reply("Tag")]) as server:
        endpoint = an_endpoint(server.url, ledger=ledger, cache=ReplyCache(CacheSettings(), SystemClock()))
        calls = [endpoint.complete(ask(terms=Terms(accounts=each))) for each in (accounts, ())]
        refused, answered = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(refused, LMRequestRejected | ConfigError)
        assert isinstance(answered, LMResponse), answered
        await endpoint.close()


async def test_a_retry_that_an_open_circuit_will_refuse_takes_none_of_the_budget() -> None:
    async with ScriptedEndpoint([Status(500)]) as server:
        breaker = BreakerSettings(minimum_volume=1, open_seconds=30)
        endpoint = an_endpoint(server.url, breaker=breaker)
        with pytest.raises(CircuitOpen):
            await endpoint.complete(ask())
        assert endpoint.snapshot().retries.retries == 0
        await endpoint.close()


async def test_a_retry_that_no_budget_pays_for_says_what_it_was_to_mend() -> None:
    ledger = MemoryLedger()
    await ledger.limit("a", AccountLimit.of(tokens=400))
    async with ScriptedEndpoint([CutConnection()]) as server:
        endpoint = an_endpoint(server.url, ledger=ledger)
        with pytest.raises(BudgetExceeded) as error:
            await endpoint.complete(ask(max_tokens=100, terms=PAID))
        assert isinstance(error.value.__cause__, LMConnectionError)
        await endpoint.close()
