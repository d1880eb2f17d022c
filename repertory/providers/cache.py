"""The cache of an endpoint's answers: memory over the store, and equal calls at the same time are one.

It answers exact repetitions alone: what makes two requests the same is ``cache_key``'s business.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, TypeAlias

from repertory.clock import Clock
from repertory.errors import ConfigError, RuntimeClosed
from repertory.events import Hooks
from repertory.providers.cache_store import CacheStore
from repertory.providers.kept_replies import KeptReplies
from repertory.providers.messages import LMRequest, LMResponse
from repertory.providers.response_json import from_json, to_json
from repertory.providers.single_flight import Flight
from repertory.store.replies import Replies

Ask: TypeAlias = Callable[[float | None], Awaitable[LMResponse]]
"""Asks the model; its argument is the deadline, a point on the clock, None if there is none."""

FREE: Final = Decimal(0)
KEPT_REASONS: Final = frozenset({"stop", "tool_calls", "length"})
LAST_CALLS = 5.0  # seconds a close waits for calls that it has cancelled


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How much is kept for how long.

    Args:
        max_bytes: Most bytes of answers in memory, as JSON; the least recently used leave first.
        ttl: Seconds an answer is fresh.
        stale_for: Seconds after that for which it is kept for callers with ``allow_stale``.
    """

    max_bytes: int = 64 * 2**20
    ttl: float = 86_400.0
    stale_for: float = 7 * 86_400.0

    def __post_init__(self) -> None:
        for name in ("max_bytes", "ttl", "stale_for"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ConfigError(f"cache: {name} = {value}: expected a number of 0 or more")


@dataclass(frozen=True, slots=True)
class CacheSnapshot:
    """A cache's state as data; counts are since the start."""

    entries: int  # answers in memory
    bytes: int  # of these, as JSON
    hits: int  # calls answered by what was kept, in memory or in the store
    misses: int  # calls for which the model was asked, refreshing ones included
    joined: int  # calls that waited for the answer to an equal one
    stale: int  # answers given although too old
    stored: int  # answers written to the store
    store_failures: int  # reads and writes of the store that failed


class ReplyCache:
    """Answers requests with what an equal one was answered before.

    Kept are answers that ended with ``stop``, ``tool_calls`` or ``length``. A refusal or a filter's verdict may be
    another one next time, and a reason of the endpoint's own is not known to be a success.

    An answer that was kept says so in ``source``. Its ``usage`` is what the original was counted for; its ``cost``
    is 0, as nothing is paid again. Of the callers whose calls were one, the first that still waits gets the answer
    as the model's, with its cost, and the others as from the cache: sums of costs come out right.

    Args:
        settings: How much is kept for how long.
        clock: What deadlines are points on and ages are told by.
        replies: The store's table; None keeps answers in memory only.
        endpoint: The endpoint's name, for events and errors.
        hooks: Told when the store fails.
    """

    def __init__(
        self,
        settings: CacheSettings,
        clock: Clock,
        *,
        replies: Replies | None = None,
        endpoint: str = "endpoint",
        hooks: Hooks | None = None,
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._kept = KeptReplies(clock, settings.max_bytes, settings.ttl, settings.stale_for)
        self._ttl = settings.ttl
        self._store: CacheStore | None = None
        if replies is not None:
            self._store = CacheStore(
                replies,
                clock,
                lifetime=settings.ttl + settings.stale_for,
                most_unwritten=settings.max_bytes,
                endpoint=endpoint,
                hooks=hooks if hooks is not None else Hooks(),
            )
        self._flights: dict[str, Flight] = {}  # the newest under each key
        self._under_way: set[Flight] = set()
        self._closed = False
        self._hits = 0
        self._misses = 0
        self._joined = 0
        self._stale = 0

    def __repr__(self) -> str:
        return f"ReplyCache({len(self._kept)} answers, {self._kept.size} bytes)"

    async def answer(self, key: str, request: LMRequest, ask: Ask) -> LMResponse:
        """Return the answer that is kept under ``key``, or that ``ask`` gives.

        As the request's terms say: ``use`` takes one that is fresh; ``refresh`` asks, and replaces it; ``bypass``
        asks and has nothing to do with the cache.

        Equal calls at the same time are one, with the latest deadline of those who wait when the model is asked.
        It goes on as long as anybody waits for it; each caller leaves at its own deadline. If it fails for lack of
        time or money that another caller has, that one asks anew.

        Args:
            key: The request's ``cache_key``.
            request: What is asked.
            ask: Asks the model. Its answer may go to other callers as well, even if this one has left.

        Raises:
            DeadlineExceeded: The request's deadline came first.
            RuntimeClosed: The cache was closed.
            LMError: As ``ask`` raises.
        """
        self._check_open()
        if request.terms.cache == "bypass":
            return await ask(request.deadline)
        if request.terms.cache == "use" and (kept := self._in_memory(key)) is not None:
            return kept
        while True:
            flight = self._flight(key, request, ask)
            seat = flight.board(request.deadline, request.terms.accounts)
            await flight.wait(seat)
            if flight.settles(seat):
                response = flight.outcome(seat)
                return response if flight.pays(seat) else replace(response, source="cache", cost=FREE)

    async def stale(self, key: str) -> LMResponse | None:
        """Return the answer kept under ``key``, even one too old: for callers who prefer that to none."""
        text = self._kept.fresh_or_stale(key)
        if text is None and self._store is not None and (found := await self._store.get(key)) is not None:
            text = found[0]
        response = None if text is None else from_json(text, "stale")
        self._stale += response is not None
        return response

    def shrink(self, share: float) -> int:
        """Give up ``share`` (0..1) of the memory's bytes, as `KeptReplies.shrink`; return how many bytes went."""
        return self._kept.shrink(share)

    async def close(self) -> None:
        """End the calls under way, whose callers get ``RuntimeClosed``, and wait for what is being written."""
        self._closed = True
        if self._under_way:
            await asyncio.wait([flight.stop(self._gone()) for flight in self._under_way], timeout=LAST_CALLS)
        if self._store is not None:
            await self._store.close()

    def snapshot(self) -> CacheSnapshot:
        """Return the present state."""
        store = self._store
        return CacheSnapshot(
            entries=len(self._kept),
            bytes=self._kept.size,
            hits=self._hits,
            misses=self._misses,
            joined=self._joined,
            stale=self._stale,
            stored=0 if store is None else store.stored,
            store_failures=0 if store is None else store.failures,
        )

    def _check_open(self) -> None:
        if self._closed:
            raise self._gone()

    def _gone(self) -> RuntimeClosed:
        return RuntimeClosed(f"{self._endpoint}: the endpoint was closed")

    def _in_memory(self, key: str) -> LMResponse | None:
        text = self._kept.fresh(key)
        response = None if text is None else from_json(text, "cache")
        self._hits += response is not None
        return response

    def _flight(self, key: str, request: LMRequest, ask: Ask) -> Flight:
        """The flight to join, or a new one."""
        self._check_open()
        flight = self._flights.get(key)
        # Who wants a new answer cannot do with one that may come from the store.
        if flight is not None and flight.open and (flight.refreshes or request.terms.cache == "use"):
            self._joined += 1
            return flight
        flight = self._flights[key] = Flight(
            key,
            request.terms.accounts,
            refreshes=request.terms.cache == "refresh",
            endpoint=self._endpoint,
            clock=self._clock,
            call=lambda flight: self._fly(flight, ask),
            on_end=self._end,
        )
        self._under_way.add(flight)
        return flight

    async def _fly(self, flight: Flight, ask: Ask) -> LMResponse:
        if self._store is not None and not flight.refreshes:
            flight.time()
            if (stored := await self._in_store(self._store, flight)) is not None:
                self._hits += 1
                return stored
        self._misses += 1
        response = await ask(flight.depart())
        if self._is_newest(flight) and _worth_keeping(response):
            self._keep(flight.key, response)
        return response

    async def _in_store(self, store: CacheStore, flight: Flight) -> LMResponse | None:
        """The answer in the store, if it is fresh; it is in memory then."""
        found = await store.get(flight.key)
        if found is None or found[1] >= self._ttl or (response := from_json(found[0], "cache")) is None:
            return None
        if self._is_newest(flight):
            self._kept.put(flight.key, *found)
        return response

    def _is_newest(self, flight: Flight) -> bool:
        """Whether no refresh has overtaken ``flight``: what it brings would replace a newer answer."""
        return self._flights.get(flight.key) is flight

    def _keep(self, key: str, response: LMResponse) -> None:
        try:
            text = to_json(response)
        except TypeError:  # not Unicode: no wire brings such a text
            return
        self._kept.put(key, text)
        if self._store is not None:
            self._store.put(key, text)

    def _end(self, flight: Flight) -> None:
        self._under_way.discard(flight)
        if self._is_newest(flight):
            del self._flights[flight.key]


def _worth_keeping(response: LMResponse) -> bool:
    return response.finish_reason in KEPT_REASONS and all(
        other.finish_reason in KEPT_REASONS for other in response.others
    )
