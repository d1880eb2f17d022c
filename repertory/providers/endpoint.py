"""One model at one provider with one key: limiter -> breaker -> retry -> transport."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from repertory.clock import Clock
from repertory.errors import CircuitOpen, DeadlineExceeded, LMError, LMRequestRejected, LMTimeout, RepertoryError
from repertory.events import CircuitChanged, Hooks, LMCallFinished, LMRetryScheduled
from repertory.providers.breaker import BreakerSnapshot, CircuitBreaker, State
from repertory.providers.capabilities import require
from repertory.providers.failures import Peer, error_from
from repertory.providers.limits import Limits, LimitSettings, Turn
from repertory.providers.messages import Delta, LMRequest, LMResponse, SchemaDialect, Usage
from repertory.providers.retry import RetryPolicy
from repertory.providers.settings import EndpointSettings
from repertory.providers.streamed_reply import StreamedReply
from repertory.providers.transport import HttpTransport, Stream

NO_USAGE = Usage()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EndpointSnapshot:
    """An endpoint's state as data."""

    name: str
    model: str
    circuit: BreakerSnapshot
    in_flight: int  # calls that have not returned, those that wait included
    waiting: int  # of these, waiting for their turn at the limiter
    calls: int  # since the start
    failures: int  # of these, ended by an error; a cancelled call is none


class Endpoint:
    """An ``LM`` over HTTP.

    Every attempt, not only the first, asks the limiter and the breaker: retries never hammer an open circuit. A
    call that meets one fails at once with ``CircuitOpen``; if an earlier attempt of the call failed, that is its
    ``__cause__``.

    Example::

        settings = EndpointSettings("openai", "gpt-4.1-mini", "https://api.openai.com/v1", api_key=key)
        endpoint = Endpoint(settings, clock=SystemClock(), hooks=Hooks(), rng=Random())
        reply = await endpoint.complete(LMRequest((Message("user", "Hello"),)))
        await endpoint.close()
    """

    def __init__(self, settings: EndpointSettings, *, clock: Clock, hooks: Hooks, rng: Random) -> None:
        self.settings = settings
        self._clock = clock
        self._hooks = hooks
        self._limits = _limits(settings, clock)
        self._breaker = CircuitBreaker(settings.breaker, clock, rng, settings.name)
        self._retry = RetryPolicy(rng, settings.attempts)
        self._transport = HttpTransport(
            settings.base_url,
            name=settings.name,
            secret_headers=settings.protocol.headers(settings.api_key),
            connect_timeout=settings.connect_timeout,
        )
        self._lacks = (*settings.protocol.LACKS, *settings.quirks.lacks)
        self._peer = Peer(settings.name, settings.api_key, settings.api_key_env)
        self._circuit: State = self._breaker.state  # as last told to the hooks
        self._answered = -math.inf  # when it last answered, whatever it said
        self._asked: float | None = None  # when the first attempt since then was sent
        self._in_flight = 0
        self._calls = 0
        self._failures = 0

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, model={self.settings.model!r})"

    @property
    def name(self) -> str:
        """The settings' name."""
        return self.settings.name

    @property
    def schema_dialect(self) -> SchemaDialect | None:
        """Whether replies are constrained to ``LMRequest.response_schema``."""
        return self.settings.schema_dialect

    def obstacle(self) -> str | None:
        """Why it should not be asked at present; see ``Candidate``."""
        try:
            self._breaker.check()
        except CircuitOpen as refusal:
            return refusal.message
        return None

    def misfit(self, request: LMRequest) -> LMError | None:
        """Why it can never answer ``request``; see ``Candidate``."""
        settings = self.settings
        try:
            require(request, self._lacks, settings.name)
            if request.thinking is not None or not all(isinstance(turn.content, str) for turn in request.messages):
                # What a protocol cannot carry shows when it is encoded; words it can always carry.
                settings.protocol.encode(request, settings.model, settings.quirks, stream=False)
        except LMRequestRejected as refusal:
            return refusal
        return None

    def most_cost(self, request: LMRequest) -> int | None:
        """What ``request`` costs at most: unknown, as nobody gave it a price."""
        return None

    async def stale(self, request: LMRequest) -> LMResponse | None:
        """An answer given before: none, as nothing is kept."""
        return None

    async def complete(self, request: LMRequest) -> LMResponse:
        """Return the model's reply; see ``LM.complete`` for what it raises."""
        body, deadline = self._asked_for(request, stream=False)
        self._calls += 1
        self._in_flight += 1
        try:
            return await self._repeat(lambda: self._answer(body, deadline), deadline)
        except RepertoryError:
            self._failures += 1
            raise
        finally:
            self._in_flight -= 1

    @asynccontextmanager
    async def stream(self, request: LMRequest) -> AsyncIterator[AsyncIterator[Delta]]:
        """Give the model's reply as it comes; see ``LM.stream``."""
        body, deadline = self._asked_for(request, stream=True)
        self._calls += 1
        self._in_flight += 1
        try:
            try:
                reply = await self._repeat(lambda: self._begin(body, deadline), deadline)
            except RepertoryError:
                self._failures += 1
                raise
            try:
                yield reply
            finally:
                reply.close()
                self._failures += reply.failed  # what its reader raises is no failure of the endpoint
        finally:
            self._in_flight -= 1

    async def close(self) -> None:
        """Close the connections; see ``LM.close``."""
        await self._transport.close()

    def snapshot(self) -> EndpointSnapshot:
        """Return the present state."""
        return EndpointSnapshot(
            name=self.name,
            model=self.settings.model,
            circuit=self._breaker.snapshot(),
            in_flight=self._in_flight,
            waiting=self._limits.waiting,
            calls=self._calls,
            failures=self._failures,
        )

    def _asked_for(self, request: LMRequest, *, stream: bool) -> tuple[bytes, float]:
        """The body of a request, and when its caller stops waiting."""
        settings = self.settings
        require(request, self._lacks, settings.name)
        deadline = request.deadline
        if deadline is None:
            deadline = self._clock.monotonic() + settings.timeout * settings.attempts
        return settings.protocol.encode(request, settings.model, settings.quirks, stream=stream), deadline

    async def _repeat(self, attempt_once: Callable[[], Awaitable[T]], deadline: float) -> T:
        """Make attempts until one succeeds or the retry policy gives up."""
        attempt = 1
        failure: LMError | None = None
        while True:
            try:
                return await attempt_once()
            except CircuitOpen as refusal:
                raise refusal from failure
            except LMError as error:
                delay = self._retry.delay_before(attempt + 1, error, self._clock.monotonic(), deadline)
                if delay is None:
                    raise
                failure = error
            if self._breaker.open_for() <= delay:
                if self._hooks:
                    self._hooks.emit(LMRetryScheduled(self.name, attempt, delay, failure.code))
                await self._clock.sleep(delay)
            # Else the circuit will still be open after the wait: the next round says so without waiting.
            attempt += 1

    async def _answer(self, body: bytes, deadline: float) -> LMResponse:
        """Make one attempt at a whole reply."""
        attempt = await self._admit(deadline)
        try:
            response = await self._exchange(body, deadline - attempt.started)
        except BaseException as error:
            attempt.fail(error)
            raise
        attempt.succeed(response.usage)
        return response

    async def _begin(self, body: bytes, deadline: float) -> StreamedReply:
        """Make one attempt at a stream, up to its first output: what fails until then can be repeated."""
        attempt = await self._admit(deadline)
        try:
            stream = await self._open(body, deadline)
            reply = StreamedReply(self.settings, self._peer, stream, attempt, self._clock, deadline)
            await reply.begin()
        except BaseException as error:
            attempt.fail(error)
            raise
        return reply

    async def _admit(self, deadline: float) -> "_Attempt":
        """Wait for the limiter's turn and the breaker's leave to make one attempt."""
        turn = self._limits.try_acquire("", "normal", 0)
        if turn is None:
            self._breaker.check()  # before queueing: who would be refused anyway need not wait for it
            turn = await self._limits.acquire(deadline)
        try:
            started = self._clock.monotonic()
            if deadline <= started:
                raise DeadlineExceeded(f"{self.name}: the deadline passed before the call was made")
            permit = self._breaker.admit()
        except BaseException as error:
            self._limits.finish(turn, seconds=0.0, tokens=0, error=error, headers=None)
            raise
        if self._breaker.state != self._circuit:
            self._tell_circuit()
        if self._asked is None:
            self._asked = started
        return _Attempt(self, turn, permit, started)

    async def _exchange(self, body: bytes, left: float) -> LMResponse:
        """Send the body, read the answer; ``left`` seconds remain until the deadline."""
        settings = self.settings
        try:
            status, headers, answer = await self._transport.post(
                settings.protocol.path(settings.model, stream=False), body, timeout=min(settings.timeout, left)
            )
        except LMTimeout:
            if settings.timeout < left:
                raise
            raise self._too_late(left) from None
        self._note_answer()
        if 200 <= status < 300:
            return settings.protocol.decode(answer, self._peer)
        raise error_from(status, headers, answer, now=self._clock.time(), peer=self._peer)

    async def _open(self, body: bytes, deadline: float) -> Stream:
        """Send the body and return the answer's stream, its status being good."""
        settings = self.settings
        left = deadline - self._clock.monotonic()
        wait = min(settings.first_token_timeout or settings.timeout, left)
        path = settings.protocol.path(settings.model, stream=True)
        try:
            stream = await self._transport.open(path, body, timeout=wait)
            if not 200 <= stream.status < 300:
                answer = await stream.read_all(wait)
                raise error_from(stream.status, stream.headers, answer, now=self._clock.time(), peer=self._peer)
        except LMTimeout:
            if wait < left:
                raise
            raise self._too_late(left) from None
        self._note_answer()
        return stream

    def _note_answer(self) -> None:
        self._answered = self._clock.monotonic()
        self._asked = None

    def _too_late(self, left: float) -> DeadlineExceeded:
        return DeadlineExceeded(f"{self.name}: the deadline passed {left:.1f} s after sending")

    def _end(self, attempt: "_Attempt", error: BaseException | None, usage: Usage) -> None:
        """Take back what an attempt was admitted with, and tell how it ended."""
        seconds = self._clock.monotonic() - attempt.started
        tokens = usage.input_tokens + usage.output_tokens or None
        self._limits.finish(attempt.turn, seconds=seconds, tokens=tokens, error=error, headers=None)
        breaker = self._breaker
        hurried = isinstance(error, DeadlineExceeded) and self._silence() < self.settings.patience
        if (error is None or isinstance(error, LMError | DeadlineExceeded)) and not hurried:
            breaker.record(attempt.permit, error)
        else:
            breaker.release(attempt.permit)
        code = None
        if error is not None:
            # If its caller went away, it was sent all the same: a provider may count it.
            code = error.code if isinstance(error, LMError | DeadlineExceeded) else "cancelled"
        self._tell_outcome(attempt.started, code, usage)

    def _silence(self) -> float:
        """Seconds since which the endpoint has been asked and has answered nobody."""
        # If no attempt followed the last answer, those under way have waited through all the time since.
        since = self._answered if self._asked is None else self._asked
        return self._clock.monotonic() - since

    def _tell_outcome(self, started: float, error: str | None, usage: Usage) -> None:
        if self._breaker.state != self._circuit:
            self._tell_circuit()
        if self._hooks:
            seconds = self._clock.monotonic() - started
            self._hooks.emit(LMCallFinished(self.name, seconds, error, usage.input_tokens, usage.output_tokens))

    def _tell_circuit(self) -> None:
        before, self._circuit = self._circuit, self._breaker.state
        if self._hooks:
            self._hooks.emit(CircuitChanged(self.name, before, self._circuit))


def _limits(settings: EndpointSettings, clock: Clock) -> Limits:
    limits = LimitSettings(settings.max_concurrency, settings.requests_per_minute)
    return Limits(limits, clock, endpoint=settings.name)


class _Attempt:
    """One attempt that the limiter and the breaker have admitted; it ends once, however often it is told."""

    __slots__ = ("_endpoint", "_over", "permit", "started", "turn")

    def __init__(self, endpoint: Endpoint, turn: Turn, permit: int, started: float) -> None:
        self._endpoint = endpoint
        self._over = False
        self.turn = turn
        self.permit = permit
        self.started = started

    def succeed(self, usage: Usage) -> None:
        self._finish(None, usage)

    def fail(self, error: BaseException) -> None:
        self._finish(error, NO_USAGE)

    def _finish(self, error: BaseException | None, usage: Usage) -> None:
        if not self._over:
            self._over = True
            self._endpoint._end(self, error, usage)
