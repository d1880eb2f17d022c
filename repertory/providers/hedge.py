"""Two endpoints asked for one reply, the second only if the first is late: whichever answers first counts."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from repertory.errors import RepertoryError
from repertory.providers.candidate import Candidate
from repertory.providers.ladder import Ladder
from repertory.providers.messages import LMRequest, LMResponse

Ask: TypeAlias = Callable[[Candidate, LMRequest], Coroutine[Any, Any, LMResponse]]
Result: TypeAlias = LMResponse | RepertoryError


class Hedge:
    """One call's first request, and its second one.

    Invariant: when ``answer`` returns or raises, the tasks of both have ended and nothing they raised is unheard;
    the one whose answer is not taken was cancelled, down to the socket.

    Args:
        ladder: Where the second one is taken from.
        first: The candidate it handed out.
        ask: How to ask one.
        spend: Whether one more request is allowed; it is sent then.

    Attributes:
        second: The second candidate, once it is asked.
        won: Whether its answer was taken.
    """

    __slots__ = ("_ask", "_first", "_ladder", "_spend", "_tasks", "second", "won")

    def __init__(self, ladder: Ladder, first: Candidate, ask: Ask, spend: Callable[[], bool]) -> None:
        self._ladder = ladder
        self._first = first
        self._ask = ask
        self._spend = spend
        self._tasks: list[asyncio.Task[Result]] = []
        self.second: Candidate | None = None
        self.won = False

    async def answer(self, patience: float) -> LMResponse | None:
        """Return the answer that comes first; None if there is none and the ladder goes on.

        Args:
            patience: Seconds after which the first one is late.

        Raises:
            RepertoryError: A failure that is no reason to ask another.
        """
        try:
            early = self._start(self._first)
            await asyncio.wait((early,), timeout=patience)
            if not early.done():
                self.second = self._spare()
            if self.second is None:
                return self._taken(self._first, await early)
            return await self._better(early, self.second, self._start(self.second))
        finally:
            await self._end()

    async def _better(
        self, early: asyncio.Task[Result], second: Candidate, late: asyncio.Task[Result]
    ) -> LMResponse | None:
        await asyncio.wait((early, late), return_when=asyncio.FIRST_COMPLETED)
        if not (late.done() and isinstance(late.result(), LMResponse)):
            # A second one that failed fails in peace until it is known what becomes of the first.
            response = self._taken(self._first, await early)
            if response is not None:
                return response
        response = self._taken(second, await late)
        self.won = response is not None
        return response

    def _spare(self) -> Candidate | None:
        """The second candidate, if there is one and it may be asked."""
        return self._ladder.next() if self._ladder.has_spare() and self._spend() else None

    def _start(self, candidate: Candidate) -> asyncio.Task[Result]:
        task = asyncio.create_task(self._result(candidate, self._ladder.asked))
        self._tasks.append(task)
        return task

    async def _result(self, candidate: Candidate, request: LMRequest) -> Result:
        """What asking came to. Failures are results here, as one of the two may fail in peace."""
        try:
            return await self._ask(candidate, request)
        except RepertoryError as error:
            return error

    def _taken(self, candidate: Candidate, result: Result) -> LMResponse | None:
        """The answer; None if it is a failure after which the ladder goes on."""
        if isinstance(result, LMResponse):
            return result
        if not self._ladder.failed(candidate, result):
            raise result
        return None

    async def _end(self) -> None:
        """Cancel what still runs and return when it has ended, however often the caller is cancelled meanwhile."""
        for task in self._tasks:
            task.cancel()
        cancelled: asyncio.CancelledError | None = None
        while running := [task for task in self._tasks if not task.done()]:
            try:
                await asyncio.wait(running)
            except asyncio.CancelledError as error:
                cancelled = error
        for task in self._tasks:
            if not task.cancelled():
                task.exception()  # heard, or the loop would complain of it when the task is collected
        if cancelled is not None:
            raise cancelled
