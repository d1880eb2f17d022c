"""Admission to an endpoint: a call gets its turn as soon as every limit allows it and it is the next in line."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass

from repertory.clock import Clock
from repertory.errors import DeadlineExceeded, EndpointOverloaded, LMRateLimited, LMTimeout
from repertory.providers.limits.adaptive import AdaptiveConcurrency
from repertory.providers.limits.announced import announced_in
from repertory.providers.limits.deadlines import Deadlines
from repertory.providers.limits.fair_queue import FairQueue
from repertory.providers.limits.pace import Pace
from repertory.providers.limits.quotas import Quotas
from repertory.providers.limits.request_rate import RequestRate
from repertory.providers.limits.settings import LimitSettings, LimitsSnapshot
from repertory.providers.limits.token_bucket import TokenBucket
from repertory.providers.messages import Priority

LONGEST_PAUSE = 300.0  # seconds; a peer that asks for more is tried again all the same
# A loop's timers may be coarser than the clock: shorter ones would go off in vain, again and again.
SHORTEST_TIMER = 0.001  # seconds
UNKNOWN_WAIT = 1.0  # seconds; what a refused call is told while there is nothing to tell it by


@dataclass(slots=True, eq=False)
class Turn:
    """Leave to make one attempt; ``Limits.finish`` takes it back."""

    number: int  # of turns given, this one included
    tokens: int  # reserved for it
    tokens_given: int  # reserved for all turns given, this one included
    alongside: int  # attempts in flight when it was given, this one included


@dataclass(slots=True, eq=False)
class _Waiter:
    caller: str
    priority: Priority
    tokens: int
    turn: asyncio.Future[Turn]


class Limits:
    """Admits attempts to an endpoint: a turn from ``try_acquire`` or ``acquire``, then exactly one ``finish``.

    Of those who wait, only the one whose turn is next is held against the limits: a call that needs much is not
    overtaken for ever by calls that need little. What waits no longer, for whatever reason, holds nothing.

    Requests a minute go by the running loop's time, all other decisions by the clock. The loop's timers only say
    when to look again.

    Invariants: ``_in_flight`` is the number of turns given and not taken back. A waiter is in ``_queue`` and, if
    it has a deadline, in ``_deadlines`` until its turn is given or refused; a cancelled one no longer than until
    its task has run. While anyone waits for time to pass there is a timer, the only one, that goes off no later
    than the first in line may go or somebody's deadline comes.

    Args:
        settings: The limits.
        clock: What deadlines are points on.
        endpoint: The endpoint's name, for errors.
    """

    def __init__(self, settings: LimitSettings, clock: Clock, *, endpoint: str = "endpoint") -> None:
        self._settings = settings
        self._clock = clock
        self._endpoint = endpoint
        self._concurrency = AdaptiveConcurrency(settings.max_concurrency or math.inf)
        requests, tokens = settings.requests_per_minute, settings.tokens_per_minute
        self._rate = RequestRate(requests) if requests is not None else None
        self._bucket = TokenBucket(tokens, clock) if tokens is not None else None
        self._quotas: Quotas | None = None  # from the first announcement on
        self._paused_until = -math.inf
        self._timed = self._rate is not None or self._bucket is not None  # whether turns depend on the time at all
        self._in_flight = 0
        self._given = 0  # turns
        self._tokens_given = 0
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._tokens_waiting = 0
        self._deadlines: Deadlines[_Waiter] = Deadlines()
        self._pace = Pace(clock)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    @property
    def waiting(self) -> int:
        """Calls waiting for their turn."""
        return len(self._queue)

    def try_acquire(self, caller: str, priority: Priority, tokens: int) -> Turn | None:
        """Return a turn if nobody waits and every limit allows it now.

        Args:
            caller: On whose behalf the call is made.
            priority: Which calls come first.
            tokens: Reserved for it: what it will read and write, as far as one can tell.
        """
        if self._queue.size or self._in_flight + 1 > self._concurrency.limit:
            return None
        if self._timed and self._held_for(tokens) > 0:
            return None
        return self._give(tokens)

    async def acquire(
        self, deadline: float, caller: str = "", priority: Priority = "normal", tokens: int = 0
    ) -> Turn:
        """Wait for a turn; the arguments are those of ``try_acquire``.

        Args:
            deadline: When the caller stops waiting, a point on the clock.

        Raises:
            DeadlineExceeded: The turn did not come before the deadline, or cannot.
            EndpointOverloaded: As many calls wait as may.
        """
        turn = self.try_acquire(caller, priority, tokens)
        if turn is not None:
            return turn
        self._refuse_in_vain(deadline, caller, priority, tokens)
        waiter = _Waiter(caller, priority, tokens, asyncio.get_running_loop().create_future())
        self._line_up(waiter, deadline)
        try:
            return await waiter.turn
        except BaseException:
            self._withdraw(waiter)
            raise

    def finish(
        self,
        turn: Turn,
        *,
        seconds: float,
        tokens: int | None,
        error: BaseException | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        """Take back a turn: its attempt has ended.

        Args:
            turn: What ``try_acquire`` or ``acquire`` gave.
            seconds: How long the attempt took.
            tokens: What it read and wrote; 0 if nothing was asked. None: unknown, so that what was reserved is
                taken to be spent.
            error: How it failed; None if it did not.
            headers: The answer's headers: names in lower case, or a mapping that ignores case; None if none came.
        """
        if tokens is not None and self._bucket is not None:
            self._bucket.settle(turn.tokens, tokens)
        if self._settings.adaptive:
            self._adapt(turn, seconds, tokens, error)
        self._in_flight -= 1
        if isinstance(error, LMRateLimited) and error.retry_after:
            self._pause(error.retry_after)
        if headers is not None and (announced := announced_in(headers, self._clock.time())) is not None:
            if self._quotas is None:
                self._quotas = Quotas(self._clock)
                self._timed = True
            requests_since, tokens_since = self._given - turn.number, self._tokens_given - turn.tokens_given
            self._quotas.heed(announced, turn.number, requests_since, tokens_since)
        if self._queue.size:
            self._advance()

    def snapshot(self) -> LimitsSnapshot:
        """Return the present state."""
        limit = self._concurrency.limit
        return LimitsSnapshot(
            waiting=self._queue.waiting(),
            callers=self._queue.callers(),
            in_flight=self._in_flight,
            concurrency=int(limit) if limit < math.inf else None,
            tokens_left=math.floor(self._bucket.level) if self._bucket is not None else None,
            requests_left=self._quotas.requests_left if self._quotas is not None else None,
            paused_for=self._paused_for(),
        )

    # --- turns ------------------------------------------------------------------------------------------------

    def _give(self, tokens: int) -> Turn:
        """Count a turn with every limit; they have been asked."""
        self._in_flight += 1
        self._given += 1
        self._tokens_given += tokens
        if self._timed:
            if self._rate is not None:
                self._rate.take()
            if self._bucket is not None:
                self._bucket.take(tokens)
            if self._quotas is not None:
                self._quotas.take(tokens)
        return Turn(self._given, tokens, self._tokens_given, self._in_flight)

    def _held_for(self, tokens: int) -> float:
        """Seconds until the next turn may be given if slots are free; 0 is now."""
        wait = self._paused_until - self._clock.monotonic()
        if self._quotas is not None:
            wait = max(wait, self._quotas.seconds_until(tokens))
        if self._bucket is not None:
            wait = max(wait, self._bucket.seconds_until(tokens))
        if self._rate is not None:
            wait = max(wait, self._rate.seconds_until())
        return wait if wait > 0 else 0.0

    def _adapt(self, turn: Turn, seconds: float, tokens: int | None, error: BaseException | None) -> None:
        if error is None:
            self._concurrency.answered(turn.number, seconds, tokens or 0, self._in_flight, self._given)
        elif isinstance(error, LMRateLimited | LMTimeout):
            # What it met was the load when it was sent, of which others may have left since.
            in_flight = max(self._in_flight, turn.alongside)
            self._concurrency.overloaded(turn.number, in_flight, self._given)

    def _pause(self, seconds: float) -> None:
        until = self._clock.monotonic() + min(seconds, LONGEST_PAUSE)
        self._paused_until = max(self._paused_until, until)
        self._timed = True

    def _paused_for(self) -> float:
        """Seconds during which the provider wants no call at all, however small; 0 is no pause."""
        wait = self._paused_until - self._clock.monotonic()
        if self._quotas is not None:
            wait = max(wait, self._quotas.seconds_until(0))
        return max(0.0, wait)

    # --- waiting ----------------------------------------------------------------------------------------------

    def _refuse_in_vain(self, deadline: float, caller: str, priority: Priority, tokens: int) -> None:
        """Raise if the call cannot wait, or would wait in vain."""
        if len(self._queue) >= self._settings.max_waiting:
            wait = max(self._paused_for(), self._pace.seconds_for(len(self._queue)))
            raise EndpointOverloaded(
                f"{self._endpoint}: not called: {len(self._queue)} calls wait for their turn, and no more may",
                endpoint=self._endpoint,
                hint="Send fewer calls at a time, or raise max_waiting.",
                retry_after=min(wait, LONGEST_PAUSE) or UNKNOWN_WAIT,
            )
        wait = self._at_least(caller, priority, tokens)
        if self._clock.monotonic() + wait >= deadline:
            raise DeadlineExceeded(
                f"{self._endpoint}: not called: its turn would come in about {wait:.1f} s, after the deadline"
            )

    def _at_least(self, caller: str, priority: Priority, tokens: int) -> float:
        """About how many seconds a call waits that comes now, if things go well."""
        ahead = self._queue.ahead(caller, priority)
        wait = max(self._paused_for(), self._pace.at_least_for(ahead))
        if self._quotas is not None:
            wait = max(wait, self._quotas.seconds_until(tokens))
        if self._bucket is not None:
            before = self._tokens_waiting * ahead // len(self._queue) if ahead else 0
            wait = max(wait, self._bucket.seconds_until(tokens, before))
        if self._rate is not None:
            wait = max(wait, self._rate.seconds_until(ahead + 1))
        return wait

    def _line_up(self, waiter: _Waiter, deadline: float) -> None:
        self._queue.add(waiter, waiter.caller, waiter.priority)
        self._tokens_waiting += waiter.tokens
        if deadline < math.inf:
            self._deadlines.add(waiter, deadline)
        self._advance()

    def _leave(self, waiter: _Waiter) -> None:
        """Take a waiter out of the line, if it is in there still."""
        if self._queue.remove(waiter, waiter.caller, waiter.priority):
            self._tokens_waiting -= waiter.tokens
            self._deadlines.discard(waiter)

    def _withdraw(self, waiter: _Waiter) -> None:
        """Its call waits no longer: it was cancelled or refused."""
        turn = waiter.turn
        if turn.cancel() or turn.cancelled():
            self._leave(waiter)
        elif turn.exception() is None:
            # Cancelled between being given its turn and running with it. A request let through at the rate counts.
            self._in_flight -= 1
            if self._bucket is not None:
                self._bucket.settle(waiter.tokens, 0)
        else:
            return
        self._advance()

    def _advance(self) -> None:
        """Give turns as far as the limits allow, and see to it that this is tried again in time."""
        # Who must be gone before a pause ends can as well be told now, and try elsewhere.
        for waiter in self._deadlines.due(self._clock.monotonic() + self._paused_for()):
            self._expire(waiter)
        queue = self._queue
        wait = 0.0
        while queue:
            waiter = queue.head()
            if waiter.turn.done():  # cancelled, and its task has not run since
                self._leave(waiter)
                continue
            if self._in_flight + 1 > self._concurrency.limit:
                wait = math.inf  # until a turn is taken back
            elif self._timed:
                wait = self._held_for(waiter.tokens)
            if wait > 0:
                break
            queue.pop()
            self._tokens_waiting -= waiter.tokens
            self._deadlines.discard(waiter)
            waiter.turn.set_result(self._give(waiter.tokens))
            self._pace.note()
        if queue:
            self._look_again_in(wait, queue.head().turn.get_loop())
        else:
            self._rest()

    def _expire(self, waiter: _Waiter) -> None:
        self._leave(waiter)
        if not waiter.turn.done():
            waiter.turn.set_exception(
                DeadlineExceeded(f"{self._endpoint}: the deadline passed while the call waited for its turn")
            )

    def _look_again_in(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        now = self._clock.monotonic()
        deadline = self._deadlines.next()
        at = min(now + seconds, math.inf if deadline is None else deadline)
        if at >= self._timer_at:  # the timer there is goes off early enough
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = loop.call_later(max(SHORTEST_TIMER, at - now), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        self._advance()

    def _rest(self) -> None:
        """Nobody waits."""
        self._pace.forget()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = math.inf
