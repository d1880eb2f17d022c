"""Every protocol, every fault, whole replies and streams: a call has one documented outcome and leaves nothing."""

import asyncio
from random import Random

import pytest
from pydantic import SecretStr

from repertory.clock import SystemClock
from repertory.errors import RepertoryError
from repertory.events import Event, Hooks, LMCallFinished, LMRetryScheduled
from repertory.providers.endpoint import Endpoint
from repertory.providers.messages import End, LMRequest, LMResponse, Message, TextDelta
from repertory.providers.settings import EndpointSettings
from repertory.testing import FakeClock
from tests.faulty.dialects import DIALECTS, USAGE, Dialect
from tests.faulty.faults import (
    DEADLINE,
    FAULTS,
    JITTER,
    NOW,
    TEXT,
    Fault,
    Outcome,
    Raises,
    Repeats,
    Replies,
    Scene,
)
from tests.faulty.server import FaultyServer, Request, Send
from tests.providers.conftest import let_time_pass

CASES = [
    pytest.param(fault, dialect, streamed, outcome, id=f"{name}-{speaks}-{'stream' if streamed else 'complete'}")
    for name, fault in FAULTS.items()
    for speaks, dialect in DIALECTS.items()
    for streamed in (False, True)
    if (outcome := fault.outcome(dialect, streamed=streamed)) is not None
]


class Call:
    """One call, and what became of it."""

    def __init__(self, server: FaultyServer, scene: Scene, fault: Fault) -> None:
        self.clock = SystemClock() if fault.waits_in_limiter else FakeClock(time=NOW)
        self.events: list[Event] = []
        self._scene = scene
        settings = EndpointSettings(
            "qa",
            "m-1",
            f"{server.url}/v1",
            api_key=SecretStr("key"),
            protocol=scene.dialect.protocol,
            attempts=fault.attempts,
            timeout=fault.timeout,
        )
        self.endpoint = Endpoint(settings, clock=self.clock, hooks=Hooks([self.events.append]), rng=Random(1))
        self.deadline = self.clock.monotonic() + DEADLINE

    async def outcome(self) -> LMResponse | RepertoryError:
        try:
            if isinstance(self.clock, FakeClock):
                return await let_time_pass(self.clock, self._reply())
            return await self._reply()
        except RepertoryError as error:
            return error

    async def _reply(self) -> LMResponse:
        request = LMRequest((Message("user", "Capital of France?"),), deadline=self.deadline)
        if not self._scene.streamed:
            return await self.endpoint.complete(request)
        said: list[str] = []
        async with self.endpoint.stream(request) as deltas:
            async for delta in deltas:
                if isinstance(delta, TextDelta):
                    said.append(delta.text)
                    self._scene.passed_on.set()
        assert isinstance(delta, End)
        assert "".join(said) == delta.response.text
        return delta.response


def tasks() -> set["asyncio.Task[object]"]:
    return {task for task in asyncio.all_tasks() if not task.done()}


@pytest.mark.parametrize(("fault", "dialect", "streamed", "expected"), CASES)
async def test_a_fault_has_one_outcome_and_leaves_nothing(
    fault: Fault, dialect: Dialect, streamed: bool, expected: Outcome
) -> None:
    scene = Scene(dialect, streamed, asyncio.Event())
    plays = iter((*fault.plays(scene), (Send(scene.good()),)))
    async with FaultyServer(plays) as server:
        before = tasks()
        call = Call(server, scene, fault)
        outcome = await call.outcome()
        await call.endpoint.close()
        await server.until_quiet()
        assert tasks() == before
        assert not isinstance(call.clock, FakeClock) or call.clock.sleeping == 0
        seen = server.requests
    _check(call, outcome, expected, seen, fault)
    snapshot = call.endpoint.snapshot()
    assert (snapshot.calls, snapshot.in_flight, snapshot.limits.callers) == (1, 0, 0)
    assert snapshot.failures == isinstance(outcome, RepertoryError)
    assert len([event for event in call.events if isinstance(event, LMCallFinished)]) == len(seen)
    assert call.clock.monotonic() < call.deadline
    assert all(request.streamed == streamed for request in seen)


def _check(
    call: Call, outcome: LMResponse | RepertoryError, expected: Outcome, seen: list[Request], fault: Fault
) -> None:
    retries = [event for event in call.events if isinstance(event, LMRetryScheduled)]
    match expected:
        case Raises(code, requests):
            assert isinstance(outcome, RepertoryError), outcome
            assert outcome.code == code, outcome
            assert len(seen) == requests
        case Repeats(code, at_least):
            _check_reply(outcome)
            assert [event.error for event in retries] == [code] * (len(seen) - 1)
            assert len(seen) == fault.attempts
            assert at_least <= retries[0].delay < at_least + JITTER
        case Replies():
            _check_reply(outcome)
            assert len(seen) == 1


def _check_reply(outcome: LMResponse | RepertoryError) -> None:
    assert isinstance(outcome, LMResponse), outcome
    assert (outcome.text, outcome.finish_reason) == (TEXT, "stop")
    assert (outcome.usage, outcome.model) == (USAGE, "m")
