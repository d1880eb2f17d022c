"""One model at one provider with one key: cache -> budget -> limiter -> breaker -> retry -> transport."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TypeVar

from repertory.clock import Clock
from repertory.errors import (
    BudgetExceeded,
    CircuitOpen,
    EndpointOverloaded,
    LMError,
    LMRequestRejected,
    RepertoryError,
)
from repertory.events import EndpointProbed, Hooks, LMRetryScheduled
from repertory.providers.breaker import BreakerSnapshot
from repertory.providers.breaker_memory import BreakerMemory, Forced
from repertory.providers.budget import BudgetStage
from repertory.providers.cache import ReplyCache
from repertory.providers.cache_key import cache_key
from repertory.providers.capabilities import gaps, is_plain, require
from repertory.providers.embeddings import EmbedRequest, EmbedResponse, batches, joined, offered
from repertory.providers.exchange import Exchange
from repertory.providers.gate import Call, Gate
from repertory.providers.health import Health, health_of
from repertory.providers.limits import LimitsSnapshot
from repertory.providers.messages import Delta, LMRequest, LMResponse, SchemaDialect
from repertory.providers.preparation import Preparation
from repertory.providers.retry import RetryPolicy
from repertory.providers.retry_budget import RetryBudget, RetryBudgetSnapshot
from repertory.providers.settings import EndpointSettings
from repertory.providers.stored import StoredReplies, finished, keeping
from repertory.providers.streamed_reply import StreamedReply
from repertory.providers.token_estimate import TokenEstimate
from repertory.store import Ledger, MemoryLedger

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EndpointSnapshot:
    """An endpoint's state as data."""

    name: str
    model: str
    health: Health
    circuit: BreakerSnapshot
    limits: LimitsSnapshot
    retries: RetryBudgetSnapshot
    in_flight: int  # calls that have not returned, those that wait included
    calls: int  # since the start
    failures: int  # of these, ended by an error; a cancelled call is none

    @property
    def waiting(self) -> int:
        """Of those in flight, the calls that wait for their turn at the limiter."""
        return sum(self.limits.waiting.values())


class Endpoint:
    """An ``LM`` over HTTP, and a ``Candidate`` of routes.

    Every attempt, not only the first, asks the budget, the limiter and the breaker: retries never hammer an open
    circuit. A call that meets one fails at once with ``CircuitOpen``, and one for which the limiter's queue has no
    room with ``EndpointOverloaded``; if an earlier attempt of the call failed, that is the ``__cause__``.

    Args:
        cache: Answers given before; None: every call asks. Endpoints may share one.
        ledger: The accounts that pay; None: there are none.

    Example::

        settings = EndpointSettings("openai", "gpt-4.1-mini", "https://api.openai.com/v1", api_key=key)
        endpoint = Endpoint(settings, clock=SystemClock(), hooks=Hooks(), rng=Random())
        reply = await endpoint.complete(LMRequest((Message("user", "Hello"),)))
        await endpoint.close()
    """

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        clock: Clock,
        hooks: Hooks,
        rng: Random,
        cache: ReplyCache | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._hooks = hooks
        self._cache = cache
        self._exchange = Exchange(settings, clock)
        estimate = TokenEstimate()
        self._budget = BudgetStage(
            settings.budget,
            ledger or MemoryLedger(),
            endpoint=settings.name,
            provider=settings.provider,
            model=settings.model,
            clock=clock,
            hooks=hooks,
        )
        self._gate = Gate(settings, self._budget, estimate, clock, hooks, rng)
        self._retry = RetryPolicy(rng, settings.attempts)
        self._retries = RetryBudget(clock, settings.retry_share)
        self._gaps = gaps(settings.protocol, settings.quirks)
        self._stored: StoredReplies | None = settings.protocol.STORED if settings.quirks.stores else None
        self._prepare = Preparation(settings, self._budget, self._stored, estimate, self._exchange.peer, clock)
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

    # --- asking -----------------------------------------------------------------------------------------------

    async def complete(self, request: LMRequest) -> LMResponse:
        """Return the model's reply; see ``LM.complete`` for what it raises."""
        require(request, self._gaps, self.name)
        if self._cache is None or request.terms.cache == "bypass":
            return await self._complete(request, request.deadline)
        return await self._cache.answer(self._key(request), request, partial(self._complete, request))

    @asynccontextmanager
    async def stream(self, request: LMRequest) -> AsyncIterator[AsyncIterator[Delta]]:
        """Give the model's reply as it comes; see ``LM.stream``. The cache takes no part in it."""
        require(request, self._gaps, self.name)
        call = self._prepare.call(request, request.deadline, stream=True)
        reply = await self._repeat(self._begin, call)
        self._in_flight += 1
        try:
            yield reply
        finally:
            self._in_flight -= 1
            reply.close()
            self._failures += reply.failed  # what its reader raises is no failure of the endpoint

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Return the vectors of ``request``'s texts; several calls where one may not carry them all.

        Raises as ``complete``; LMRequestRejected if the endpoint offers no embeddings.
        """
        settings = self.settings
        protocol = offered(settings.protocol.EMBEDDINGS if settings.quirks.embeds else None, self.name)
        deadline = self._prepare.deadline(request.deadline)
        responses = []
        for part in batches(request, protocol.MOST_TEXTS):
            body = protocol.encode(part, settings.model)
            # What pays for a call and takes turns for it knows requests for words.
            asked = LMRequest((), max_tokens=0, terms=request.terms, witness=request.witness)
            call = self._prepare.plain(asked, body, deadline)
            responses.append(await self._repeat(partial(self._embed, part), call))
        return joined(responses)

    @property
    def can_fetch(self) -> bool:
        """Whether an answer that it has given can be fetched again by its id."""
        return self._stored is not None

    async def fetch(
        self, response_id: str, deadline: float, request: LMRequest | None = None
    ) -> LMResponse | None:
        """Return an answer given before, at no cost; None if it is not there, or never will be finished.

        If it is still being made, its end is waited for. Neither budget nor limiter nor breaker are asked.

        Args:
            response_id: What a witness was told it is ``identified`` by.
            deadline: When to give up, on the clock.
            request: What it answers; without it, nobody knows its cost, and emulated tools are not read out of it.

        Raises as ``complete``; LMRequestRejected if the endpoint keeps no answers.
        """
        ask = partial(self._exchange.fetch, keeping(self._stored, self.name), response_id, request)
        response = await finished(ask, self._clock, deadline, self.name)
        if response is None or request is None:
            return response
        call = self._prepare.call(request, deadline)
        if call.meaning is not None:
            response = call.meaning(response)
        cost = self._budget.cost(call.request, response.usage)
        return response if cost is None else response.priced(cost)

    async def close(self) -> None:
        """Close the connections; see ``LM.close``."""
        await self._exchange.close()

    # --- for routes -------------------------------------------------------------------------------------------

    def obstacle(self) -> str | None:
        """Why it would refuse a call at present; None if it would not."""
        try:
            self._gate.breaker.check()
        except CircuitOpen as refusal:
            return refusal.message
        return None

    def misfit(self, request: LMRequest) -> LMError | None:
        """Why it can never answer ``request``; None if it may."""
        try:
            require(request, self._gaps, self.name)
        except LMRequestRejected as error:
            return error
        window = self.settings.context_window
        if window is None and is_plain(request):
            return None
        try:
            call = self._prepare.call(request)
        except LMRequestRejected as error:  # the protocol cannot carry it
            return error
        # Several replies are each written into a window of its own.
        tokens = call.tokens - (call.request.max_tokens or 0) * (call.request.n - 1)
        if window is None or tokens <= window:
            return None
        return LMRequestRejected(
            f"{self.name}: a call of about {tokens} tokens, and its model takes {window} at most",
            endpoint=self.name,
            hint="Shorten it, or take a model with a larger context window.",
        )

    def most_cost(self, request: LMRequest) -> int | None:
        """What one attempt costs at most, in nano-dollars; None if that is not known."""
        try:
            call = self._prepare.call(request)
        except LMRequestRejected:  # the protocol cannot carry it
            return None
        return self._budget.worst_case(call.request, call.body).nano_dollars

    async def stale(self, request: LMRequest) -> LMResponse | None:
        """An answer given before, though it may be too old; None if there is none."""
        return await self._cache.stale(self._key(request)) if self._cache is not None else None

    # --- for operators ----------------------------------------------------------------------------------------

    def snapshot(self) -> EndpointSnapshot:
        """Return the present state."""
        circuit, limits = self._gate.breaker.snapshot(), self._gate.limits.snapshot()
        retries = self._retries.snapshot()
        return EndpointSnapshot(
            name=self.name,
            model=self.settings.model,
            health=health_of(circuit, limits, retries),
            circuit=circuit,
            limits=limits,
            retries=retries,
            in_flight=self._in_flight,
            calls=self._calls,
            failures=self._failures,
        )

    async def probe(self, timeout: float) -> LMError | None:
        """Ask, at no cost, whether it is there and takes the key; return what is wrong, None if nothing.

        An open circuit whose endpoint answers lets the next call through: only that shows whether it is well.
        """
        failure: LMError | None = None
        try:
            await self._exchange.probe(timeout)
        except LMError as error:
            failure = error
        else:
            self._gate.breaker.hasten()
        if self._hooks:
            self._hooks.emit(EndpointProbed(self.name, failure.code if failure is not None else None))
        return failure

    def force_circuit(self, forced: Forced | None) -> None:
        """Keep the circuit open or closed, whatever happens, or (None) leave it to the breaker again."""
        self._gate.breaker.force(forced)
        self._gate.tell_circuit()

    def circuit_memory(self) -> BreakerMemory:
        """What a later process should know of the circuit."""
        return self._gate.breaker.memory()

    def recall_circuit(self, memory: BreakerMemory) -> None:
        """Go on from what an earlier process knew of the circuit."""
        self._gate.breaker.recall(memory)
        self._gate.tell_circuit()

    # --- inside -----------------------------------------------------------------------------------------------

    # Calls in flight are many, and each coroutine that waits for another takes 0.3 kB of them: where nothing is
    # to be done afterwards, a plain function hands on what its caller awaits.

    def _complete(self, request: LMRequest, deadline: float | None) -> Awaitable[LMResponse]:
        if request.witness is not None and self._stored is not None:
            return self._repeat(self._gather, self._prepare.call(request, deadline, stream=True))
        return self._repeat(self._answer, self._prepare.call(request, deadline))

    def _key(self, request: LMRequest) -> str:
        # As it is asked: a reply cut at the bound for those who pay is no answer for those who do not.
        return cache_key(self._budget.bounded(request), self.settings.identity)

    async def _repeat(self, attempt_once: Callable[[Call], Awaitable[T]], call: Call) -> T:
        """Make attempts until one succeeds, the retry policy gives up or the retry budget is used up."""
        failure: LMError | None = None
        self._calls += 1
        self._in_flight += 1
        try:
            while True:
                try:
                    return await attempt_once(call)
                except (CircuitOpen, EndpointOverloaded, BudgetExceeded) as refusal:
                    # Not asked: that takes no retry.
                    raise refusal from failure
                except LMError as error:
                    delay = self._retry.delay_before(
                        call.attempts + 1, error, self._clock.monotonic(), call.deadline
                    )
                    if delay is None:
                        raise
                    failure = error
                await self._back_off(delay, call, failure)
        except RepertoryError:
            self._failures += 1
            raise
        finally:
            self._in_flight -= 1

    async def _back_off(self, delay: float, call: Call, failure: LMError) -> None:
        """Wait before the next attempt; raise ``failure`` if the retry budget grants none."""
        if self._gate.breaker.open_for() > delay:
            return  # the circuit will still be open after the wait: the next attempt says so without waiting
        if not self._retries.take():
            raise failure
        if self._hooks:
            self._hooks.emit(LMRetryScheduled(self.name, call.attempts, delay, failure.code))
        await self._clock.sleep(delay)

    def _note_attempt(self, call: Call) -> None:
        call.attempts += 1
        if call.attempts == 1:
            self._retries.note_call()

    async def _answer(self, call: Call) -> LMResponse:
        """Make one attempt at a whole reply."""
        attempt = await self._gate.admit(call)
        self._note_attempt(call)
        try:
            response = await self._exchange.whole(call.body, call.deadline - attempt.started, attempt, call.key)
            if call.meaning is not None:
                response = call.meaning(response)
        except BaseException as error:
            attempt.fail(error)
            raise
        return attempt.succeed(response)

    async def _gather(self, call: Call) -> LMResponse:
        """Make one attempt at a whole reply that comes as a stream: its id is told at once, not at the end."""
        reply = await self._begin(call)
        try:
            return await reply.whole()
        finally:
            reply.close()

    async def _embed(self, request: EmbedRequest, call: Call) -> EmbedResponse:
        """Make one attempt at vectors."""
        attempt = await self._gate.admit(call)
        self._note_attempt(call)
        try:
            left = call.deadline - attempt.started
            response = await self._exchange.embed(request, call.body, left, attempt, call.key)
        except BaseException as error:
            attempt.fail(error)
            raise
        attempt.end(response.usage)
        return response

    async def _begin(self, call: Call) -> StreamedReply:
        """Make one attempt at a stream, up to its first output: what fails until then can be repeated."""
        attempt = await self._gate.admit(call)
        self._note_attempt(call)
        try:
            stream = await self._exchange.stream(call.body, call.deadline - attempt.started, attempt, call.key)
            reply = StreamedReply(
                self.settings, self._exchange.peer, stream, attempt, self._clock, call.deadline, call.meaning
            )
            await reply.begin(attempt.started)
            attempt.begin()
        except BaseException as error:
            attempt.fail(error)
            raise
        return reply
