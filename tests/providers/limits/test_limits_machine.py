"""Limits under any history of calls, ends, cancellations and pauses, held against what was seen from outside."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import DataObject, booleans, data, integers, just, none, sampled_from

from repertory.errors import DeadlineExceeded, EndpointOverloaded, LMRateLimited, LMTimeout
from repertory.providers.limits import Limits, LimitSettings, LimitsSnapshot, Turn
from repertory.providers.messages import Priority
from tests.providers.limits.conftest import settled
from tests.virtual_time import LoopClock, VirtualTimeLoop

ALMOST = 0.01  # seconds; timers are as coarse as that at the most


@dataclass(eq=False)
class Call:
    """One caller's wait, and what came of it."""

    caller: str
    priority: Priority
    tokens: int
    deadline: float
    turn: Turn | None = None
    refused: bool = False
    task: "asyncio.Task[None]" = field(init=False)


class Admission(RuleBasedStateMachine):
    """Invariants: ``lanes`` holds, in order, the calls that wait, ``held`` those that have a turn."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.complaints: list[object] = []
        self.lanes: dict[tuple[str, Priority], deque[Call]] = {}
        self.held: list[Call] = []
        self.given_at: list[float] = []
        self.flows: list[tuple[float, float]] = []  # when, and by how many tokens, the bucket's level was changed
        self.paused_until = 0.0

    @initialize(
        concurrency=none() | integers(1, 4),
        requests=none() | sampled_from([1, 30, 90, 600]),
        tokens=none() | sampled_from([600, 6000]),
        adaptive=booleans(),
        waiting=just(1000) | integers(0, 5),
    )
    def make(
        self, concurrency: int | None, requests: float | None, tokens: float | None, adaptive: bool, waiting: int
    ) -> None:
        self.settings = LimitSettings(concurrency, requests, tokens, adaptive, waiting)
        loop = self.runner.get_loop()
        loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self.clock = LoopClock()

        async def make() -> Limits:
            return Limits(self.settings, self.clock)

        self.limits = self.runner.run(make())

    async def snapshot(self) -> LimitsSnapshot:
        return self.limits.snapshot()

    @property
    def now(self) -> float:
        return self.runner.get_loop().time()

    async def wait(self, call: Call) -> None:
        lane = self.lanes.setdefault((call.caller, call.priority), deque())
        lane.append(call)
        try:
            turn = await self.limits.acquire(call.deadline, call.caller, call.priority, call.tokens)
        except (DeadlineExceeded, EndpointOverloaded):
            call.refused = True
            lane.remove(call)
        except asyncio.CancelledError:
            lane.remove(call)
            raise
        else:
            assert lane.popleft() is call, "who came first of the caller's was overtaken"
            self.take(call, turn)

    def take(self, call: Call, turn: Turn) -> None:
        """Check that a turn was due when it was given."""
        now = self.now
        assert now < call.deadline + ALMOST
        assert now >= self.paused_until - ALMOST
        size = self.settings.tokens_per_minute
        if size is not None:
            assert self.level(size) >= min(call.tokens, size) - 1 - ALMOST * size
            self.flows.append((now, -call.tokens))
        call.turn = turn
        self.held.append(call)
        self.given_at.append(now)

    def level(self, size: float) -> float:
        """What the token bucket holds, recounted from the beginning."""
        level, at = size, 0.0
        for when, change in [*self.flows, (self.now, 0.0)]:
            level = min(size, min(size, level + (when - at) * size / 60) + change)
            at = when
        return level

    @rule(
        caller=sampled_from("abc"),
        priority=sampled_from(["interactive", "normal", "batch"]),
        tokens=sampled_from([0, 10, 300, 2000]),
        patience=sampled_from([0.5, 5.0, 60.0, 1e6]),
        calls=integers(1, 4),
    )
    def call(self, caller: str, priority: Priority, tokens: int, patience: float, calls: int) -> None:
        async def start() -> None:
            for _ in range(calls):
                call = Call(caller, priority, tokens, self.now + patience)
                call.task = asyncio.create_task(self.wait(call))
            await settled()

        self.runner.run(start())

    @precondition(lambda self: self.held)
    @rule(
        data=data(),
        used=none() | sampled_from([0, 5, 4000]),
        outcome=sampled_from(["good", "good", "slow", "429"]),
    )
    def end(self, data: DataObject, used: int | None, outcome: str) -> None:
        call = self.held.pop(data.draw(integers(0, len(self.held) - 1)))
        self.runner.run(self.finish(call, used, outcome))

    async def finish(self, call: Call, used: int | None, outcome: str) -> None:
        assert call.turn is not None
        error = {"429": LMRateLimited("429", retry_after=3), "slow": LMTimeout("slow")}.get(outcome)
        if used is not None:
            self.flows.append((self.now, call.tokens - used))
        if outcome == "429":
            self.paused_until = self.now + 3
        self.limits.finish(call.turn, seconds=1, tokens=used, error=error, headers=None)
        await settled()

    @precondition(lambda self: any(self.lanes.values()))
    @rule(data=data(), first_end=booleans())
    def cancel(self, data: DataObject, first_end: bool) -> None:
        """Cancel somebody; perhaps just after a turn was handed out, which may be to that very one."""
        waiting = [call for lane in self.lanes.values() for call in lane]
        call = data.draw(sampled_from(waiting))

        async def cancel() -> None:
            if first_end and self.held:
                ended = self.held.pop()
                assert ended.turn is not None
                self.flows.append((self.now, ended.tokens))
                self.limits.finish(ended.turn, seconds=0, tokens=0, error=LMTimeout("gone"), headers=None)
            call.task.cancel()
            await settled()
            assert call.task.cancelled()

        self.runner.run(cancel())

    @rule(seconds=sampled_from([0.01, 0.7, 5.0, 61.0]))
    def pass_time(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    @invariant()
    def nobody_is_lost_and_nobody_has_more_than_is_allowed(self) -> None:
        if not hasattr(self, "limits"):
            return
        snapshot = self.runner.run(self.snapshot())
        waiting = [call for lane in self.lanes.values() for call in lane]
        assert snapshot.in_flight == len(self.held) <= (self.settings.max_concurrency or 1000)
        assert self.limits.waiting == len(waiting) <= self.settings.max_waiting
        assert len(self.limits._deadlines) == len(waiting)
        assert all(call.deadline > self.now - ALMOST for call in waiting)
        assert not self.complaints
        if waiting and self.settings.requests_per_minute is self.settings.tokens_per_minute is None:
            # Nobody waits for nothing.
            assert self.now < self.paused_until or len(self.held) + 1 > (snapshot.concurrency or 1000)

    @invariant()
    def no_minute_sees_more_requests_than_allowed(self) -> None:
        if hasattr(self, "limits") and (allowed := self.settings.requests_per_minute) is not None:
            for first in self.given_at:
                assert sum(first <= time < first + 59.99 for time in self.given_at) <= max(1, allowed)

    def teardown(self) -> None:
        async def drain() -> None:
            while self.limits.waiting or self.held:
                while self.held:
                    await self.finish(self.held.pop(), 0, "good")
                await asyncio.sleep(5)

        with self.runner:
            if hasattr(self, "limits"):
                self.runner.run(drain())
                assert not any(self.lanes.values())
                self.nobody_is_lost_and_nobody_has_more_than_is_allowed()


TestAdmission = Admission.TestCase
TestAdmission.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
