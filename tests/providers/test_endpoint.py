import asyncio
import traceback
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from pydantic import SecretStr

from repertory.errors import (
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    LMAuthError,
    LMConnectionError,
    LMError,
    LMRateLimited,
    LMReplyMalformed,
    LMRequestRejected,
    LMServerError,
    LMTimeout,
    RepertoryError,
    RuntimeClosed,
)
from repertory.events import CircuitChanged, Event, Hooks, LMCallFinished, LMRetryScheduled
from repertory.providers.breaker import BreakerSettings
from repertory.providers.endpoint import Endpoint
from repertory.providers.limits import LimitSettings
from repertory.providers.lm import LM
from repertory.providers.messages import LMRequest, LMResponse, Message, Usage
from repertory.providers.settings import EndpointSettings
from repertory.providers.transport import BaseURL
from repertory.testing import FakeClock
from tests.endpoint import CutConnection, Hang, Hold, Raw, Reply, ScriptedEndpoint, Status, Step
from tests.providers.conftest import let_time_pass

ASK = LMRequest((Message("user", "Tag?"),))
CANARY = "sk-canary-5f1d"


class Watched:
    """An endpoint on a fake clock, and the events it emitted."""

    def __init__(self, clock: FakeClock, base_url: BaseURL, **settings: Any) -> None:
        self.clock = clock
        self.events: list[Event] = []
        self.endpoint = Endpoint(
            EndpointSettings("qa", "m-1", base_url, **settings),
            clock=clock,
            hooks=Hooks([self.events.append]),
            rng=Random(1),
        )

    async def ask(self, request: LMRequest = ASK) -> LMResponse:
        return await let_time_pass(self.clock, self.endpoint.complete(request))

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def test_a_call_is_answered_counted_and_told(clock: FakeClock) -> None:
    async with ScriptedEndpoint([Reply(lambda seen: f"{seen.body['model']} on {seen.last_message}")]) as server:
        watched = Watched(clock, server.url, api_key=SecretStr(CANARY))
        lm: LM = watched.endpoint
        reply = await lm.complete(ASK)
        await lm.close()
    assert (reply.text, reply.usage) == ("m-1 on Tag?", Usage(11, 7, 3))
    assert server.requests[0].headers["authorization"] == f"Bearer {CANARY}"
    assert watched.events == [LMCallFinished("qa", 0.0, None, 11, 7)]
    snapshot = watched.endpoint.snapshot()
    assert (snapshot.calls, snapshot.failures, snapshot.in_flight, snapshot.circuit.state) == (1, 0, 0, "closed")


@pytest.mark.parametrize(
    "fault",
    [
        CutConnection(),
        CutConnection(mid_body=True),
        Status(500),
        Status(503, headers={"Retry-After": "7"}),
        Status(429, headers={"retry-after-ms": "400"}),
        Status(408),
        Raw(b"<html>", content_type="text/html"),
        Raw(b'{"choices":'),
        Raw(b'{"error":{"message":"overloaded"}}'),
    ],
    ids=lambda fault: f"{fault}"[:40],
)
async def test_a_passing_fault_is_repeated(clock: FakeClock, fault: Step) -> None:
    async with ScriptedEndpoint([fault, Reply("better now")]) as server:
        watched = Watched(clock, server.url)
        assert (await watched.ask()).text == "better now"
        await watched.endpoint.close()
    assert len(server.requests) == 2
    (retry,) = watched.of(LMRetryScheduled)
    first, second = watched.of(LMCallFinished)
    assert retry.attempt == 1
    assert retry.error == first.error
    assert second.error is None
    assert watched.endpoint.snapshot().failures == 0  # the call succeeded


async def test_the_endpoints_wish_is_waited_for(clock: FakeClock) -> None:
    async with ScriptedEndpoint([Status(429, headers={"Retry-After": "7"}), Reply()]) as server:
        watched = Watched(clock, server.url)
        before = clock.monotonic()
        await watched.ask()
        await watched.endpoint.close()
    assert clock.monotonic() - before >= 7


async def test_a_wish_beyond_the_deadline_is_not_waited_for(clock: FakeClock) -> None:
    async with ScriptedEndpoint([Status(429, headers={"Retry-After": "200"})]) as server:
        watched = Watched(clock, server.url)
        with pytest.raises(LMRateLimited) as limited:
            await watched.endpoint.complete(ASK)
        await watched.endpoint.close()
    assert limited.value.retry_after == 200


@pytest.mark.parametrize(
    ("status", "kind"), [(400, LMRequestRejected), (401, LMAuthError), (404, LMRequestRejected)]
)
async def test_a_fault_of_the_request_is_not_repeated(clock: FakeClock, status: int, kind: type[LMError]) -> None:
    async with ScriptedEndpoint([Status(status)]) as server:
        watched = Watched(clock, server.url)
        with pytest.raises(kind):
            await watched.endpoint.complete(ASK)
        await watched.endpoint.close()
    assert len(server.requests) == 1


async def test_attempts_are_bounded(clock: FakeClock) -> None:
    async with ScriptedEndpoint(lambda _: Status(500)) as server:
        watched = Watched(clock, server.url, attempts=4)
        with pytest.raises(LMServerError):
            await watched.ask()
        await watched.endpoint.close()
    assert len(server.requests) == 4
    assert watched.endpoint.snapshot().failures == 1


async def test_an_outage_opens_the_circuit_and_a_probe_closes_it(clock: FakeClock) -> None:
    up = False
    async with ScriptedEndpoint(lambda _: Reply() if up else Status(500)) as server:
        watched = Watched(clock, server.url, attempts=1)
        for _ in range(5):
            with pytest.raises(LMServerError):
                await watched.endpoint.complete(ASK)
        with pytest.raises(CircuitOpen) as refusal:
            await watched.endpoint.complete(ASK)
        assert len(server.requests) == 5  # the sixth was not sent
        assert refusal.value.retry_after is not None
        clock.advance(refusal.value.retry_after)
        up = True
        await watched.endpoint.complete(ASK)
        await watched.endpoint.close()
    assert [(change.before, change.after) for change in watched.of(CircuitChanged)] == [
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "closed"),
    ]


async def test_a_retry_that_would_meet_an_open_circuit_is_not_waited_for(clock: FakeClock) -> None:
    async with ScriptedEndpoint(lambda _: Status(500)) as server:
        watched = Watched(clock, server.url, breaker=BreakerSettings(minimum_volume=1, open_seconds=60))
        with pytest.raises(CircuitOpen) as refusal:
            # The clock stands still: if the call sleeps on it, it never ends.
            await asyncio.wait_for(watched.endpoint.complete(ASK), 5)
        await watched.endpoint.close()
    assert isinstance(refusal.value.__cause__, LMServerError)
    assert len(server.requests) == 1
    assert watched.of(LMRetryScheduled) == []


async def test_one_probe_goes_out_while_twenty_call(clock: FakeClock) -> None:
    gate = asyncio.Event()
    steps: Iterator[Step] = iter([Status(500), Hold(gate)])
    async with ScriptedEndpoint(lambda _: next(steps)) as server:
        watched = Watched(clock, server.url, attempts=1, breaker=BreakerSettings(minimum_volume=1))
        with pytest.raises(LMServerError):
            await watched.endpoint.complete(ASK)
        await server.arrived.acquire()
        clock.advance(2)
        calls = [asyncio.create_task(watched.endpoint.complete(ASK)) for _ in range(20)]
        await server.arrived.acquire()
        gate.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        await watched.endpoint.close()
    assert sum(isinstance(outcome, LMResponse) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, CircuitOpen) for outcome in outcomes) == 19
    assert len(server.requests) == 2


async def test_a_cancelled_probe_makes_room_for_the_next(clock: FakeClock) -> None:
    steps: Iterator[Step] = iter([Status(500), Hang(), Reply("back")])
    async with ScriptedEndpoint(lambda _: next(steps)) as server:
        watched = Watched(clock, server.url, attempts=1, breaker=BreakerSettings(minimum_volume=1))
        with pytest.raises(LMServerError):
            await watched.endpoint.complete(ASK)
        await server.arrived.acquire()
        clock.advance(2)
        probe = asyncio.create_task(watched.endpoint.complete(ASK))
        await server.arrived.acquire()
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        await asyncio.wait_for(server.client_left.wait(), 5)
        assert (await watched.endpoint.complete(ASK)).text == "back"
        await watched.endpoint.close()
    assert watched.endpoint.snapshot().circuit.state == "closed"
    assert watched.endpoint.snapshot().failures == 1


async def test_the_deadline_ends_a_call_that_hangs(clock: FakeClock) -> None:
    async with ScriptedEndpoint([Hang()]) as server:
        watched = Watched(clock, server.url)
        with pytest.raises(DeadlineExceeded):
            await watched.endpoint.complete(LMRequest(ASK.messages, deadline=clock.monotonic() + 0.1))
        await asyncio.wait_for(server.client_left.wait(), 5)
        await watched.endpoint.close()
    (finished,) = watched.of(LMCallFinished)
    assert finished.error == "deadline_exceeded"


async def test_an_attempt_that_hangs_is_cut_off_and_repeated(clock: FakeClock) -> None:
    async with ScriptedEndpoint([Hang(), Reply("better now")]) as server:
        watched = Watched(clock, server.url, timeout=0.1)
        async with asyncio.timeout(20):  # less than the deadline, which must not be what ends the attempt
            reply = await watched.ask(LMRequest(ASK.messages, deadline=clock.monotonic() + 60))
        assert reply.text == "better now"
        await watched.endpoint.close()
    assert [event.error for event in watched.of(LMCallFinished)] == ["lm_timeout", None]
    assert watched.endpoint.snapshot().circuit.failures == 1


async def test_a_call_without_a_deadline_has_time_for_all_its_attempts(clock: FakeClock) -> None:
    steps: Iterator[Step] = iter([Status(503, headers={"Retry-After": "1.5"}), Reply("in time")])
    async with ScriptedEndpoint(lambda _: next(steps)) as server:
        watched = Watched(clock, server.url, timeout=1, attempts=2)
        assert (await watched.ask()).text == "in time"
        await watched.endpoint.close()


async def test_an_endpoint_that_hangs_opens_the_circuit(clock: FakeClock) -> None:
    async with ScriptedEndpoint(lambda _: Hang()) as server:
        watched = Watched(clock, server.url, timeout=0.05, attempts=1)
        for _ in range(5):
            with pytest.raises(LMTimeout):
                await watched.endpoint.complete(LMRequest(ASK.messages, deadline=clock.monotonic() + 60))
        with pytest.raises(CircuitOpen):
            await watched.endpoint.complete(ASK)
        await watched.endpoint.close()


class Hurried(Watched):
    """Asked by callers who give up after a moment of real time; on its clock, after ``takes`` seconds."""

    async def give_up(self, server: ScriptedEndpoint, *, takes: float) -> None:
        hurried = LMRequest(ASK.messages, deadline=self.clock.monotonic() + 0.1)
        call = asyncio.create_task(self.endpoint.complete(hurried))
        await server.arrived.acquire()
        self.clock.advance(takes)
        with pytest.raises(DeadlineExceeded):
            await call

    @property
    def counted(self) -> int:
        return self.endpoint.snapshot().circuit.failures


async def test_hurried_callers_count_once_nobody_was_answered_for_the_patience(clock: FakeClock) -> None:
    async with ScriptedEndpoint(lambda _: Hang()) as server:
        watched = Hurried(clock, server.url)
        for _ in range(4):
            await watched.give_up(server, takes=2)
        assert watched.counted == 0  # 8 seconds of silence
        await watched.give_up(server, takes=2)
        assert watched.counted == 1
        for _ in range(4):
            await watched.give_up(server, takes=2)
        with pytest.raises(CircuitOpen):
            await watched.endpoint.complete(ASK)
        await watched.endpoint.close()


@pytest.mark.parametrize("sign_of_life", [Reply(), Status(400), Status(429), Status(500)], ids=str)
async def test_any_answer_ends_the_silence(clock: FakeClock, sign_of_life: Step) -> None:
    steps: Iterator[Step] = iter([Hang(), sign_of_life, Hang(), Hang()])
    async with ScriptedEndpoint(lambda _: next(steps)) as server:
        watched = Hurried(clock, server.url, attempts=1)
        await watched.give_up(server, takes=9)
        with suppress(LMError):
            await watched.endpoint.complete(ASK)
        await server.arrived.acquire()
        before = watched.counted
        clock.advance(60)  # nobody asks: that is no silence
        await watched.give_up(server, takes=9)
        assert watched.counted == before
        await watched.give_up(server, takes=1)
        assert watched.counted == before + 1
        await watched.endpoint.close()


async def test_who_waits_on_after_the_last_answer_is_met_with_silence(clock: FakeClock) -> None:
    steps: Iterator[Step] = iter([Hang(), Reply()])
    async with ScriptedEndpoint(lambda _: next(steps)) as server:
        watched = Watched(clock, server.url)
        waiting = asyncio.create_task(
            watched.endpoint.complete(LMRequest(ASK.messages, deadline=clock.monotonic() + 0.2))
        )
        await server.arrived.acquire()
        await watched.endpoint.complete(ASK)
        clock.advance(10)
        with pytest.raises(DeadlineExceeded):
            await waiting
        await watched.endpoint.close()
    assert watched.endpoint.snapshot().circuit.failures == 1


async def test_a_deadline_that_has_passed_sends_nothing(clock: FakeClock) -> None:
    async with ScriptedEndpoint([]) as server:
        watched = Watched(clock, server.url)
        with pytest.raises(DeadlineExceeded):
            await watched.endpoint.complete(LMRequest(ASK.messages, deadline=clock.monotonic()))
        await watched.endpoint.close()
    assert server.requests == []


async def test_concurrency_is_limited_and_freed_by_failures_and_cancellation(clock: FakeClock) -> None:
    gate = asyncio.Event()
    steps: Iterator[Step] = iter([Hang(), Status(400), Hold(gate), Reply("last")])
    async with ScriptedEndpoint(lambda _: next(steps)) as server:
        watched = Watched(clock, server.url, limits=LimitSettings(max_concurrency=1))
        calls = [asyncio.create_task(watched.endpoint.complete(ASK)) for _ in range(4)]
        await server.arrived.acquire()
        snapshot = watched.endpoint.snapshot()
        assert (snapshot.in_flight, snapshot.waiting, len(server.requests)) == (4, 3, 1)
        calls[0].cancel()
        await server.arrived.acquire()
        await server.arrived.acquire()
        assert len(server.requests) == 3
        gate.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        await watched.endpoint.close()
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [asyncio.CancelledError, LMRequestRejected, LMResponse, LMResponse]
    assert watched.endpoint.snapshot().in_flight == 0


async def test_an_endpoint_that_is_not_up_is_asked_again(clock: FakeClock) -> None:
    async with ScriptedEndpoint([Reply("up")]) as server:
        answers = iter([None, None, server.url])
        watched = Watched(clock, lambda: next(answers))
        assert (await watched.ask()).text == "up"
        await watched.endpoint.close()
    assert [event.error for event in watched.of(LMRetryScheduled)] == ["lm_unreachable"] * 2


async def test_a_closed_endpoint_takes_no_calls(clock: FakeClock) -> None:
    async with ScriptedEndpoint([Hang()]) as server:
        watched = Watched(clock, server.url, attempts=1)
        call = asyncio.create_task(watched.endpoint.complete(ASK))
        await server.arrived.acquire()
        await watched.endpoint.close()
        with pytest.raises(LMConnectionError):
            await call
        with pytest.raises(RuntimeClosed):
            await watched.endpoint.complete(ASK)


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"this is not HTTP\r\n\r\n")
    writer.close()


async def test_an_answer_that_is_not_http_is_malformed(clock: FakeClock) -> None:
    async with await asyncio.start_server(_garbage, "127.0.0.1", 0) as server:
        watched = Watched(clock, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", attempts=1)
        with pytest.raises(LMReplyMalformed, match="not HTTP"):
            await watched.endpoint.complete(ASK)
        await watched.endpoint.close()


def everything_shown(error: BaseException, *, with_locals: bool) -> str:
    """All that a diligent logger would print of an error: its whole chain, and every frame's locals."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=with_locals)
    link: BaseException | None = error
    chain = []
    while link is not None:
        chain.append(f"{link!r} {link!s} {vars(link)!r}")
        link = link.__cause__ or link.__context__
    return "".join(shown.format()) + "".join(chain)


async def test_the_key_shows_up_nowhere(clock: FakeClock) -> None:
    echo = f"wrong key: Bearer {CANARY}"
    faults: list[Step] = [
        Status(307, echo, headers={"Location": f"https://elsewhere.example/?key={CANARY}"}),
        Status(401, echo),
        Status(400, echo),
        Status(429, echo),
        Status(500, echo),
        Raw(echo.encode()),
        Raw(b'{"error":"%b"}' % echo.encode()),
        Status(401),
        Raw(b"<html>"),
        CutConnection(),
        CutConnection(mid_body=True),
        Hang(),
    ]
    shown: list[str] = []

    async def fail(url: str, *, echoed: bool = False) -> None:
        watched = Watched(clock, url, attempts=1, timeout=0.2, api_key=SecretStr(CANARY), api_key_env="QA_KEY")
        with pytest.raises(RepertoryError) as raised:
            await watched.endpoint.complete(ASK)
        await watched.endpoint.close()
        endpoint = watched.endpoint
        # The locals of a frame that reads an answer hold the answer, and with it what the server put there.
        shown.append(everything_shown(raised.value, with_locals=not echoed))
        shown.append(f"{watched.events} {endpoint!r} {endpoint.settings!r} {endpoint._exchange._transport!r}")
        shown.append(repr(endpoint.snapshot()))

    async with ScriptedEndpoint(faults) as server:
        for fault in faults:
            await fail(server.url, echoed="wrong key" in f"{fault}")
    assert {seen.headers["authorization"] for seen in server.requests} == {f"Bearer {CANARY}"}
    await fail("http://127.0.0.1:1")
    async with await asyncio.start_server(_garbage, "127.0.0.1", 0) as garbage:
        await fail(f"http://127.0.0.1:{garbage.sockets[0].getsockname()[1]}")
    assert len(shown) == 3 * (len(faults) + 2)
    assert any("wrong key: Bearer [secret]" in text for text in shown)  # the quotes are there to be searched
    leaks = [line for text in shown for line in text.splitlines() if CANARY in line]
    assert leaks == []


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"base_url": "api.example.com/v1"}, "expected http"),
        ({"base_url": "https://me:hush@api.example.com/v1"}, "holds a user name or password"),
        ({"api_key": SecretStr("sk-canary\n")}, "the API key in QA_KEY is empty or has characters"),
        ({"api_key": SecretStr("")}, "the API key in QA_KEY is empty"),
        ({"timeout": 0}, "timeout = 0: expected a number above 0"),
        ({"attempts": 0}, "attempts = 0"),
        ({"context_window": -1}, "context_window = -1"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], complaint: str) -> None:
    usual: dict[str, Any] = {"base_url": "https://api.example.com/v1", "api_key_env": "QA_KEY"}
    with pytest.raises(ConfigError, match=complaint) as refused:
        EndpointSettings("qa", "m-1", **(usual | settings))
    assert "hush" not in str(refused.value)
    assert "sk-canary" not in str(refused.value)
