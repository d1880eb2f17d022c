"""A cutoff: ends work from outside, without ending the tasks that do it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from repertory.errors import RuntimeClosed


class Cutoff:
    """Cancels whatever is inside ``covering`` when ``cut`` is called, and refuses what would enter later.

    Invariant: ``_scopes`` holds the scope of each block under way, none of them cut before ``made``.

    Attributes:
        announced: Whether work is asked to come to its end by itself, before it is cut off.
        made: Whether it was.
    """

    def __init__(self) -> None:
        self.announced = False
        self.made = False
        self._scopes: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def covering(self) -> AsyncIterator[None]:
        """Run the block until it ends or is cut off. Raises RuntimeClosed if it was cut off.

        A cancellation of the task itself stays one: what leaves the block is then CancelledError.
        """
        if self.made:
            raise _stopping()
        scope = asyncio.timeout(None)
        self._scopes.add(scope)
        try:
            async with scope:
                yield
        except TimeoutError:
            if scope.expired():
                raise _stopping() from None
            raise
        finally:
            self._scopes.discard(scope)

    def cut(self) -> None:
        """End the blocks under way; harmless when repeated."""
        if self.made:
            return
        self.made = True
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            scope.reschedule(now)


def _stopping() -> RuntimeClosed:
    return RuntimeClosed("the service is stopping", hint="Ask again; another instance may answer.")
