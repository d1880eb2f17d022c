"""One model at one provider with one key: limiter -> breaker -> retry -> transport."""

import math
from dataclasses import dataclass, field
from random import Random
from urllib.parse import urlsplit

from pydantic import SecretStr

from repertory.clock import Clock
from repertory.errors import CircuitOpen, ConfigError, DeadlineExceeded, LMError, LMTimeout, RepertoryError
from repertory.events import CircuitChanged, Hooks, LMCallFinished, LMRetryScheduled
from repertory.providers import openai_chat
from repertory.providers.breaker import BreakerSettings, BreakerSnapshot, CircuitBreaker, State
from repertory.providers.limits import Limits
from repertory.providers.messages import LMRequest, LMResponse, SchemaDialect, Usage
from repertory.providers.retry import RetryPolicy
from repertory.providers.transport import BaseURL, HttpTransport

NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What an endpoint is and how it is treated.

    Args:
        name: What events, errors and metrics call it.
        model: The model's name at the provider.
        base_url: Where ``/chat/completions`` is appended, usually ending in ``/v1``; or a function that says so
            at each attempt, None while the endpoint is not up.
        api_key: Sent as a bearer token; None sends none.
        api_key_env: The environment variable the key came from, named in remedies.
        schema_dialect: The subset of JSON Schema it constrains replies with; None if it does not constrain them.
        timeout: Most seconds one attempt may take. A call's deadline bounds all of its attempts; a call without
            one has ``timeout * attempts``, waits included.
        connect_timeout: Seconds to open a connection.
        attempts: Most attempts a call makes, the first included.
        requests_per_minute: Most attempts sent in any minute; None is no limit.
        max_concurrency: Most attempts in flight; None is no limit.
        patience: An attempt cut off by its caller's deadline counts as a failure of the endpoint only if nobody
            had an answer from it for this many seconds: hurried callers must not shut out patient ones as long
            as anything is answered, and a dead endpoint must not hide behind hurried callers.
        breaker: When its circuit opens.
    """

    name: str
    model: str
    base_url: BaseURL
    api_key: SecretStr | None = None
    api_key_env: str = ""
    schema_dialect: SchemaDialect | None = "openai_strict"
    timeout: float = 60.0
    connect_timeout: float = 10.0
    attempts: int = 3
    requests_per_minute: float | None = None
    max_concurrency: int | None = None
    patience: float = 10.0
    breaker: BreakerSettings = field(default_factory=BreakerSettings)

    def __post_init__(self) -> None:
        if isinstance(self.base_url, str):
            self._check_url(self.base_url)
        if self.api_key is not None:
            self._check_key(self.api_key.get_secret_value())
        for name in ("timeout", "connect_timeout", "attempts", "requests_per_minute", "max_concurrency"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"endpoint {self.name}: {name} = {value}: expected a number above 0")

    def _check_url(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise ConfigError(
                f"endpoint {self.name}: base_url holds a user name or password",
                hint="Give the secret as api_key: a URL shows up in logs.",
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"endpoint {self.name}: base_url = {url!r}: expected http(s)://host[:port]/path",
                hint='For instance: base_url = "https://api.openai.com/v1"',
            )

    def _check_key(self, key: str) -> None:
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            source = self.api_key_env or "api_key"
            raise ConfigError(
                f"endpoint {self.name}: the API key in {source} is empty or has characters no key has",
                hint="Look for a line break or a space that was copied along.",
            )


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
            secret_headers=_authorization(settings.api_key),
            connect_timeout=settings.connect_timeout,
        )
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

    async def complete(self, request: LMRequest) -> LMResponse:
        """Return the model's reply; see ``LM.complete`` for what it raises."""
        settings = self.settings
        deadline = request.deadline
        if deadline is None:
            deadline = self._clock.monotonic() + settings.timeout * settings.attempts
        body = openai_chat.encode(request, settings.model, constrains=settings.schema_dialect is not None)
        self._calls += 1
        self._in_flight += 1
        try:
            return await self._repeat(body, deadline)
        except RepertoryError:
            self._failures += 1
            raise
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
            waiting=self._limits.waiting if self._limits is not None else 0,
            calls=self._calls,
            failures=self._failures,
        )

    async def _repeat(self, body: bytes, deadline: float) -> LMResponse:
        """Make attempts until one succeeds or the retry policy gives up."""
        attempt = 1
        failure: LMError | None = None
        while True:
            try:
                return await self._attempt(body, deadline)
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

    async def _attempt(self, body: bytes, deadline: float) -> LMResponse:
        """Make one attempt when the limiter lets it."""
        limits = self._limits
        if limits is None:
            return await self._send(body, deadline)
        self._breaker.check()  # before queueing: who would be refused anyway need not wait for it
        await limits.acquire(deadline)
        try:
            return await self._send(body, deadline)
        finally:
            limits.release()

    async def _send(self, body: bytes, deadline: float) -> LMResponse:
        """Make one attempt if the breaker admits it, and tell the breaker and the hooks how it ended."""
        started = self._clock.monotonic()
        left = deadline - started
        if left <= 0:
            raise DeadlineExceeded(f"{self.name}: the deadline passed before the call was made")
        breaker = self._breaker
        permit = breaker.admit()
        if breaker.state != self._circuit:
            self._tell_circuit()
        if self._asked is None:
            self._asked = started
        try:
            response = await self._exchange(body, left)
        except (LMError, DeadlineExceeded) as error:
            if isinstance(error, DeadlineExceeded) and self._silence() < self.settings.patience:
                breaker.release(permit)
            else:
                breaker.record(permit, error)
            self._tell_outcome(started, error.code, NO_USAGE)
            raise
        except BaseException:
            breaker.release(permit)
            self._tell_outcome(started, "cancelled", NO_USAGE)  # it was sent: a provider may count it all the same
            raise
        breaker.record(permit, None)
        self._tell_outcome(started, None, response.usage)
        return response

    async def _exchange(self, body: bytes, left: float) -> LMResponse:
        """Send the body, read the answer; ``left`` seconds remain until the deadline."""
        settings = self.settings
        try:
            status, headers, answer = await self._transport.post(
                openai_chat.PATH, body, timeout=min(settings.timeout, left)
            )
        except LMTimeout:
            if settings.timeout < left:
                raise
            raise DeadlineExceeded(f"{self.name}: the deadline passed {left:.1f} s after sending") from None
        self._answered = self._clock.monotonic()
        self._asked = None
        if 200 <= status < 300:
            return openai_chat.decode(answer, endpoint=settings.name, secret=settings.api_key)
        raise openai_chat.error_from(
            status,
            headers,
            answer,
            now=self._clock.time(),
            endpoint=settings.name,
            key_env=settings.api_key_env,
            secret=settings.api_key,
        )

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


def _limits(settings: EndpointSettings, clock: Clock) -> Limits | None:
    if settings.requests_per_minute is None and settings.max_concurrency is None:
        return None
    return Limits(
        clock,
        max_concurrency=settings.max_concurrency,
        requests_per_minute=settings.requests_per_minute,
        endpoint=settings.name,
    )


def _authorization(key: SecretStr | None) -> dict[str, SecretStr]:
    return {} if key is None else {"Authorization": SecretStr(f"Bearer {key.get_secret_value()}")}
