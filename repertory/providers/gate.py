"""What stands between a call and the wire: budget, limiter and breaker, asked anew for every attempt.

An attempt that was admitted holds something of each; however it ends, it gives all of it back, once.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from repertory.clock import Clock
from repertory.errors import DeadlineExceeded, LMError
from repertory.events import CircuitChanged, Hooks, LMCallFinished
from repertory.providers.breaker import CircuitBreaker, State
from repertory.providers.budget import BudgetStage, Hold
from repertory.providers.ending import NONE_COUNTED, was_sent
from repertory.providers.late_waits import LateWaits
from repertory.providers.limits import Limits, Turn
from repertory.providers.messages import LMRequest, LMResponse, Usage
from repertory.providers.settings import EndpointSettings
from repertory.providers.token_estimate import TokenEstimate
from repertory.providers.witness import Witness, request_hash


@dataclass(slots=True)
class Call:
    """One call of an endpoint, however many attempts it takes.

    Attributes:
        request: What is asked, as it goes over the wire.
        body: The same, encoded.
        deadline: Point on the clock at which its caller stops waiting.
        tokens: An estimate of those it takes, the reply included.
        meaning: What a reply to it means for its caller; None where it is just that.
        words_alone: Whether the body is nothing else, so that its size tells of its tokens.
        attempts: Made so far.
        key: Its idempotency key, once a witness was asked for it; None before.
    """

    request: LMRequest
    body: bytes
    deadline: float
    tokens: int
    meaning: Callable[[LMResponse], LMResponse] | None = None
    words_alone: bool = True
    attempts: int = 0
    key: str | None = None


class Gate:
    """Admits attempts at one endpoint and learns from how they end.

    Invariant: of every attempt that ``admit`` returned and that has not ended, the limiter has given out one turn,
    the breaker one permit, and the budget, where accounts pay, one reservation; of others nothing. If there is a
    witness, it has written such an attempt down and has not been told how it ended.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        budget: BudgetStage,
        estimate: TokenEstimate,
        clock: Clock,
        hooks: Hooks,
        rng: Random,
    ) -> None:
        self._name = settings.name
        self._identity = settings.identity
        self._patience = settings.patience
        self._estimate = estimate
        self._clock = clock
        self._hooks = hooks
        self.budget = budget
        self.breaker = CircuitBreaker(settings.breaker, clock, rng, settings.name)
        self.limits = Limits(settings.limits, clock, endpoint=settings.name)
        self._writing = LateWaits()
        self._circuit: State = self.breaker.state  # as last told to the hooks
        self._answered = -math.inf  # when it last answered, whatever it said
        self._asked: float | None = None  # when the first attempt since then was sent

    async def admit(self, call: Call) -> "Attempt":
        """Wait until one attempt may be made, and until its witness, if there is one, has written it down.

        Raises:
            BudgetExceeded, PriceUnknown, LMRequestRejected: It cannot be paid for.
            EndpointOverloaded, DeadlineExceeded: It cannot be made in time.
            CircuitOpen: It must not be made.

        Also raises what a witness raises that cannot write it down.
        """
        limits, terms, witness = self.limits, call.request.terms, call.request.witness
        self.breaker.check()  # before anything is held: who would be refused anyway need not wait
        hold = None
        if terms.accounts:
            hold = await self.budget.reserve(call.request, call.body, call.deadline - self._clock.monotonic())
        elif witness is not None:
            hold = self.budget.unpaid(call.request, call.body)
        turn: Turn | None = None
        permit: int | None = None
        try:
            turn = limits.try_acquire(terms.caller, terms.priority, call.tokens)
            if turn is None:
                turn = await limits.acquire(call.deadline, terms.caller, terms.priority, call.tokens)
            started = self._in_time(call)
            permit = self.breaker.admit()
            if self.breaker.state != self._circuit:
                self.tell_circuit()
            if witness is not None and hold is not None:
                await self._write_down(call, witness, hold, call.deadline - started)
                started = self._in_time(call)
        except BaseException as error:
            if permit is not None:
                self.breaker.release(permit)
            if turn is not None:
                limits.finish(turn, seconds=0.0, tokens=0, error=error, headers=None)
            if hold is not None:
                hold.fail(error, sent=False, status=None)
            raise
        if self._asked is None:
            self._asked = started
        return Attempt(self, call, started, turn, permit, hold)

    def tell_circuit(self) -> None:
        """Tell of the circuit's state if it is another than was told last."""
        before, self._circuit = self._circuit, self.breaker.state
        if self._hooks and before != self._circuit:
            self._hooks.emit(CircuitChanged(self._name, before, self._circuit))

    def _in_time(self, call: Call) -> float:
        """Return the present, if the call's deadline has not passed."""
        now = self._clock.monotonic()
        if call.deadline <= now:
            raise DeadlineExceeded(f"{self._name}: the deadline passed before the call was made")
        return now

    async def _write_down(self, call: Call, witness: Witness, hold: Hold, left: float) -> None:
        """Have the witness write down the next attempt, within the ``left`` seconds until the deadline."""
        if call.key is None:
            call.key = witness.key()
        asked = request_hash(call.body, self._identity)
        task = self._writing.enter(left)
        try:
            await hold.intend(witness, call.key, call.attempts + 1, self._name, asked)
        finally:
            if self._writing.leave(task):
                message = f"{self._name}: the deadline passed while the call was written down"
                raise DeadlineExceeded(message) from None

    # --- for attempts -----------------------------------------------------------------------------------------

    def note_answer(self) -> float:
        """The endpoint has begun to answer, whatever it says; return when."""
        self._answered = now = self._clock.monotonic()
        self._asked = None
        return now

    def prove(self, attempt: "Attempt") -> None:
        """The first output of ``attempt`` is there: that is a probe's outcome, however long the rest takes."""
        if self.breaker.state == "half_open":
            attempt.proven = True
            self.breaker.record(attempt.permit, None, (attempt.answered or attempt.started) - attempt.started)
            self.tell_circuit()

    def end(self, attempt: "Attempt", error: BaseException | None, usage: Usage) -> None:
        """Take back what ``attempt`` held, but for its reservation, and tell how it ended."""
        now = self._clock.monotonic()
        seconds = now - attempt.started
        counted = usage.input_tokens + usage.output_tokens
        self.limits.finish(
            attempt.turn, seconds=seconds, tokens=counted or None, error=error, headers=attempt.headers
        )
        if attempt.call.words_alone:
            self._estimate.note(len(attempt.call.body), usage.input_tokens)
        breaker = self.breaker
        if attempt.proven:
            pass  # its permit has been taken back
        elif error is None:
            # A long reply that began to come soon is no slow one.
            breaker.record(attempt.permit, None, (attempt.answered or now) - attempt.started)
        elif isinstance(error, LMError | DeadlineExceeded) and self._says_something(error):
            breaker.record(attempt.permit, error, seconds)
        else:
            breaker.release(attempt.permit)
        if breaker.state != self._circuit:
            self.tell_circuit()
        if self._hooks:
            code = None
            if error is not None:
                # If its caller went away, it was sent all the same: a provider may count it.
                code = error.code if isinstance(error, LMError | DeadlineExceeded) else "cancelled"
            self._hooks.emit(LMCallFinished(self._name, seconds, code, usage.input_tokens, usage.output_tokens))

    def _says_something(self, error: LMError | DeadlineExceeded) -> bool:
        """Whether a failure tells of the endpoint's health."""
        # Hurried callers must not shut out patient ones as long as anything is answered.
        return isinstance(error, LMError) or self._silence() >= self._patience

    def _silence(self) -> float:
        """Seconds since which the endpoint has been asked and has answered nobody."""
        # If no attempt followed the last answer, those under way have waited through all the time since.
        since = self._answered if self._asked is None else self._asked
        return self._clock.monotonic() - since


class Attempt:
    """One admitted attempt; it ends once, however often it is told.

    Attributes:
        started: Point on the clock.
        answered: When the answer's headers came; None before.
        headers: These; None before.
        proven: Whether it has shown, as a probe, that the endpoint is well.
        nameless: Whether somebody wants to know the provider's id of the answer, and has not been told.
    """

    __slots__ = (
        *("_gate", "_hold", "_over", "_status"),
        *("answered", "call", "headers", "nameless", "permit", "proven", "started", "turn"),
    )

    def __init__(self, gate: Gate, call: Call, started: float, turn: Turn, permit: int, hold: Hold | None) -> None:
        self._gate = gate
        self._hold = hold
        self._over = False
        self._status: int | None = None
        self.call = call
        self.started = started
        self.turn = turn
        self.permit = permit
        self.answered: float | None = None
        self.headers: Mapping[str, str] | None = None
        self.proven = False
        self.nameless = call.request.witness is not None

    def begin(self) -> None:
        """The first output of a stream is there."""
        self._gate.prove(self)

    def note_answer(self, status: int, headers: Mapping[str, str]) -> None:
        """The endpoint has begun to answer, whatever it says."""
        self._status = status
        self.headers = headers
        self.answered = self._gate.note_answer()

    def identify(self, response_id: str) -> None:
        """The provider has told its id of the answer, which is under way."""
        if self._hold is not None and response_id and not self._over:
            self.nameless = False
            self._hold.identify(response_id)

    def succeed(self, response: LMResponse) -> LMResponse:
        """The reply was whole; return it with what it cost."""
        usage = response.usage
        if response.content and not (usage.input_tokens and usage.output_tokens):
            usage = NONE_COUNTED  # half a count is none: a wall must not guess low
        cost = self.end(usage)
        return response if cost is None else response.priced(cost)

    def end(self, usage: Usage) -> Decimal | None:
        """What was asked for has come, and was counted as ``usage``; return what it cost, None if nobody knows."""
        if self._over:
            return None
        self._over = True
        try:
            if self._hold is not None:
                return self._hold.succeed(usage)
            return self._gate.budget.cost(self.call.request, usage)
        finally:
            self._gate.end(self, None, usage)

    def fail(self, error: BaseException) -> None:
        """It was not."""
        if self._over:
            return
        self._over = True
        try:
            if self._hold is not None:
                self._hold.fail(error, sent=was_sent(error), status=self._status)
        finally:
            self._gate.end(self, error, NONE_COUNTED)
