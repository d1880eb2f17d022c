"""Writes to the journal, watched: whether it can be written at present, which only writing tells."""

import asyncio
from collections.abc import Awaitable, Sequence
from math import inf
from typing import TypeVar

from sqlalchemy import delete, insert

from repertory.clock import Clock
from repertory.errors import StoreError
from repertory.store import Store
from repertory.store.tables import runs
from repertory.store.transactions import Connection

OutcomeT = TypeVar("OutcomeT")

INTERVAL = 1.0  # seconds from one probe to the next at least
PATIENCE = 1.0  # seconds whoever asks waits for a probe's outcome

_ID = "probe"  # of no run: they have 32 characters
_RUN = {
    **dict.fromkeys(("program", "key", "fingerprint", "inputs", "status"), ""),
    "id": _ID,
    "accepted_at": 0.0,
}


class WatchedWrites:
    """The way to a store's runs.

    Attributes:
        failure: Why the latest write failed, in one line; None: it did not.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self.failure: str | None = None
        self._store = store
        self._clock = clock
        self._probe: asyncio.Future[None] | None = None  # the latest
        self._probed_at = -inf

    async def watch(self, write: Awaitable[OutcomeT]) -> OutcomeT:
        """The outcome of ``write``. Raises StoreError."""
        try:
            outcome = await write
        except StoreError as error:
            self._note(error)
            raise
        self.failure = None
        return outcome

    async def probe(self) -> None:
        """If the latest write failed, try one that leaves nothing behind; ``failure`` tells what came of it.

        There is one in `INTERVAL` seconds at most, and one that takes long is not waited for.
        """
        if self.failure is None:
            return
        now = self._clock.monotonic()
        if (self._probe is None or self._probe.done()) and now >= self._probed_at + INTERVAL:
            self._probed_at = now
            try:
                self._probe = self._store.submit(_come_and_go, None)
            except StoreError as error:  # it takes no writes any more
                self._note(error)
                return
            self._probe.add_done_callback(self._probed)
        if self._probe is not None:
            await asyncio.wait({self._probe}, timeout=PATIENCE)

    def _probed(self, probe: asyncio.Future[None]) -> None:
        if (error := probe.exception()) is None:
            self.failure = None
        else:
            self._note(error)

    def _note(self, error: BaseException) -> None:
        # Databases quote the values at fault in further lines.
        self.failure = str(error).partition("\n")[0]


async def _come_and_go(connection: Connection, probes: Sequence[None], /) -> list[None]:
    """An operation of the writer: a run comes, which takes the room that others take, and goes again."""
    await connection.execute(insert(runs), _RUN)
    await connection.execute(delete(runs).where(runs.c.id == _ID))
    return [None] * len(probes)
