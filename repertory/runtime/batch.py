"""A batch: one run of a program for each row, resumed row by row after an interruption.

The journal is what makes it exact: a row's key is its content and how often that content came before, so the
same data finds its finished runs again wherever its rows stand, and equal rows are each answered once.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

import anyio.to_thread

from repertory.errors import CircuitOpen, InputError, LMAuthError, RepertoryError, RuntimeClosed, StoreError
from repertory.providers.messages import TERMS, Terms
from repertory.runtime.deployment import Deployment
from repertory.runtime.execution import Run
from repertory.runtime.journal import json_hash
from repertory.runtime.occurrences import Occurrences
from repertory.runtime.rows import Reject, Row
from repertory.runtime.run_ids import run_id
from repertory.runtime.runtime import Runtime
from repertory.runtime.window import Window
from repertory.store.run_rows import StoredRun

WINDOW_ROWS = 1024  # between reading and handing out, at most, unless there are more workers than that
WINDOW_BYTES = 8_388_608  # that they were read from, at most, unless the workers' rows alone have more
SLOWEST_RETRY = 10.0  # seconds between two tries of a row, at most


@dataclass(frozen=True, slots=True)
class Answered:
    """A row the program answered."""

    row: Row
    run: Run


@dataclass(frozen=True, slots=True)
class Failed:
    """A row the program could not answer; the same command asks again."""

    row: Row
    run_id: str
    error: RepertoryError


Outcome: TypeAlias = Answered | Failed | Reject


class Batch:
    """Answers rows, ``workers`` at a time, and hands out the outcomes in the order of the rows.

    Invariant: each row leads to exactly one outcome; beside a group that was just read, what is held of rows is in
    the window, however many there are.

    Args:
        sink: Gets each outcome, in order.
        resume: Whether runs finished earlier are read instead of asked again.
        timeout: Seconds a row may take, all its tries included.
        terms: On whose behalf models are asked, and who pays.
    """

    def __init__(
        self,
        runtime: Runtime,
        deployment: Deployment,
        sink: Callable[[Outcome], None],
        *,
        workers: int,
        resume: bool = True,
        timeout: float = 300.0,
        terms: Terms = TERMS,
        seed: int = 0,
    ) -> None:
        self._runtime = runtime
        self._deployment = deployment
        self._sink = sink
        self._workers = workers
        self._timeout = timeout
        self._terms = terms
        self._rng = Random(seed)
        self._program = deployment.fingerprint[:16]
        # Without --resume the rows get keys that no earlier batch has used.
        self._session = "" if resume else f"{runtime.clock.time()!r}:"
        self._queue: asyncio.Queue[tuple[int, Row, str, StoredRun | None]] = asyncio.Queue(workers)
        self._window = Window(2 * workers, max(WINDOW_ROWS, 8 * workers), WINDOW_BYTES)
        self._outcomes: dict[int, Outcome] = {}
        self._next = 0

    async def run(self, groups: AsyncIterator[list[Row | Reject]]) -> None:
        """Answer all rows.

        Raises what makes going on pointless: RuntimeClosed, StoreError, LMAuthError, and what ``groups`` or the
        sink raise. Whatever was answered until then is in the journal.
        """
        try:
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(self._work()) for _ in range(self._workers)]
                await self._feed(groups)
                await self._queue.join()
                for worker in workers:
                    worker.cancel()
        except BaseExceptionGroup as failures:
            error = _first(failures)
        else:
            return
        raise error  # not `from None` within the handler: that would take its own cause away

    async def _feed(self, groups: AsyncIterator[list[Row | Reject]]) -> None:
        """Number the rows, look up what is known of them, and queue them."""
        number = 0
        with Occurrences() as occurrences:
            async for group in groups:
                keyed = await self._keyed(group, occurrences)
                recorded = await self._deployment.recorded(key for _, key in keyed if key)
                for row, key in keyed:
                    await self._window.enter(_size(row))
                    if isinstance(row, Reject):
                        self._finish(number, row)
                    else:
                        await self._queue.put((number, row, key, recorded.get(key)))
                    number += 1

    async def _keyed(
        self, group: Sequence[Row | Reject], occurrences: Occurrences
    ) -> list[tuple[Row | Reject, str]]:
        """The rows with their keys, rejects with ""; a row that has none is a reject."""
        hashed = [self._hashed(row) for row in group]
        contents = [content for _, content in hashed if content]
        numbers = iter(await anyio.to_thread.run_sync(occurrences.number, contents))
        prefix = f"{self._session}{self._program}"
        return [(row, f"{prefix}:{content}:{next(numbers)}" if content else "") for row, content in hashed]

    def _hashed(self, row: Row | Reject) -> tuple[Row | Reject, str]:
        if isinstance(row, Reject):
            return row, ""
        try:
            return row, json_hash(self._deployment.compiled.dump_inputs(row.inputs))
        except InputError as error:  # Parquet has bytes that JSON, and so the journal, cannot hold
            return Reject(row.line, error.field, error.reason, error.hint), ""

    async def _work(self) -> None:
        while True:
            number, row, key, recorded = await self._queue.get()
            self._finish(number, await self._answer(row, key, recorded))
            self._queue.task_done()

    async def _answer(self, row: Row, key: str, recorded: StoredRun | None) -> Outcome:
        """Run the program for a row; again, after a pause, while the error says that may help."""
        clock = self._runtime.clock
        deadline = clock.monotonic() + self._timeout
        tries = 0
        reason: RepertoryError | None = None
        while True:
            remaining = deadline - clock.monotonic()
            try:
                run = await self._deployment.resume(
                    row.inputs, key, recorded, timeout=remaining, terms=self._terms
                )
                return Answered(row, run)
            except (RuntimeClosed, StoreError, LMAuthError):
                raise
            except RepertoryError as error:
                tries += 1
                reason = _telling(error, reason)
                pause = max(error.retry_after or 0.0, self._rng.uniform(0, min(SLOWEST_RETRY, 0.1 * 2**tries)))
                if not error.retryable or clock.monotonic() + pause >= deadline:
                    return Failed(row, run_id(self._deployment.name, key), reason)
            await clock.sleep(pause)
            recorded = (await self._deployment.recorded([key])).get(key)

    def _finish(self, number: int, outcome: Outcome) -> None:
        """Hand out what is complete up to the first row still under way."""
        self._outcomes[number] = outcome
        while (ready := self._outcomes.pop(self._next, None)) is not None:
            self._next += 1
            self._window.leave(_size(ready if isinstance(ready, Reject) else ready.row))
            self._sink(ready)


def _size(row: Row | Reject) -> int:
    return row.size if isinstance(row, Row) else 0


def _telling(error: RepertoryError, before: RepertoryError | None) -> RepertoryError:
    """What to tell of a row's failures: rather what opened the circuit than that it is open."""
    if isinstance(error, CircuitOpen):
        return error.__cause__ if isinstance(error.__cause__, RepertoryError) else before or error
    return error


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
