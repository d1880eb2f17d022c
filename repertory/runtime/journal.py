"""The journal: which runs there are, what came of them, and the logs from which they go on."""

import hashlib
from collections.abc import Collection, Coroutine, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from repertory.clock import Clock
from repertory.errors import KeyReused, RepertoryError
from repertory.providers.messages import Usage
from repertory.runtime.history import RunHistory
from repertory.runtime.recorded_errors import storable
from repertory.runtime.run_ids import run_id
from repertory.runtime.run_log import PAGE, RunEvent, RunLog, stored_steps
from repertory.runtime.spilled import RunSpiller, whole_event, whole_values
from repertory.runtime.watched_writes import WatchedWrites
from repertory.signatures.json_text import dump_json, load_json
from repertory.store import ContentTable, Store
from repertory.store.content_reader import ContentReader
from repertory.store.owners import Owners
from repertory.store.run_rows import NewRun, RunEnd, StoredRun
from repertory.store.run_table import RunTable

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
MESSAGE: Final = 4096  # characters of an error's message that its run tells; its step's event has all of it


class Journal:
    """Runs and their logs in a store.

    Invariants: a run that was accepted is found again under its key; of its outcomes one is recorded; what is
    recorded of a run was written by the process that owned it then.

    Args:
        owners: This process, among those that execute runs.

    Attributes:
        writes: Tells whether it can be written.
    """

    def __init__(self, store: Store, clock: Clock, owners: Owners) -> None:
        self.table = RunTable(store, owners.id, ContentTable(store, clock))
        self._owners = owners
        self.writes = WatchedWrites(store, clock)
        self._clock = clock

    @property
    def owner(self) -> str:
        """This process."""
        return self.table.owner

    async def find(self, program: str, keys: Iterable[str]) -> dict[str, StoredRun]:
        """The runs of ``program`` known under these keys, by key."""
        keys_by_id = {run_id(program, key): key for key in keys}
        reader = ContentReader(self.table.contents)
        found = await self.table.find(keys_by_id)
        return {keys_by_id[id]: await whole_run(run, reader) for id, run in found.items()}

    async def stored(self, run: str) -> StoredRun | None:
        """A run by its id; None where there is none."""
        found = (await self.table.find([run])).get(run)
        return await whole_run(found, ContentReader(self.table.contents)) if found is not None else None

    def accept(self, run: NewRun, first: Mapping[str, Any] = NOTHING) -> RunLog:
        """Record that ``run`` is to be done: its log, whose ``written`` tells whether the run is new.

        Args:
            first: The data of the event that it was accepted, from which every life of it learns how to go on.
        """
        spiller = RunSpiller()
        inputs, contents = spiller.values(run.inputs)
        if contents is not None:
            run = run._replace(inputs=inputs)
        if first:
            said, more = spiller.event(first, dump_json(first))
            run = run._replace(said=said)
            contents = (contents or {}) | more if more is not None else contents
        log = RunLog(run.id, self._clock, self.table, last=1, spiller=spiller)
        log.begin(run, contents)
        return log

    async def history(self, run: str) -> RunHistory:
        """What is recorded of a run; its large values stay in the store until they are asked for."""
        history = RunHistory(reader=(reader := ContentReader(self.table.contents)))
        while page := await self.table.events(run, history.last, PAGE):
            for row in page:
                data = load_json(row.data)
                if row.kind == "accepted":  # every step needs its parameters
                    data = await whole_event(data, reader)
                history.take(RunEvent(row.id, row.kind, data, row.at))
            if len(page) < PAGE:
                break
        await history.fetch_replies()
        return history

    async def inherit(self, log: RunLog, history: RunHistory, parent: str | None) -> RunHistory:
        """The history of a run when its log has all the steps that it was forked from ``parent`` with."""
        missing = history.inherits - history.inherited
        if parent is None or missing <= 0:
            return history
        async for event in stored_steps(parent, self.table, history.inherited, missing):
            log.append("step", {**event.data, "inherited": True})
            if not log.last % PAGE:  # else all of them could be in memory
                await log.written()
        await log.written()
        return await self.history(log.run)

    async def take_over(self, run: StoredRun) -> bool:
        """Go on with ``run`` here, until the ``deadline_at`` it has; False where it has another owner by now.

        What an earlier life in this process has handed to the store of it is on disk when this returns.
        """
        return await self.table.take_over(run)

    def log(self, run: str, history: RunHistory) -> RunLog:
        """The log of a run that this process owns and goes on with."""
        return RunLog(run, self._clock, self.table, last=history.last)

    def end(self, log: RunLog, end: RunEnd) -> Coroutine[Any, Any, bool]:
        """Record how a run ended; done when everything of it is on disk."""
        log.append("done", {"status": end.status, "error": end.error_code})
        log.end(end)
        return self.writes.watch(log.written())

    async def gone(self, owners: Collection[str]) -> set[str]:
        """Those of ``owners`` that execute nothing any more."""
        return await self._owners.gone(owners)


async def whole_run(run: StoredRun, reader: ContentReader) -> StoredRun:
    """A run with the large values of its inputs and outputs. Raises StoreError if something of them is missing."""
    inputs = await whole_values(run.inputs, reader)
    outputs = await whole_values(run.outputs, reader) if run.outputs is not None else None
    same = inputs is run.inputs and outputs is run.outputs
    return run if same else replace(run, inputs=inputs, outputs=outputs)


def run_end(
    run: str,
    status: str,
    usage: Usage,
    lm_calls: int,
    nano_cost: int,
    seconds: float,
    now: float,
    *,
    outputs: str | None = None,
    error: RepertoryError | None = None,
) -> RunEnd:
    """How a run ended, and what it cost."""
    return RunEnd(
        run,
        status,
        outputs,
        error.code if error is not None else None,
        storable(error.message)[:MESSAGE] if error is not None else None,
        usage.input_tokens,
        usage.output_tokens,
        lm_calls,
        nano_cost,
        seconds,
        now,
    )


def said_first(trace: str, streams: bool) -> dict[str, Any]:
    """What the log of a run begins with: what is not to be asked for but holds for all its lives."""
    return ({"trace": trace} if trace else {}) | ({"streams": True} if streams else {})


def other_inputs(key: str) -> KeyReused:
    """What who comes with other inputs than the run has that ``key`` stands for is told."""
    return KeyReused(
        "", f"the key {key!r} stands for a run with other inputs", hint="Give each run a key of its own."
    )


def json_hash(*parts: Any) -> str:
    """A hash of JSON values that does not depend on the order of keys."""
    return hashlib.sha256(dump_json(parts, sort_keys=True)).hexdigest()
