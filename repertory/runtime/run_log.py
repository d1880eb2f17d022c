"""The log of a run: what happened in it, numbered from 1 without a gap, by the one process that executes it.

The journal is made of these logs: a run that was interrupted goes on from what its log says. The kinds of events:

========== ======================================================================================================
accepted   the run is to be done
call       a model is about to be called: what is asked of whom, and what that costs at most
response   the provider's id of the answer under way
uncertain  a process died while this call was under way: nobody knows whether it was billed
delta      a piece of an answer
reset      the pieces so far of this answer are void
step       a step has its outcome; ``inherited`` from the run that this one was forked from
restart    the run begins anew with other code of its program: what is recorded before is not read
parameters what holds for this run alone of its predictors' parameters
timer      the run sleeps until a point in time
signal     something was said to the run from outside
done       the run has its outcome, for now: one that failed may be tried again
========== ======================================================================================================
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from repertory.clock import Clock
from repertory.signatures.json_text import dump_json, load_json
from repertory.store.run_rows import NewEvent, Uncertain
from repertory.store.run_table import RunTable

KEPT: Final = 1024  # events a log without a store remembers
PAGE: Final = 256  # events read from the store at a time
LOOK_INTERVAL: Final = 0.25  # seconds between two looks at the log of a run that another process executes


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One thing that happened in a run.

    Attributes:
        id: Its number within the run, from 1.
        kind: What it is; ``gap`` where events are not kept any more: ``data`` tells ``from`` which ``to`` which.
        at: Seconds since the Unix epoch.
    """

    id: int
    kind: str
    data: Mapping[str, Any]
    at: float


class DoubtfulCall(Protocol):
    """What is known of a call of which nobody knows whether it was billed."""

    @property
    def event(self) -> int:
        """The number of its intent."""
        ...

    @property
    def endpoint(self) -> str: ...

    @property
    def request_hash(self) -> str: ...

    @property
    def nano_most(self) -> int | None:
        """What it cost at most, in nano-dollars."""
        ...

    @property
    def tokens_most(self) -> int | None: ...


class RunLog:
    """The log of a run that this process executes.

    Attributes:
        closed: Whether nothing is added any more.

    Invariant: ``last`` is the number of the latest event, and all up to it have been handed to the store in order.

    Args:
        table: Where it is kept; None: in memory, and only its latest part.
        last: The number of the latest event there.
    """

    __slots__ = (
        *("_clock", "_delta", "_delta_write", "_kept", "_last_write", "_many", "_table", "_unsettled", "_waiting"),
        *("closed", "last", "run"),
    )

    def __init__(self, run: str, clock: Clock, table: RunTable | None, last: int = 0) -> None:
        self.run = run
        self.last = last
        self.closed = False
        self._clock = clock
        self._table = table
        self._kept: deque[RunEvent] | None = deque(maxlen=KEPT) if table is None else None
        self._waiting: list[asyncio.Future[None]] = []  # readers that have read all there is
        self._last_write: asyncio.Future[bool] | None = None
        self._unsettled: list[asyncio.Future[bool]] = []  # writes that `flush` has not looked at
        self._many = 64  # of them: time to let go of those that went well
        self._delta: dict[str, list[str]] = {}  # pieces yet to be appended, by step
        self._delta_write: asyncio.Future[bool] | None = None

    def append(self, kind: str, data: Mapping[str, Any]) -> "asyncio.Future[bool] | None":
        """Add an event; it is on disk when the future is done, if there is one."""
        if self._delta:
            self._append_deltas()
        return self._append(kind, data)

    def append_delta(self, step: str, text: str) -> None:
        """Add a piece of an answer. Pieces that come while one is being written become one."""
        self._delta.setdefault(step, []).append(text)
        if self._delta_write is None or self._delta_write.done():
            self._append_deltas()

    def doubt(self, call: "DoubtfulCall", policy: str) -> None:
        """List ``call`` as one of which nobody knows whether it was billed."""
        if self._table is not None:
            most = (call.nano_most, call.tokens_most)
            now = self._clock.time()
            entry = Uncertain(self.run, call.event, call.endpoint, call.request_hash, *most, policy, now)
            self._unsettled.append(self._table.record(entry))

    async def flush(self) -> None:
        """Return once all events are on disk. Raises StoreError."""
        if self._delta:
            self._append_deltas()
        unsettled, self._unsettled = self._unsettled, []
        try:
            for write in unsettled:
                if not write.cancelled():  # else whoever waited for it went away
                    await write
        finally:
            for write in unsettled:
                write.add_done_callback(_hear)

    def abandon(self) -> None:
        """Nothing is added any more, and nobody waits for the writes under way."""
        self.closed = True
        for write in self._unsettled:
            write.add_done_callback(_hear)
        self._unsettled.clear()

    def _append(self, kind: str, data: Mapping[str, Any]) -> "asyncio.Future[bool] | None":
        self.last += 1
        at = self._clock.time()
        write = None
        if self._table is not None:
            write = self._table.record(NewEvent(self.run, self.last, kind, dump_json(data).decode(), at))
            self._last_write = write
            self._unsettled.append(write)
            if len(self._unsettled) > self._many:
                self._unsettled = [each for each in self._unsettled if not _went_well(each)]
                self._many = max(64, 2 * len(self._unsettled))
        elif self._kept is not None:
            self._kept.append(RunEvent(self.last, kind, data, at))
        if self._waiting:
            self._wake()
        return write

    def _append_deltas(self, _done: object = None) -> None:
        deltas, self._delta = self._delta, {}
        for step, pieces in deltas.items():
            self._delta_write = self._append("delta", {"step": step, "text": "".join(pieces)})
        if deltas and self._delta_write is not None:
            self._delta_write.add_done_callback(self._append_deltas)

    # --- reading ---

    async def wait_beyond(self, last: int) -> None:
        """Return once an event with a number above ``last`` can be read. Raises StoreError if it is not kept."""
        while self.last <= last:
            news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(news)
            try:
                await news
            finally:
                if news in self._waiting:
                    self._waiting.remove(news)
        if (write := self._last_write) is not None:
            await asyncio.wait({write})
            write.result()

    def kept(self, after: int) -> list[RunEvent]:
        """The events after number ``after``; a gap tells of those that are not remembered."""
        kept = [event for event in self._kept or () if event.id > after]
        first = kept[0].id if kept else self.last + 1
        if first > after + 1:
            return [gap(after + 1, first - 1, self._clock.time()), *kept]
        return kept

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for news in waiting:
            if not news.done():
                news.set_result(None)


def gap(first: int, last: int, at: float) -> RunEvent:
    """Tells a reader that the events from number ``first`` to ``last`` are not kept any more."""
    return RunEvent(last, "gap", {"from": first, "to": last}, at)


async def read_log(
    run: str, table: RunTable | None, log: RunLog | None, clock: Clock, after: int = 0
) -> AsyncIterator[RunEvent]:
    """The events of a run from number ``after`` + 1 on, as they come, up to its ``done``.

    A reader is told of each number once, be it within a gap. One that does not read costs nothing but its place:
    what it has not read is in the store, or is forgotten.

    Args:
        log: That of a run which this process executes; None: another one does, or none.
    """
    while True:
        if table is not None:
            page = [
                RunEvent(row.id, row.kind, load_json(row.data), row.at)
                for row in await table.events(run, after, PAGE)
            ]
        else:
            page = log.kept(after) if log is not None else []
        for event in page:
            if event.id > after + 1 and event.kind != "gap":
                yield gap(after + 1, event.id - 1, event.at)
            after = event.id
            yield event
            if event.kind == "done" and (log is None or log.last <= after):
                return
        if page:
            continue
        if log is not None:
            await log.wait_beyond(after)
        else:
            await clock.sleep(LOOK_INTERVAL)


def _went_well(write: "asyncio.Future[bool]") -> bool:
    return write.done() and not write.cancelled() and write.exception() is None


def _hear(write: "asyncio.Future[bool]") -> None:
    if not write.cancelled():
        write.exception()
