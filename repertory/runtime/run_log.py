"""The log of a run: what happened in it, numbered from 1 without a gap, by the one process that executes it.

The journal is made of these logs: a run that was interrupted goes on from what its log says. The kinds of events:

========== ======================================================================================================
accepted   the run is to be done; what it was forked with: a number of steps, and ``parameters`` of its own
call       a model is about to be called: what is asked of whom, and what that costs at most
response   the provider's id of the answer under way
uncertain  a process died while this call was under way: nobody knows whether it was billed
delta      a piece of an answer
reset      the pieces so far of this answer are void
step       a step has its outcome; ``inherited`` from the run that this one was forked from
restart    the run begins anew with other code of its program: what is recorded before is not read
timer      the run sleeps until a point in time
signal     something was said to the run from outside
cancel     somebody who may has asked it to stop
done       the run has its outcome, for now: one that failed may be tried again
========== ======================================================================================================
"""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from repertory.clock import Clock
from repertory.runtime.spilled import RunSpiller, whole_event
from repertory.signatures.json_text import dump_json, load_json
from repertory.store.content_reader import ContentReader
from repertory.store.run_piece import RunPiece, done_piece
from repertory.store.run_rows import NewEvent, NewRun, RunEnd, RunEntry, Uncertain
from repertory.store.run_table import RunTable

KEPT: Final = 1024  # events a log without a store remembers
KEPT_BYTES: Final = 1_048_576  # of JSON that these have, unless the latest alone has more
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


class Recorded(Protocol):
    """What tells a step from the others of its run."""

    def __hash__(self) -> int: ...

    def data(self) -> dict[str, Any]:
        """It, as events have it."""
        ...


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

    Invariants: ``last`` is the number of the latest event, and all up to it went in order to the store, which
    writes none that comes after one it could not write. Without a store ``_kept`` has the latest events, as JSON,
    and ``size`` says how much that is.

    Args:
        table: Where it is kept; None: in memory, and only its latest part.
        last: The number of the latest event there.
        spiller: What it has divided of this run so far.
    """

    __slots__ = (
        *("_buffer", "_clock", "_contents", "_delta", "_delta_write", "_due", "_kept", "_last_write"),
        *("_spiller", "_table", "_waiting", "closed", "last", "run", "size"),
    )

    def __init__(
        self, run: str, clock: Clock, table: RunTable | None, last: int = 0, spiller: RunSpiller | None = None
    ) -> None:
        self.run = run
        self.last = last
        self.closed = False
        self.size = 0
        self._clock = clock
        self._table = table
        self._spiller = spiller or RunSpiller()
        self._kept: deque[tuple[int, str, bytes, float]] | None = None  # made when it is needed
        self._waiting: list[asyncio.Future[None]] = []  # readers that have read all there is
        self._buffer: list[RunEntry] = []  # what is yet to be handed to the store, together
        self._contents: dict[str, bytes] | None = None  # what that refers to
        self._due = False  # whether that is to happen in the loop's next turn
        self._last_write: RunPiece | None = None  # fails where one before it did, with the same error
        self._delta: dict[Recorded, list[str]] = {}  # pieces yet to be appended, by step
        self._delta_write: RunPiece | None = None

    def append(self, kind: str, data: Mapping[str, Any]) -> None:
        """Add an event, unless the log is closed: then its numbers may belong to another life of the run.

        It is on its way to the disk in the loop's next turn; `written` waits for that.
        """
        if self._delta:
            self._append_deltas()
        if self.closed:
            return
        self.last += 1
        at, text = self._clock.time(), dump_json(data)
        if self._table is None:
            self._keep(kind, text, at)
        else:
            said, contents = self._spiller.event(data, text)
            self._buffer.append(NewEvent(self.run, self.last, kind, said, at))
            if contents:
                self._add_contents(contents)
            if not self._due:
                self._due = True
                self._table.in_next_turn(self._hand_over)
        if self._waiting:
            self._wake()

    def append_delta(self, step: "Recorded", text: str) -> None:
        """Add a piece of the answer of ``step``. Pieces that come while one is being written become one."""
        self._delta.setdefault(step, []).append(text)
        if self._delta_write is None or self._delta_write.done:
            self._append_deltas()

    def begin(self, run: NewRun, contents: dict[str, bytes] | None) -> None:
        """Have ``run``, with its ``contents``, written together with what comes next."""
        self._buffer.append(run)
        self._contents = contents

    def record(self, entry: RunEntry, contents: dict[str, bytes] | None = None) -> None:
        """Have ``entry``, which is no event, written between those before and after it, with its ``contents``."""
        if self._table is not None and not self.closed:
            self._buffer.append(entry)
            if contents:
                self._add_contents(contents)
            if not self._due:
                self._due = True
                self._table.in_next_turn(self._hand_over)

    def doubt(self, call: "DoubtfulCall", policy: str) -> None:
        """List ``call`` as one of which nobody knows whether it was billed."""
        most = (call.nano_most, call.tokens_most)
        now = self._clock.time()
        entry = Uncertain(self.run, call.event, call.endpoint, call.request_hash, *most, policy, now)
        if self.closed and self._table is not None:  # it has no number that could be another life's
            self._table.record(RunPiece([entry], None, now, self._last_write))
        else:
            self.record(entry)

    def end(self, end: RunEnd) -> None:
        """Record how the run ended, after all its events."""
        contents = None
        if end.outputs is not None:
            outputs, contents = self._spiller.values(end.outputs)
            if contents is not None:
                end = end._replace(outputs=outputs)
        self.record(end, contents)

    def written(self) -> Awaitable[bool]:
        """Done once all events so far are on disk; the result is that of `RunTable.record` for the latest.

        Raises StoreError if one of them is not, RunTakenOver.
        """
        if self._delta:
            self._append_deltas()
        self._hand_over()
        return self._last_write or done_piece()

    def handed_over(self) -> RunPiece:
        """The write of all events so far."""
        self._hand_over()
        assert self._last_write is not None
        return self._last_write

    def abandon(self) -> None:
        """Nothing is added any more, and nobody waits for the writes under way."""
        self._hand_over()
        self.closed = True
        if self._waiting:
            self._wake()

    def _add_contents(self, contents: dict[str, bytes]) -> None:
        self._contents = contents if self._contents is None else self._contents | contents

    def _hand_over(self) -> None:
        """Give the store what has gathered: of one run in one piece."""
        self._due = False
        if not self._buffer or self._table is None:
            return
        used_at = self._clock.time() if self._contents is not None else 0.0
        piece = RunPiece(self._buffer, self._contents, used_at, self._last_write)
        self._buffer, self._contents = [], None
        self._last_write = self._table.record(piece)

    def _keep(self, kind: str, text: bytes, at: float) -> None:
        if self._kept is None:
            self._kept = deque()
        self._kept.append((self.last, kind, text, at))
        self.size += len(text)
        while len(self._kept) > KEPT or (self.size > KEPT_BYTES and len(self._kept) > 1):
            self.size -= len(self._kept.popleft()[2])

    def _append_deltas(self, _done: object = None) -> None:
        deltas, self._delta = self._delta, {}
        for step, pieces in deltas.items():
            self.append("delta", {**step.data(), "text": "".join(pieces)})
        if deltas:
            self._hand_over()
            self._delta_write = self._last_write
            if self._delta_write is not None:
                self._delta_write.when_done(self._append_deltas)

    # --- reading ---

    async def wait_beyond(self, last: int) -> None:
        """Return once an event with a number above ``last`` can be read, or nothing is added any more.

        Raises StoreError if it is not kept.
        """
        while self.last <= last and not self.closed:
            news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(news)
            try:
                await news
            finally:
                if news in self._waiting:
                    self._waiting.remove(news)
        self._hand_over()
        if self._last_write is not None:
            await self._last_write

    def kept(self, after: int) -> list[RunEvent]:
        """The events after number ``after``; a gap tells of those that are not remembered."""
        kept = [RunEvent(id, kind, load_json(text), at) for id, kind, text, at in self._kept or () if id > after]
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


async def read_page(
    run: str, table: RunTable | None, log: RunLog | None, clock: Clock, after: int, limit: int = PAGE
) -> list[RunEvent]:
    """The events of a run that there are from number ``after`` + 1 on, at most ``limit``, and the gaps in them."""
    if table is None:
        return log.kept(after)[:limit] if log is not None else []
    rows = await table.events(run, after, limit)
    return [event async for event in _whole(rows, ContentReader(table.contents), after)]


async def stored_steps(
    run: str, table: RunTable, first: int = 0, most: int = sys.maxsize
) -> AsyncGenerator[RunEvent, None]:
    """The events of the steps of a run that ended, in the store now, from the ``first``-th on."""
    reader, after, number = ContentReader(table.contents, shared=True), 0, 0
    while rows := await table.events(run, after, PAGE):
        for row in rows:
            if row.kind != "step":
                continue
            if number >= first + most:
                return
            if number >= first:
                yield RunEvent(row.id, row.kind, await whole_event(load_json(row.data), reader), row.at)
            number += 1
        after = rows[-1].id


async def read_log(
    run: str, table: RunTable | None, log: RunLog | None, after: int = 0
) -> AsyncIterator[RunEvent]:
    """The events of a run from number ``after`` + 1 on, as they come, up to the ``done`` that is its last.

    Where ``log`` is closed before that there are no more from it, though there may be from another life of the
    run; without one there are no more than the store has now.

    A reader is told of each number once, be it within a gap. One that does not read costs nothing but its place:
    what it has not read is in the store, or is forgotten.

    Args:
        log: That of a run which this process executes; None: another one does, or none.
    """
    reader = ContentReader(table.contents) if table is not None else None
    ended = missing = False
    while True:
        before = after
        if table is None or reader is None:
            events = _all(log.kept(after) if log is not None else ())
        else:
            events = _whole(await table.events(run, after, PAGE), reader, after)
        async for event in events:
            after = event.id
            ended = event.kind == "done"
            yield event
        if log is None:
            if after == before:
                return
        elif log.last <= after:
            if ended or log.closed:
                return
            await log.wait_beyond(after)
        elif after == before:
            if missing:  # all were on disk: they are not kept any more
                return
            await log.wait_beyond(after)
        missing = after == before


async def _all(events: Iterable[RunEvent]) -> AsyncIterator[RunEvent]:
    for event in events:
        yield event


async def _whole(rows: Sequence[NewEvent], reader: ContentReader, after: int) -> AsyncIterator[RunEvent]:
    """The events kept as ``rows``, one at a time, as each may be large, and the gaps from ``after`` on."""
    for row in rows:
        if row.id > after + 1:
            yield gap(after + 1, row.id - 1, row.at)
        yield RunEvent(row.id, row.kind, await whole_event(load_json(row.data), reader), row.at)
        after = row.id
