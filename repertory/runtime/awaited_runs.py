"""Runs whose outcome is waited for here and which are not executed here, or not yet."""

import asyncio
from itertools import islice
from typing import Final

from repertory.clock import Clock
from repertory.errors import RepertoryError, StoreError
from repertory.store.run_table import RunTable

INTERVAL: Final = 0.1  # seconds between two looks
LOOKED_AT: Final = 1000  # runs in one look at most; the others take turns


class AwaitedRuns:
    """Tells whoever waits for news of a run: that it was begun here, or has ended wherever it was executed.

    Invariant: ``_waiting`` has the futures of those who wait now, and no run without one. However many wait, one
    query at a time asks for all of them.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._some = asyncio.Event()
        self._closed: RepertoryError | None = None

    async def news(self, run: str) -> None:
        """Return when there is news of ``run``. Raises StoreError, and why there will be none."""
        if self._closed is not None:
            raise self._closed
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run, set()).add(news)
        self._some.set()
        try:
            await news
        finally:
            if (others := self._waiting.get(run)) is not None:
                others.discard(news)
                if not others:
                    del self._waiting[run]

    def tell(self, run: str, failure: RepertoryError | None = None) -> None:
        """There is news of ``run``, or nobody will ever know of any."""
        for news in self._waiting.pop(run, ()):
            if not news.done():
                if failure is None:
                    news.set_result(None)
                else:
                    news.set_exception(failure)

    def close(self, why: RepertoryError) -> None:
        """Nobody looks any more."""
        self._closed = why
        for run in [*self._waiting]:
            self.tell(run, why)

    async def watch(self, table: RunTable, clock: Clock) -> None:
        """Look for the ends of these runs, until cancelled."""
        while True:
            self._some.clear()
            if not self._waiting:
                await self._some.wait()
            await clock.sleep(INTERVAL)
            await self._look(table)

    async def _look(self, table: RunTable) -> None:
        runs = [*islice(self._waiting, LOOKED_AT)]
        for run in runs:  # the next look begins with others
            self._waiting[run] = self._waiting.pop(run)
        try:
            ended = {*runs} - await table.unended(runs)
        except StoreError as error:
            for run in runs:
                self.tell(run, error)
            return
        for run in ended:
            self.tell(run)
