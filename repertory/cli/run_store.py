"""The runs of a store, read and spoken to where it lies: no daemon needs to run for that."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from repertory.clock import Clock, SystemClock
from repertory.errors import ConfigError, RunUnknown, WrongRunState
from repertory.events import RunsPruned
from repertory.runtime.config import load_config, make_config
from repertory.runtime.journal import whole_run
from repertory.runtime.old_runs import OldRuns
from repertory.runtime.retention import Retention, prune
from repertory.runtime.run_log import PAGE, RunEvent, read_page, stored_steps
from repertory.runtime.run_status import RunStatus, StepStatus, step_status
from repertory.signatures.json_text import dump_json
from repertory.store import Store
from repertory.store.content_reader import ContentReader
from repertory.store.content_table import ContentTable
from repertory.store.location import shown
from repertory.store.run_rows import RunMessage, Uncertain
from repertory.store.run_table import RunTable

NOBODY = ""  # whoever only reads and leaves messages executes no run

ResultT = TypeVar("ResultT")


class RunStore:
    """What can be done about runs without executing any."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._table = RunTable(store, NOBODY, ContentTable(store, clock))

    async def latest(self, program: str | None, status: str | None, limit: int) -> list[RunStatus]:
        """Runs, the latest first, with references in place of large values."""
        return [RunStatus.of(run) for run in await self._table.latest(program, status, limit)]

    async def status(self, id: str) -> RunStatus:
        """The state of a run. Raises RunUnknown."""
        found = await self._table.find([id])
        if id not in found:
            raise RunUnknown(
                f"{self._store.name} has no run {id!r}", hint="`repertory runs list` shows those there are."
            )
        return RunStatus.of(await whole_run(found[id], ContentReader(self._table.contents)))

    async def steps(self, id: str) -> list[StepStatus]:
        """The steps of a run that have ended. Raises RunUnknown."""
        await self.status(id)
        steps: list[StepStatus] = []
        async for event in stored_steps(id, self._table):
            steps.append(step_status(len(steps), event))
        return steps

    async def events(self, id: str, after: int = 0) -> AsyncGenerator[RunEvent, None]:
        """The events of a run that there are beyond number ``after``. Raises RunUnknown."""
        await self.status(id)
        while page := await read_page(id, self._table, None, self._clock, after):
            for event in page:
                yield event
            after = page[-1].id
            if len(page) < PAGE:
                return

    async def uncertain(self, id: str | None, limit: int) -> list[Uncertain]:
        """Calls of which nobody knows whether they were billed, the latest first. Raises RunUnknown."""
        if id is not None:
            await self.status(id)
        return await self._table.uncertain(id, limit)

    async def tell(self, id: str, kind: str, data: dict[str, Any]) -> None:
        """Leave a message for whoever executes a run; on disk when this returns.

        Raises RunUnknown, WrongRunState if it has ended.
        """
        run = await self.status(id)
        if run.ended:
            raise WrongRunState(
                f"the run {id} has ended: {run.status}",
                hint=f"Run: repertory runs retry {id}" if run.status != "ok" else None,
            )
        message = RunMessage(uuid4().hex, id, kind, dump_json(data).decode(), self._clock.time())
        await self._table.tell(message)

    async def prune(self, older_than: float) -> RunsPruned:
        """Clear away the runs that ended more than ``older_than`` seconds ago."""
        return await prune(OldRuns(self._store), Retention(keep_seconds=older_than), self._clock)


def store_of(config: Path | None, store: str | None) -> str:
    """The store that the arguments mean. Raises ConfigError."""
    if store is not None:
        if config is not None:
            raise ConfigError(
                f"--store {shown(store)} and --config {config} are one too many", hint="Name one of them."
            )
        return store
    settings = load_config(config) if config is not None else make_config("the environment", {})
    if not settings.journal:
        raise ConfigError(
            f"{config or 'the environment'}: journal = false: no runs are kept", hint="Name a store."
        )
    return settings.store


def with_store(location: str, work: Callable[[RunStore], Awaitable[ResultT]]) -> ResultT:
    """What ``work`` gives with the store at ``location`` open. Raises ConfigError if there is none."""

    # To open a SQLite store is to make one, and a wrong path would then have no runs instead of being told.
    if "://" not in location and not Path(location).exists():
        raise ConfigError(
            f"store: there is no file {location!r}",
            hint="Write --store PATH, or --config CONFIG in the directory where the daemon was started.",
        )

    async def opened() -> ResultT:
        async with _open(location) as runs:
            return await work(runs)

    return asyncio.run(opened())


@asynccontextmanager
async def _open(location: str) -> AsyncIterator[RunStore]:
    clock = SystemClock()
    store = await Store.open(location, clock=clock)
    try:
        yield RunStore(store, clock)
    finally:
        await store.close()
