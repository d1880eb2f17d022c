"""Doubles for tests of programs: a clock moved by hand and a language model that answers from a script."""

import asyncio
import heapq
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import TypeAlias

from repertory.errors import LMRequestRejected
from repertory.providers.messages import (
    Delta,
    End,
    LMRequest,
    LMResponse,
    SchemaDialect,
    TextDelta,
    Usage,
    UsageDelta,
)

Answer: TypeAlias = str | LMResponse | Exception


class FakeClock:
    """A ``Clock`` that stands still until ``advance`` is called.

    Example::

        clock = FakeClock()
        waiting = asyncio.create_task(clock.sleep(5))
        await clock.until_asleep()
        clock.advance(5)
        await waiting
    """

    def __init__(self, monotonic: float = 1000.0, time: float = 1_700_000_000.0) -> None:
        self._now = monotonic
        self._epoch = time - monotonic
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._watchers: list[tuple[int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        """Seconds on the fake clock."""
        return self._now

    def time(self) -> float:
        """Seconds since the Unix epoch on the fake clock."""
        return self._epoch + self._now

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was advanced by ``seconds``; 0 or less yields to the loop once."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        awake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), awake))
        self._tell_watchers()
        await awake

    def advance(self, seconds: float) -> None:
        """Move the clock forward; wake those whose time has come, the earliest first."""
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            awake = heapq.heappop(self._sleepers)[2]
            if not awake.done():
                awake.set_result(None)

    @property
    def sleeping(self) -> int:
        """How many tasks sleep on this clock."""
        return sum(not awake.done() for _, _, awake in self._sleepers)

    def next_wake(self) -> float | None:
        """Seconds until the first sleeper's time has come; None if nobody sleeps."""
        return min((when - self._now for when, _, awake in self._sleepers if not awake.done()), default=None)

    async def until_asleep(self, sleepers: int = 1) -> None:
        """Return as soon as at least ``sleepers`` tasks sleep on this clock."""
        if self.sleeping < sleepers:
            reached = asyncio.get_running_loop().create_future()
            self._watchers.append((sleepers, reached))
            await reached

    def _tell_watchers(self) -> None:
        sleeping = self.sleeping
        for wanted, reached in self._watchers:
            if wanted <= sleeping and not reached.done():
                reached.set_result(None)
        self._watchers = [watcher for watcher in self._watchers if not watcher[1].done()]


class ScriptedLM:
    """An ``LM`` that answers from a script and keeps the requests.

    Args:
        script: The answers in order, or a function from the request to its answer. An answer is the reply's
            text, a whole ``LMResponse``, or an exception to raise.
        name: What events and errors call it.
        schema_dialect: The subset of JSON Schema it claims to follow; None for none.
        keep: How many of the latest requests it keeps in ``requests``; None: all.

    Attributes:
        asked: How many requests it got.

    A list that has run out answers with ``LMRequestRejected``. Usage counts words as tokens.

    Example::

        lm = ScriptedLM(["Paris", LMTimeout("too slow"), "Rome"])
        lm = ScriptedLM(lambda request: request.messages[-1].text.upper())
    """

    def __init__(
        self,
        script: Iterable[Answer] | Callable[[LMRequest], Answer],
        *,
        name: str = "scripted",
        schema_dialect: SchemaDialect | None = "json_schema",
        keep: int | None = None,
    ) -> None:
        self.name = name
        self.schema_dialect = schema_dialect
        self.requests: list[LMRequest] = []
        self.asked = 0
        self.closed = False
        self._keep = keep
        self._answer = script if callable(script) else _in_order(iter(script))

    async def complete(self, request: LMRequest) -> LMResponse:
        """Record the request and give the script's answer to it."""
        self.asked += 1
        self.requests.append(request)
        if self._keep is not None:
            del self.requests[: max(0, len(self.requests) - self._keep)]
        answer = self._answer(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, LMResponse):
            return answer
        words_in = sum(len(message.text.split()) for message in request.messages)
        usage = Usage(input_tokens=words_in, output_tokens=len(answer.split()))
        return LMResponse(answer, "stop", usage, model=self.name, id=f"{self.name}-{self.asked}")

    @asynccontextmanager
    async def stream(self, request: LMRequest) -> AsyncIterator[AsyncIterator[Delta]]:
        """Give the script's answer word by word."""
        yield _word_by_word(await self.complete(request))

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


async def _word_by_word(response: LMResponse) -> AsyncIterator[Delta]:
    for piece in re.findall(r"\s*\S+|\s+$", response.text):
        yield TextDelta(piece)
    yield UsageDelta(response.usage)
    yield End(response)


def _in_order(answers: Iterator[Answer]) -> Callable[[LMRequest], Answer]:
    given = count()

    def answer(_: LMRequest) -> Answer:
        for scripted in answers:
            next(given)
            return scripted
        return LMRequestRejected(f"the script has no answer left after {next(given)}")

    return answer
