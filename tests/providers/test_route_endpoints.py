"""Routes over real endpoints and real sockets."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from repertory.clock import SystemClock
from repertory.errors import DeadlineExceeded, LMRequestRejected, LMServerError, RepertoryError
from repertory.events import CallHedged, Event, FellBack, Hooks, LMCallFinished
from repertory.providers.breaker import BreakerSettings
from repertory.providers.candidate import Candidate
from repertory.providers.endpoint import Endpoint
from repertory.providers.messages import End, LMRequest, MediaPart, Message, TextDelta, TextPart
from repertory.providers.policies import Fallback, Hedged, LeastLatency, Policy, Weighted
from repertory.providers.route import Route
from repertory.providers.settings import EndpointSettings
from repertory.providers.wire import Quirks
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
from tests.providers.stand_in import ASK

NAMES = ("a", "b", "c")
DONE = b"data: [DONE]\n\n"
FAULTS: Sequence[Step] = (
    CutConnection(),
    CutConnection(mid_body=True),
    Status(500),
    Status(401),
    Status(404),
    Status(408),
    Status(429),
    Raw(b"<html>", content_type="text/html"),
    Raw(b'{"choices":'),
    Raw(b'{"error":{"message":"overloaded"}}'),
)


class Watched:
    """A route over an endpoint for each server, and the events of all."""

    def __init__(
        self, servers: Sequence[ScriptedEndpoint], policy: Policy, share: float, settings: dict[str, Any]
    ) -> None:
        self.events: list[Event] = []
        hooks, clock = Hooks([self.events.append]), SystemClock()
        self.endpoints = [
            Endpoint(
                EndpointSettings(name, "m", server.url, **{"attempts": 1} | settings),
                clock=clock,
                hooks=hooks,
                rng=Random(1),
            )
            for name, server in zip(NAMES, servers, strict=False)
        ]
        self.servers = servers
        candidates: list[Candidate] = list(self.endpoints)
        self.route = Route("qa", candidates, policy, clock=clock, hooks=hooks, rng=Random(1), share=share)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def watched(
    *scripts: Any, policy: Policy | None = None, share: float = 1.0, **settings: Any
) -> AsyncIterator[Watched]:
    """A route over servers with these scripts; at the end no call may be in flight at any endpoint."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(ScriptedEndpoint(script)) for script in scripts]
        here = Watched(servers, policy or Fallback(), share, settings)
        for endpoint in here.endpoints:
            stack.push_async_callback(endpoint.close)
        yield here
        assert [endpoint.snapshot().in_flight for endpoint in here.endpoints] == [0] * len(servers)


# --- fallback ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault}"[:40])
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_an_endpoint_that_fails_is_stood_in_for(fault: Step, streams: bool) -> None:
    answer = Streamed((chunk(content="from b"), chunk("stop"), DONE)) if streams else Reply("from b")
    async with watched([fault], [answer]) as here:
        if streams:
            async with here.route.stream(ASK) as deltas:
                said = "".join([delta.text async for delta in deltas if isinstance(delta, TextDelta)])
        else:
            said = (await here.route.complete(ASK)).text
        assert said == "from b"
        (moved,) = here.of(FellBack)
        failed, _ = here.of(LMCallFinished)
        assert (moved.endpoint, moved.to, moved.error) == ("a", "b", failed.error)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refused_content_is_not_carried_from_door_to_door(status: int) -> None:
    async with watched([Status(status)], [Reply()]) as here:
        with pytest.raises(LMRequestRejected):
            await here.route.complete(ASK)
        assert here.servers[1].requests == []


async def test_who_cannot_heed_the_request_is_passed_over_without_a_call() -> None:
    async with watched([], quirks=Quirks(lacks=("seed",))) as limited, watched([], [Reply("from b")]) as here:
        listed: list[Candidate] = [limited.endpoints[0], here.endpoints[1]]
        lm = Route("qa", listed, Fallback(), clock=SystemClock(), hooks=Hooks(), rng=Random(1))
        assert (await lm.complete(replace(ASK, seed=7))).text == "from b"
        assert limited.servers[0].requests == []


async def test_what_a_protocol_cannot_carry_is_known_before_the_call() -> None:
    sound = Message("user", (TextPart("What is it?"), MediaPart("audio", "audio/aiff", b"x")))
    async with watched([]) as here:
        misfit = here.endpoints[0].misfit(LMRequest((sound,)))
        with pytest.raises(LMRequestRejected) as refused:
            await here.route.complete(LMRequest((sound,)))
    assert str(misfit) == str(refused.value)


async def test_an_open_circuit_is_no_call_and_the_route_goes_round_it() -> None:
    breaker = BreakerSettings(minimum_volume=3, open_seconds=60, open_seconds_cap=60)
    for policy in (Fallback(), Weighted({"a": 1}), LeastLatency()):
        async with watched(lambda _: Status(500), lambda _: Reply(), policy=policy, breaker=breaker) as here:
            first = here.endpoints[0]
            while first.obstacle() is None:
                with pytest.raises(LMServerError):
                    await first.complete(ASK)
            asked = len(here.servers[0].requests)
            for _ in range(5):
                await here.route.complete(ASK)
            assert len(here.servers[0].requests) == asked
            assert "its circuit is open" in (first.obstacle() or "")


async def test_when_all_endpoints_have_failed_the_error_tells_of_each() -> None:
    async with watched([Status(503, "busy")], [Status(401, "who are you?")], [CutConnection()]) as here:
        with pytest.raises(RepertoryError) as failed:
            await here.route.complete(ASK)
    assert failed.value.code == "lm_unreachable"
    for words in ("a: answered 503: busy", "b: answered 401: who are you?", "c: the connection failed"):
        assert words in failed.value.message


async def test_the_callers_deadline_bounds_all_endpoints_together() -> None:
    async with watched(lambda _: Hang(), lambda _: Reply()) as here:
        deadline = SystemClock().monotonic() + 0.05
        with pytest.raises(DeadlineExceeded):
            await here.route.complete(replace(ASK, deadline=deadline))
        assert here.servers[1].requests == []


async def test_a_share_keeps_an_endpoint_that_hangs_from_using_up_the_deadline() -> None:
    async with watched(lambda _: Hang(), lambda _: Reply("from b"), share=0.01) as here:
        deadline = SystemClock().monotonic() + 10
        assert (await here.route.complete(replace(ASK, deadline=deadline))).text == "from b"
        await here.servers[0].client_left.wait()
        assert here.of(FellBack)[0].error == "deadline_exceeded"


async def test_cancelling_the_caller_closes_the_socket() -> None:
    async with watched(lambda _: Hang(), lambda _: Reply()) as here:
        call = asyncio.create_task(here.route.complete(ASK))
        await here.servers[0].arrived.acquire()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await here.servers[0].client_left.wait()
        assert here.servers[1].requests == []


async def test_after_its_first_delta_a_stream_has_no_stand_in() -> None:
    async with watched([Streamed((chunk(content="half"),), cut=True)], [Reply()]) as here:
        with pytest.raises(RepertoryError) as failed:
            async with here.route.stream(ASK) as deltas:
                assert [delta async for delta in deltas if isinstance(delta, End)]
        assert failed.value.code == "lm_unreachable"
        assert here.servers[1].requests == []


async def test_leaving_a_stream_early_closes_the_socket() -> None:
    never = asyncio.Event()
    async with watched([Streamed((chunk(content="half"), chunk("stop")), until=never)], []) as here:
        async with here.route.stream(ASK) as deltas:
            assert await anext(deltas) == TextDelta("half")
        await here.servers[0].client_left.wait()


# --- a second request ----------------------------------------------------------------------------------------


def hanging_after(answers: int) -> Any:
    left = iter([Reply("from a")] * answers)
    return lambda _: next(left, Hang())


async def test_the_late_endpoints_socket_is_closed_when_the_second_has_answered() -> None:
    async with watched(hanging_after(20), lambda _: Reply("from b"), policy=Hedged(Fallback())) as here:
        for _ in range(20):
            await here.route.complete(ASK)
        assert here.servers[1].requests == []
        assert (await here.route.complete(ASK)).text == "from b"
        await here.servers[0].client_left.wait()
        assert here.of(CallHedged) == [CallHedged("qa", "a", "b", True)]
        finished = [(each.endpoint, each.error) for each in here.of(LMCallFinished)[20:]]
        assert sorted(finished, key=str) == [("a", "cancelled"), ("b", None)]  # both were sent, both are told


async def test_the_second_endpoints_socket_is_closed_when_the_first_has_answered_after_all() -> None:
    late = asyncio.Event()
    left = iter([Reply()] * 20)

    async with watched(
        lambda _: next(left, Hold(late, Reply("late"))), lambda _: Hang(), policy=Hedged(Fallback())
    ) as here:
        for _ in range(20):
            await here.route.complete(ASK)
        call = asyncio.create_task(here.route.complete(ASK))
        await here.servers[1].arrived.acquire()
        late.set()
        assert (await call).text == "late"
        await here.servers[1].client_left.wait()
        assert here.of(CallHedged) == [CallHedged("qa", "a", "b", False)]


async def test_cancelling_the_caller_closes_both_sockets() -> None:
    async with watched(hanging_after(20), lambda _: Hang(), policy=Hedged(Fallback())) as here:
        for _ in range(20):
            await here.route.complete(ASK)
        call = asyncio.create_task(here.route.complete(ASK))
        await here.servers[1].arrived.acquire()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        for server in here.servers:
            await server.client_left.wait()


# --- many calls ----------------------------------------------------------------------------------------------

LASTING = (Status(401), Status(404))  # those open a circuit at once, or are worth no second call


def faulty(seed: int, share: float) -> Any:
    """Answers with the number it was asked, or, for that share of the requests, with a passing fault."""
    rng = Random(seed)
    faults = [fault for fault in FAULTS if fault not in LASTING]

    def step(seen: Seen) -> Step:
        return rng.choice(faults) if rng.random() < share else Reply(f"answer to {seen.last_message}")

    return step


async def lost_or_doubled(calls: int, policy: Policy) -> int:
    """How many of so many calls, a tenth of whose requests fail, have no answer or somebody else's."""
    wrong: Counter[str] = Counter()

    async with watched(*[faulty(seed, 0.1) for seed in range(3)], policy=policy, attempts=2) as here:

        async def call(number: int) -> None:
            reply = await here.route.complete(LMRequest((Message("user", str(number)),)))
            wrong["doubled"] += reply.text != f"answer to {number}"
            wrong["answered"] += 1

        async def caller(first: int) -> None:
            for number in range(first, calls, 50):
                await call(number)

        await asyncio.gather(*[caller(first) for first in range(50)])
        ended = here.of(LMCallFinished)
        sent = sum(len(server.requests) for server in here.servers)
        assert len(ended) >= sent >= calls
        assert here.route.snapshot().calls == calls
    return wrong["doubled"] + calls - wrong["answered"]


@pytest.mark.parametrize(
    "policy",
    [Fallback(), Weighted({"a": 2, "b": 1}), Hedged(LeastLatency())],
    ids=lambda each: type(each).__name__,
)
async def test_under_faults_every_call_has_its_own_answer(policy: Policy) -> None:
    assert await lost_or_doubled(600, policy) == 0


@pytest.mark.slow
async def test_under_faults_ten_thousand_calls_have_their_own_answers() -> None:
    assert await lost_or_doubled(10_000, Hedged(LeastLatency())) == 0
