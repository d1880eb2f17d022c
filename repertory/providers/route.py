"""An LM over several endpoints: a policy says who is asked first, and who fails is stood in for by the next."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from random import Random

from repertory.clock import Clock
from repertory.errors import (
    ConfigError,
    LMError,
    LMModelUnknown,
    LMRequestRejected,
    RepertoryError,
    RuntimeClosed,
)
from repertory.events import CallHedged, FellBack, Hooks, StaleServed
from repertory.providers.candidate import Candidate
from repertory.providers.hedge import Hedge
from repertory.providers.ladder import Ladder
from repertory.providers.messages import Delta, LMRequest, LMResponse, SchemaDialect
from repertory.providers.policies import Order, Outcome, Policy
from repertory.providers.policies.hedged import Hedging
from repertory.providers.replay import deltas_of


@dataclass(frozen=True, slots=True)
class CandidateSnapshot:
    """A route's dealings with one of its endpoints, as data."""

    name: str
    obstacle: str | None  # why it should not be asked at present
    asked: int  # since the start, second requests included
    failed: int  # of these, ended by an error


@dataclass(frozen=True, slots=True)
class RouteSnapshot:
    """A route's state as data."""

    name: str
    policy: str
    candidates: tuple[CandidateSnapshot, ...]
    calls: int  # since the start
    failures: int  # of these, ended by an error; a cancelled call is none
    hedged: int  # second requests sent beside a first
    stale: int  # old answers given as nobody had a new one


class Route:
    """An ``LM`` that asks its candidates in the order of its policy, until one answers.

    Which failures are a reason to ask the next is said at ``Ladder.failed``. If all have failed, an old answer is
    given to a request that allows one; else the most telling failure is raised, with the others in its words. Each
    candidate repeats what fails by its own settings before its failure is seen here.

    A stream is passed on to the next candidate until its first delta is there. A ``Hedged`` policy asks a second
    endpoint for whole replies alone.

    The reply is constrained to a schema only if all candidates follow the same dialect; else ``schema_dialect`` is
    None and no candidate is given a schema, as one made for one dialect is an error in another.

    Args:
        name: What events and errors call it.
        candidates: Who can be asked, with different names. They belong to the caller: ``close`` leaves them open.
        policy: In which order they are asked.
        share: The part of the time left that a candidate may use while another, or an old answer, stands behind
            it. 1 leaves it to the candidates' own timeouts; less keeps one that hangs from using up the call's
            deadline. Calls without a deadline are not shortened.

    Raises ConfigError if there is no candidate, two have one name, or the policy or the share do not fit.
    """

    def __init__(
        self,
        name: str,
        candidates: Sequence[Candidate],
        policy: Policy,
        *,
        clock: Clock,
        hooks: Hooks,
        rng: Random,
        share: float = 1.0,
    ) -> None:
        names = [each.name for each in candidates]
        _check(name, names, share)
        self._name = name
        self._candidates = tuple(candidates)
        self._policy = policy
        self._clock = clock
        self._hooks = hooks
        self._share = share
        # Streams have an order of their own: a first delta's latency must not be compared with a whole reply's.
        self._whole = policy.over(names, clock, rng)
        self._streamed = policy.over(names, clock, rng)
        dialects = {each.schema_dialect for each in candidates}
        self._mixed = len(dialects) > 1
        self._dialect = None if self._mixed else dialects.pop()
        self._closed = False
        self._tallies = {each: _Tally() for each in names}
        self._calls = self._failures = self._hedged = self._stale = 0

    def __repr__(self) -> str:
        return f"Route({self._name!r}, {[each.name for each in self._candidates]!r}, {self._policy!r})"

    @property
    def name(self) -> str:
        """What events and errors call it."""
        return self._name

    @property
    def schema_dialect(self) -> SchemaDialect | None:
        """What all candidates constrain replies with; None if they do not, or not all with the same."""
        return self._dialect

    async def complete(self, request: LMRequest) -> LMResponse:
        """Return the first answer a candidate gives; see ``LM.complete`` for what it raises."""
        try:
            order = self._whole
            ladder = self._begin(request, order)
            candidate = ladder.next()
            if isinstance(order, Hedging) and candidate is not None:
                patience = order.patience(request, candidate.name)
                if patience is not None and ladder.has_spare():
                    response = await self._hedge(ladder, order, candidate, patience)
                    if response is not None:
                        return response
                    candidate = self._next(ladder)
            while candidate is not None:
                try:
                    return await self._ask(candidate, ladder.asked)
                except RepertoryError as error:
                    if not ladder.failed(candidate, error):
                        raise
                candidate = self._next(ladder)
            return await self._old(ladder)
        except RepertoryError:
            self._failures += 1
            raise

    @asynccontextmanager
    async def stream(self, request: LMRequest) -> AsyncIterator[AsyncIterator[Delta]]:
        """Give the reply of the first candidate that begins one; see ``LM.stream``."""
        async with AsyncExitStack() as opened:
            try:
                deltas = await self._open(request, opened)
            except RepertoryError:
                self._failures += 1
                raise
            yield deltas

    def can_fetch(self, endpoint: str) -> bool:
        """Whether an answer that the candidate named ``endpoint`` has given can be fetched again by its id."""
        return any(each.name == endpoint and each.can_fetch for each in self._candidates)

    async def fetch(
        self, endpoint: str, response_id: str, deadline: float, request: LMRequest | None = None
    ) -> LMResponse | None:
        """Return an answer that the candidate named ``endpoint`` has given before; see ``Endpoint.fetch``.

        Raises LMRequestRejected if there is no such candidate.
        """
        for each in self._candidates:
            if each.name == endpoint:
                return await each.fetch(response_id, deadline, request)
        names = ", ".join(each.name for each in self._candidates)
        raise LMRequestRejected(f"{self._name}: it has no endpoint {endpoint!r}", hint=f"It has: {names}.")

    async def close(self) -> None:
        """Take no more calls. Those under way go on, and the candidates stay open: they are their owner's."""
        self._closed = True

    def snapshot(self) -> RouteSnapshot:
        """Return the present state."""
        tallies = self._tallies
        return RouteSnapshot(
            name=self._name,
            policy=repr(self._policy),
            candidates=tuple(
                CandidateSnapshot(each.name, each.obstacle(), tallies[each.name].asked, tallies[each.name].failed)
                for each in self._candidates
            ),
            calls=self._calls,
            failures=self._failures,
            hedged=self._hedged,
            stale=self._stale,
        )

    def _begin(self, request: LMRequest, order: Order) -> Ladder:
        self._calls += 1
        if self._closed:
            raise RuntimeClosed(f"{self._name}: the route was closed")
        if self._mixed and request.response_schema is not None:
            request = replace(request, response_schema=None)
        return Ladder(request, order.rank(request, self._candidates), self._share, self._clock)

    def _next(self, ladder: Ladder) -> Candidate | None:
        """The candidate that stands in for the one that failed last."""
        candidate = ladder.next()
        if candidate is not None and self._hooks:
            endpoint, error = ladder.failures[-1]
            self._hooks.emit(FellBack(self._name, endpoint, candidate.name, error.code))
        return candidate

    async def _ask(self, candidate: Candidate, request: LMRequest) -> LMResponse:
        """Ask one candidate for a whole reply, and remember how that went."""
        name, order, tally = candidate.name, self._whole, self._tallies[candidate.name]
        tally.asked += 1
        order.sent(name)
        outcome: Outcome = "left"
        started = self._clock.monotonic()
        try:
            response = await candidate.complete(request)
            if response.source == "model":
                outcome = "answered"
        except RepertoryError as error:
            tally.failed += 1
            outcome = _outcome(error)
            raise
        finally:
            order.ended(name, self._clock.monotonic() - started, outcome)
        return response

    async def _hedge(
        self, ladder: Ladder, order: Hedging, candidate: Candidate, patience: float
    ) -> LMResponse | None:
        """Ask ``candidate`` and, if it is late, the next one too; None if that came to nothing."""
        hedge = Hedge(ladder, candidate, self._ask, order.spend)
        try:
            return await hedge.answer(patience)
        finally:
            if hedge.second is not None:
                self._hedged += 1
                if self._hooks:
                    self._hooks.emit(CallHedged(self._name, candidate.name, hedge.second.name, hedge.won))

    async def _open(self, request: LMRequest, opened: AsyncExitStack) -> AsyncIterator[Delta]:
        """Open the stream of the first candidate that has one."""
        ladder = self._begin(request, self._streamed)
        candidate = ladder.next()
        while candidate is not None:
            try:
                return await self._enter(candidate, ladder.asked, opened)
            except RepertoryError as error:
                if not ladder.failed(candidate, error):
                    raise
            candidate = self._next(ladder)
        old = deltas_of(await self._old(ladder))
        return await opened.enter_async_context(aclosing(old))

    async def _enter(
        self, candidate: Candidate, request: LMRequest, opened: AsyncExitStack
    ) -> AsyncIterator[Delta]:
        """Wait for the first delta of one candidate, and remember how that went."""
        name, order, tally = candidate.name, self._streamed, self._tallies[candidate.name]
        tally.asked += 1
        order.sent(name)
        outcome: Outcome = "left"
        started = self._clock.monotonic()
        try:
            deltas = await opened.enter_async_context(candidate.stream(request))
            outcome = "answered"
        except RepertoryError as error:
            tally.failed += 1
            outcome = _outcome(error)
            raise
        finally:
            order.ended(name, self._clock.monotonic() - started, outcome)
        return deltas

    async def _old(self, ladder: Ladder) -> LMResponse:
        """An answer given before, if the request allows one; without one, raise why there is no new one."""
        failure, request = ladder.end(), ladder.request
        if request.terms.allow_stale:
            for candidate in self._candidates:
                response = await candidate.stale(request)
                if response is not None:
                    self._stale += 1
                    if self._hooks:
                        self._hooks.emit(StaleServed(self._name, candidate.name, failure.code))
                    return response
        raise failure


class _Tally:
    """How often a candidate was asked, and in vain."""

    __slots__ = ("asked", "failed")

    def __init__(self) -> None:
        self.asked = 0
        self.failed = 0


def _outcome(error: RepertoryError) -> Outcome:
    """What is told of an endpoint: refused requests and deadlines of the caller's are no failures of its own."""
    refused = isinstance(error, LMRequestRejected) and not isinstance(error, LMModelUnknown)
    return "failed" if isinstance(error, LMError) and not refused else "left"


def _check(name: str, names: Sequence[str], share: float) -> None:
    if not names:
        raise ConfigError(f"route {name}: it has no endpoints", hint="Give it at least one.")
    for each in names:
        if names.count(each) > 1:
            raise ConfigError(
                f"route {name}: two of its endpoints are called {each!r}", hint="Give each a name of its own."
            )
    if not 0 < share <= 1:
        raise ConfigError(
            f"route {name}: share = {share}: expected a number above 0, at most 1",
            hint="0.5 leaves half of the time to the endpoints behind one that hangs.",
        )
