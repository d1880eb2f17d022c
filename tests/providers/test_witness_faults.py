"""Every protocol, every fault: a witness is told of each attempt before it is sent, and once how it ended.

What it is told agrees with what a budget is charged, and is the same where no account pays: there is one rule.
"""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from random import Random

import pytest
from pydantic import SecretStr

from repertory.clock import SystemClock
from repertory.errors import RepertoryError
from repertory.events import BudgetCharged, Event, Hooks
from repertory.providers.budget import TOLD, BudgetSettings
from repertory.providers.endpoint import Endpoint
from repertory.providers.messages import TERMS, End, LMRequest, LMResponse, Message, Terms, TextDelta, Usage
from repertory.providers.prices import Price
from repertory.providers.settings import EndpointSettings
from repertory.store import AccountLimit, MemoryLedger
from repertory.store.ledger import in_dollars
from repertory.testing import FakeClock
from tests.faulty.dialects import DIALECTS, RESPONSES, USAGE, Dialect
from tests.faulty.faults import DEADLINE, FAULTS, NOW, Fault, Scene
from tests.faulty.server import FaultyServer, Play, Request, Send
from tests.providers.conftest import let_time_pass
from tests.providers.recorder import Entry, Recorder

PRICE = Price.flat(input=Decimal(1), output=Decimal(4))
COST = Decimal("0.000039")  # of what every reply is counted as: 11 tokens read, 7 written


def comes_as_stream(dialect: Dialect, *, streamed: bool) -> bool:
    """Whether the server is asked for a stream: where answers can be fetched, witnessed replies come as such."""
    return streamed or dialect is RESPONSES


CASES = [
    pytest.param(fault, dialect, streamed, id=f"{name}-{speaks}-{'stream' if streamed else 'complete'}")
    for name, fault in FAULTS.items()
    for speaks, dialect in DIALECTS.items()
    for streamed in (False, True)
    if fault.outcome(dialect, streamed=comes_as_stream(dialect, streamed=streamed)) is not None
]


class Call:
    """One call with a witness at a server that does what a fault says.

    Attributes:
        recorder: The witness.
        unheard_of: Requests that reached the server before they had been written down.
    """

    def __init__(self, fault: Fault, dialect: Dialect, *, streamed: bool, terms: Terms) -> None:
        self.recorder = Recorder()
        self.events: list[Event] = []
        self.unheard_of = 0
        self._clock = SystemClock() if fault.waits_in_limiter else FakeClock(time=NOW)
        self._fault = fault
        self._dialect = dialect
        self._streamed = streamed
        self._terms = terms
        self._scene = Scene(dialect, comes_as_stream(dialect, streamed=streamed), asyncio.Event())
        if not streamed:
            self._scene.passed_on.set()  # nothing is ever passed on of what is put together

    @property
    def charged(self) -> list[BudgetCharged]:
        """What became of the account's reservations."""
        return [event for event in self.events if isinstance(event, BudgetCharged)]

    async def made(self) -> LMResponse | RepertoryError:
        """Make the call; nothing may be left of it."""
        plays = iter((*self._fault.plays(self._scene), (Send(self._scene.good()),)))
        async with FaultyServer(lambda request: self._play(request, plays)) as server:
            ledger = MemoryLedger()
            await ledger.limit("team", AccountLimit.of(dollars=Decimal(1)))
            endpoint = self._endpoint(server.url, ledger)
            outcome = await self._outcome(endpoint)
            await endpoint.close()
            await server.until_quiet()
            assert (await ledger.balance("team")).reservations == 0
            assert len(server.requests) == len(self.recorder.entries)
        snapshot = endpoint.snapshot()
        assert (snapshot.in_flight, snapshot.limits.in_flight) == (0, 0)
        return outcome

    def _play(self, request: Request, plays: Iterator[Play]) -> Play:
        last = self.recorder.entries[-1]
        sent_key = request.headers.get("idempotency-key")
        has_header = self._dialect.protocol.IDEMPOTENCY_HEADER is not None
        if not last.written or sent_key != (last.intent.key if has_header else None):
            self.unheard_of += 1
        return next(plays)

    def _endpoint(self, url: str, ledger: MemoryLedger) -> Endpoint:
        settings = EndpointSettings(
            "qa",
            "m-1",
            f"{url}/v1",
            api_key=SecretStr("key"),
            protocol=self._dialect.protocol,
            attempts=self._fault.attempts,
            timeout=self._fault.timeout,
            budget=BudgetSettings(price=PRICE),
        )
        hooks = Hooks([self.events.append])
        return Endpoint(settings, clock=self._clock, hooks=hooks, rng=Random(1), ledger=ledger)

    async def _outcome(self, endpoint: Endpoint) -> LMResponse | RepertoryError:
        try:
            if isinstance(self._clock, FakeClock):
                return await let_time_pass(self._clock, self._reply(endpoint))
            return await self._reply(endpoint)
        except RepertoryError as error:
            return error

    async def _reply(self, endpoint: Endpoint) -> LMResponse:
        request = LMRequest(
            (Message("user", "Capital of France?"),),
            max_tokens=100,
            deadline=self._clock.monotonic() + DEADLINE,
            terms=self._terms,
            witness=self.recorder,
        )
        if not self._streamed:
            return await endpoint.complete(request)
        async with endpoint.stream(request) as deltas:
            async for delta in deltas:
                if isinstance(delta, TextDelta):
                    self._scene.passed_on.set()
        assert isinstance(delta, End)
        return delta.response


@pytest.mark.parametrize(("fault", "dialect", "streamed"), CASES)
async def test_each_attempt_is_told_of_before_it_is_sent_and_settled_once(
    fault: Fault, dialect: Dialect, streamed: bool
) -> None:
    paid = Call(fault, dialect, streamed=streamed, terms=Terms(accounts=("team",)))
    outcome = await paid.made()
    entries = paid.recorder.entries
    assert paid.unheard_of == 0
    assert paid.recorder.attempts == [("k-1", number + 1) for number in range(len(entries))]
    _check_agreement(entries, paid.charged)
    if isinstance(outcome, LMResponse):
        last = entries[-1]
        assert (last.ending, last.usage, last.cost, outcome.cost) == ("paid", USAGE, COST, COST)
        assert last.ids == ([outcome.id] if comes_as_stream(dialect, streamed=streamed) else [])
    assert all(entry.ending != "paid" for entry in entries[: None if isinstance(outcome, RepertoryError) else -1])
    free = Call(fault, dialect, streamed=streamed, terms=TERMS)
    await free.made()
    assert free.charged == []
    assert _endings(free.recorder) == _endings(paid.recorder)


def _check_agreement(entries: list[Entry], charged: list[BudgetCharged]) -> None:
    told = {str(ending): each for ending, each in TOLD.items()}
    assert [(entry.ending, entry.cost) for entry in entries] == [
        (told[event.ending], in_dollars(event.nano_dollars)) for event in charged
    ]
    for entry in entries:
        if entry.ending == "uncertain":
            assert entry.cost == in_dollars(entry.intent.nano_most or 0)
        assert entry.usage == (USAGE if entry.ending == "paid" else Usage())


def _endings(recorder: Recorder) -> list[tuple[object, Decimal | None]]:
    return [(entry.ending, entry.cost) for entry in recorder.entries]
