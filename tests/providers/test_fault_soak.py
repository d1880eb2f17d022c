"""Many calls at a server that fails at random: each ends once, in time, and leaves nothing behind."""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from repertory.clock import SystemClock
from repertory.errors import RepertoryError
from repertory.events import Event, Hooks, LMCallFinished, LMRetryScheduled
from repertory.providers.breaker import BreakerSettings
from repertory.providers.budget import BudgetSettings
from repertory.providers.endpoint import Endpoint
from repertory.providers.limits import LimitSettings
from repertory.providers.messages import End, LMRequest, Message, TextDelta
from repertory.providers.settings import EndpointSettings
from repertory.store import MemoryLedger
from tests.faulty.dialects import DIALECTS, Dialect
from tests.faulty.http import EVENTS, LAST_CHUNK, answer, chunk, head, in_chunks
from tests.faulty.server import Cut, Drip, FaultyServer, Hold, Pause, Play, Request, Send, Trickle
from tests.providers.test_faults import tasks

AT_ONCE = 100
SLACK = 0.05  # seconds by which the timers of a call may be later than its deadline, being set after it was read
GRACE = 200  # turns of the loop that a call may then take to end, however busy the loop is
FAILING = 0.4  # share of requests that are not answered well
DOCUMENTED = {
    *("lm_unreachable", "lm_timeout", "lm_server_error", "lm_rate_limited", "lm_reply_malformed"),
    *("circuit_open", "deadline_exceeded"),
}


def text_for(request: Request) -> str:
    """The words that only the asker of this request may be given: they end as its question does."""
    # The last text of the conversation, wherever a protocol puts it.
    asked = request.body.get("messages") or request.body.get("input")
    question = asked[-1]["content"] if asked else request.body["contents"][-1]["parts"][0]["text"]
    return f"answer {question.removeprefix('question ')}"


class Weather:
    """What the server does to each request, drawn from a seed."""

    def __init__(self, dialect: Dialect, rng: Random) -> None:
        self._dialect = dialect
        self._rng = rng
        self.well = 0  # requests that were answered well from beginning to end
        self._faults: tuple[Callable[[bytes, bool], Play], ...] = (
            lambda good, _: (Cut(),),
            lambda good, _: (Cut(reset=True),),
            lambda good, _: (Send(good[: len(good) // 3]), Cut()),
            lambda good, _: (Send(good[: 2 * len(good) // 3]), Pause(0.002), Cut(reset=True)),
            lambda good, _: (Send(good[: len(good) // 2]), Hold()),
            lambda good, _: (Hold(),),
            lambda good, _: (Send(b"HTTP/1.1 200 OK\r\n"), Trickle(b"X-Slow: loris\r\n")),
            lambda good, _: (Send(answer(dialect.error("overloaded", "busy"), 500)),),
            lambda good, _: (
                Send(answer(dialect.error("overloaded", "busy"), 503, headers={"Retry-After": "0.05"})),
            ),
            lambda good, _: (
                Send(answer(dialect.error("rate limit", "slow"), 429, headers={"retry-after-ms": "20"})),
            ),
            lambda good, _: (Send(answer(b"<html>", 502, "text/html")),),
            lambda good, _: (Send(answer(b'{"half":', 200)),),
            lambda good, streamed: (
                (Send(in_chunks([dialect.opening(), dialect.error_event("overloaded", "busy")])),)
                if streamed
                else (Send(answer(dialect.error("overloaded", "busy"))),)
            ),
            lambda good, streamed: (
                (Send(head(content_type=EVENTS) + chunk(dialect.word("an")) + chunk(b"data: {\n\n") + LAST_CHUNK),)
                if streamed
                else (Send(answer(b"[]")),)
            ),
            lambda good, _: (Send(b"no HTTP at all\r\n\r\n"), Cut()),
        )

    def __call__(self, request: Request) -> Play:
        rng, dialect, text = self._rng, self._dialect, text_for(request)
        good = in_chunks(dialect.stream(*text.partition(" "))) if request.streamed else answer(dialect.reply(text))
        late = (Pause(rng.uniform(0, 0.02)),) if rng.random() < 0.3 else ()
        if rng.random() < FAILING:
            return (*late, *rng.choice(self._faults)(good, request.streamed))
        self.well += 1
        return (*late, Drip(good, 7) if rng.random() < 0.1 else Send(good))


class Soak:
    """Calls with deadlines and cancellations drawn from a seed, and what became of them."""

    budget = BudgetSettings()

    def __init__(self, dialect: Dialect, seed: int, *, adaptive: bool) -> None:
        self._rng = Random(seed)
        self._dialect = dialect
        self._adaptive = adaptive  # whether timeouts and 429s let fewer calls into flight; the others then wait
        self._clock = SystemClock()
        self.weather = Weather(dialect, Random(seed + 1))
        self.ledger = MemoryLedger()
        self.outcomes: Counter[str] = Counter()
        self.events: list[Event] = []
        self.late: list[int] = []
        self.unheard: list[dict[str, Any]] = []  # what nobody has caught

    async def run(self, calls: int) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.unheard.append(context))
        async with FaultyServer(self.weather) as server:
            before = tasks()
            endpoint = self._endpoint(server.url)
            numbers = iter(range(calls))

            async def caller() -> None:
                for number in numbers:
                    await self._one(endpoint, number)

            await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
            snapshot = endpoint.snapshot()
            await endpoint.close()
            await server.until_quiet()
            assert tasks() == before
            requests = len(server.requests)
        gc.collect()  # a future whose error nobody has looked at says so when it goes
        assert self.unheard == []
        assert self.late == []
        assert self.outcomes.total() == snapshot.calls == calls
        assert (snapshot.in_flight, snapshot.limits.callers) == (0, 0)
        self._check_counts(requests)

    def request(self, text: str, deadline: float) -> LMRequest:
        """What is asked."""
        return LMRequest((Message("user", text),), deadline=deadline)

    def _check_counts(self, requests: int) -> None:
        attempts = Counter(event.error for event in self.events if isinstance(event, LMCallFinished))
        # What failed before it was sent, or was cut off before it arrived, the server has not seen; but nothing is
        # sent behind the endpoint's back.
        unseen = attempts.total() - requests
        cut_off = ("cancelled", "deadline_exceeded", "lm_timeout", "lm_unreachable")
        assert 0 <= unseen <= sum(attempts[code] for code in cut_off)
        assert self.outcomes["reply"] == attempts[None] <= self.weather.well
        retries = sum(isinstance(event, LMRetryScheduled) for event in self.events)
        assert retries > 0
        assert set(self.outcomes) <= {"reply", "cancelled", *DOCUMENTED}

    def _endpoint(self, url: str) -> Endpoint:
        settings = EndpointSettings(
            "soak",
            "m",
            url,
            protocol=self._dialect.protocol,
            budget=self.budget,
            timeout=0.25,
            limits=LimitSettings(max_concurrency=AT_ONCE * 4 // 5, adaptive=self._adaptive),
            breaker=BreakerSettings(window_calls=50, minimum_volume=20, failure_rate=0.8, open_seconds=0.02),
        )
        hooks = Hooks([self.events.append])
        return Endpoint(settings, clock=self._clock, hooks=hooks, rng=Random(3), ledger=self.ledger)

    async def _one(self, endpoint: Endpoint, number: int) -> None:
        rng = self._rng
        deadline = self._clock.monotonic() + rng.choice((0.02, 0.1, 0.5, 1.0))
        request = self.request(f"question {number}", deadline)
        call = asyncio.create_task(_asked(endpoint, request, rng.random() < 0.5))
        loop = asyncio.get_running_loop()
        # The loop's time is the endpoint's: see `SystemClock`.
        timers = [loop.call_at(deadline + SLACK, self._due, call, number, GRACE)]
        if rng.random() < 0.1:
            timers.append(loop.call_later(rng.uniform(0, 0.1), call.cancel))
        await asyncio.wait([call])
        for timer in timers:
            timer.cancel()
        self._note(call, number)

    def _due(self, call: "asyncio.Task[str]", number: int, turns: int) -> None:
        """The call's deadline has come; look whether it has ended when the loop has gone round a few times."""
        if call.done():
            return
        if turns == 0:
            self.late.append(number)
        else:
            asyncio.get_running_loop().call_soon(self._due, call, number, turns - 1)

    def _note(self, call: "asyncio.Task[str]", number: int) -> None:
        if call.cancelled():
            self.outcomes["cancelled"] += 1
        elif error := call.exception():
            if not isinstance(error, RepertoryError):
                raise error
            self.outcomes[error.code] += 1
        else:
            assert call.result() == f"answer {number}"
            self.outcomes["reply"] += 1


async def _asked(endpoint: Endpoint, request: LMRequest, streamed: bool) -> str:
    if not streamed:
        return (await endpoint.complete(request)).text
    said: list[str] = []
    async with endpoint.stream(request) as deltas:
        async for delta in deltas:
            if isinstance(delta, TextDelta):
                said.append(delta.text)
    assert isinstance(delta, End)
    return "".join(said)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("name", DIALECTS)
async def test_every_call_ends_once_in_time_and_leaves_nothing(name: str, *, adaptive: bool) -> None:
    await Soak(DIALECTS[name], seed=11, adaptive=adaptive).run(calls=150)


@pytest.mark.slow
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("name", DIALECTS)
async def test_of_ten_thousand_calls_each_ends_once_in_time_and_leaves_nothing(
    name: str, *, adaptive: bool
) -> None:
    await Soak(DIALECTS[name], seed=12, adaptive=adaptive).run(calls=1_500)
