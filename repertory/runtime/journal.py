"""The journal: which runs there are, what came of them, and the logs from which they go on."""

import asyncio
import hashlib
from collections.abc import Collection, Iterable
from typing import Any

from repertory.clock import Clock
from repertory.errors import InputError, RepertoryError
from repertory.providers.messages import Usage
from repertory.runtime.history import RunHistory
from repertory.runtime.recorded_errors import storable
from repertory.runtime.run_log import PAGE, RunEvent, RunLog
from repertory.runtime.watched_writes import WatchedWrites
from repertory.signatures.json_text import dump_json, load_json
from repertory.store import Store
from repertory.store.owners import Owners
from repertory.store.run_rows import NewRun, RunEnd, StoredRun
from repertory.store.run_table import RunTable


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
        self.table = RunTable(store, owners.id)
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
        found = await self.table.find(keys_by_id)
        return {keys_by_id[id]: run for id, run in found.items()}

    def accept(self, run: NewRun) -> "tuple[RunLog, asyncio.Future[bool]]":
        """Record that ``run`` is to be done: its log, and whether it is new once that is on disk."""
        accepted = self.table.record(run)
        return RunLog(run.id, self._clock, self.table, last=1), accepted

    async def history(self, run: str) -> RunHistory:
        """What is recorded of a run."""
        history = RunHistory()
        while True:
            page = await self.table.events(run, history.last, PAGE)
            for row in page:
                history.take(RunEvent(row.id, row.kind, load_json(row.data), row.at))
            if len(page) < PAGE:
                return history

    async def take_over(self, run: StoredRun) -> bool:
        """Go on with ``run`` here; False where it has another owner by now."""
        return await self.table.take_over(run)

    def log(self, run: str, history: RunHistory) -> RunLog:
        """The log of a run that this process owns and goes on with."""
        return RunLog(run, self._clock, self.table, last=history.last)

    async def end(self, log: RunLog, end: RunEnd) -> None:
        """Record how a run ended; everything of it is on disk when this returns."""
        log.append("done", {"status": end.status, "error": end.error_code})
        ended = self.table.record(end)
        await self.writes.watch(_all_of(log, ended))

    async def gone(self, owners: Collection[str]) -> set[str]:
        """Those of ``owners`` that execute nothing any more."""
        return await self._owners.gone(owners)


async def _all_of(log: RunLog, ended: "asyncio.Future[bool]") -> None:
    try:
        await log.flush()
    finally:
        await ended


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
        storable(error.message) if error is not None else None,
        usage.input_tokens,
        usage.output_tokens,
        lm_calls,
        nano_cost,
        seconds,
        now,
    )


def run_id(program: str, key: str) -> str:
    """The id of the run of ``program`` under ``key``: the same wherever and whenever it is asked for."""
    return hashlib.blake2b(f"{program}\0{key}".encode(), digest_size=16).hexdigest()


def other_inputs(key: str) -> InputError:
    """What who comes with other inputs than the run has that ``key`` stands for is told."""
    return InputError(
        "", f"the key {key!r} stands for a run with other inputs", hint="Give each run a key of its own."
    )


def json_hash(*parts: Any) -> str:
    """A hash of JSON values that does not depend on the order of keys."""
    return hashlib.sha256(dump_json(parts, sort_keys=True)).hexdigest()
