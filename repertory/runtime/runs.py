"""Runs that were submitted: begun when they are on disk, brought to their outcome whoever waits, asked about."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from repertory.errors import (
    ConfigError,
    KeyReused,
    Overloaded,
    ProgramError,
    RunTakenOver,
    StoreError,
    WrongRunState,
)
from repertory.modules import Parameters, Prediction
from repertory.modules.run_info import RunInfo
from repertory.providers.messages import Terms
from repertory.runtime.history import RunHistory
from repertory.runtime.journal import Journal, other_inputs, run_end, said_first
from repertory.runtime.live_run import LiveRun, TakenUp, cut_off, run_cancelled
from repertory.runtime.live_runs import LiveRuns
from repertory.runtime.run_budget import RunBudget, paid_by_itself
from repertory.runtime.run_handle import RunHandle
from repertory.runtime.run_ids import run_id
from repertory.runtime.run_log import LOOK_INTERVAL, RunEvent, RunLog, read_log, read_page, stored_steps
from repertory.runtime.run_status import RunStatus, StepStatus, step_status
from repertory.runtime.terms_json import terms_from_json
from repertory.runtime.waiting_runs import rank
from repertory.signatures.json_text import dump_json, load_json
from repertory.store.run_rows import RunMessage, StoredRun, Uncertain
from repertory.store.run_table import RunTable

if TYPE_CHECKING:
    from repertory.runtime.deployment import Deployment
    from repertory.runtime.runtime import Runtime

WATCH_INTERVAL = 0.1  # seconds between two looks at a run that another process executes


class Runs:
    """The submitted runs of a runtime, for those who submit them and ask about them.

    Attributes:
        executed: Those that this process brings to their outcome, or will.
    """

    def __init__(self, runtime: "Runtime") -> None:
        self.executed = LiveRuns(runtime)
        self._runtime = runtime

    @property
    def live(self) -> Mapping[str, LiveRun]:
        """Those that are under way in this process, by id."""
        return self.executed.by_id

    # --- what users ask for, by way of the runtime ---

    async def submit(
        self,
        deployment: "Deployment",
        inputs: Mapping[str, Any],
        *,
        key: str | None,
        timeout: float | None,
        terms: Terms,
        trace: str,
        tags: Mapping[str, str],
        budget: RunBudget | None,
        streams: bool,
        durable: bool,
    ) -> RunHandle:
        """See `Runtime.submit`."""
        deployment = deployment.releases.pick(terms.sticky)
        values = deployment.compiled.validate_inputs(inputs)
        journal = self._runtime.journal
        if durable and journal is None:
            raise ConfigError(
                "the runtime keeps no journal, so that a run would end with the process",
                hint="Give Runtime a store, or say submit(..., durable=False).",
            )
        try:
            self._runtime.memory.check(terms.priority)
        except Overloaded:
            if key is None or (known := await self._known(deployment, key, values)) is None:
                raise
            return known
        key = key or self._runtime.keys.new()
        terms = await paid_by_itself(terms, run_id(deployment.name, key), budget, self._runtime.ledger)
        if journal is None:
            return self._submit_undurable(deployment, values, key, timeout, terms, trace, tags, streams)
        clock = self._runtime.clock
        deadline_at = clock.time() + timeout if timeout is not None else None
        has_place = self.executed.places.take()
        new = deployment.new_run(key, values, terms=terms, tags=tags, submitted=True, deadline_at=deadline_at)
        new = new._replace(
            owner=journal.owner if has_place else None,
            priority=rank(terms.priority),
        )
        log = journal.accept(new, said_first(trace, streams))
        live = None
        if has_place:
            deadline = clock.monotonic() + timeout if timeout is not None else inf
            info = RunInfo(
                *(new.id, new.program, deadline, self._runtime.charged(terms), trace, tags), durable=True
            )
            live = LiveRun(
                info, deployment, values, self.executed.taking_up(deployment, new.id), log, streams=streams
            )
        accepted = log.handed_over()
        self.executed.coming(new.id, live, accepted)
        if not await journal.writes.watch(accepted):
            _check_same(deployment, key, values, await self.executed.stored(new.id))
        return RunHandle(self, new.id, new.program, key, durable=True)

    async def _known(self, deployment: "Deployment", key: str, values: dict[str, Any]) -> RunHandle | None:
        """A handle on the run that ``key`` stands for, if there is one. Raises InputError, ProgramError."""
        if (handle := self._known_here(deployment, key, values)) is not None:
            return handle
        recorded = await deployment.recorded([key])
        if not recorded:
            return None
        _check_same(deployment, key, values, recorded[key])
        return self.handle(RunStatus.of(recorded[key]))

    def _known_here(self, deployment: "Deployment", key: str, values: dict[str, Any]) -> RunHandle | None:
        """As `_known`, among the runs without a store."""
        id = run_id(deployment.name, key)
        if (live := self._undurable(id)) is None:
            return None
        if live.values != values:
            raise other_inputs(key)
        return RunHandle(self, id, deployment.name, key, durable=False)

    def handle(self, run: RunStatus) -> RunHandle:
        """A handle on a run."""
        return RunHandle(self, run.id, run.program, run.key, durable=run.durable)

    async def status(self, id: str) -> RunStatus:
        """The state of a run. Raises RunUnknown."""
        if (live := self._undurable(id)) is not None:
            return live.status()
        return RunStatus.of(await self.executed.stored(id))

    async def latest(
        self, program: str | None, status: str | None, limit: int, *, before: str | None = None
    ) -> list[RunStatus]:
        """Runs, the latest first; large values in their inputs and outputs are left out, as references.

        `status` has them whole.

        Args:
            before: The id of a run: those that come behind it. Raises RunUnknown.
        """
        last = await self.executed.stored(before) if before is not None else None
        journal = self._runtime.journal
        stored = await journal.table.latest(program, status, limit, last) if journal is not None else []
        return [RunStatus.of(run) for run in stored]

    async def uncertain(self, id: str | None, limit: int) -> list[Uncertain]:
        """Calls of which nobody knows whether they were billed, the latest first; of one run, or of all."""
        return await self._journal().table.uncertain(id, limit)

    async def events(self, id: str, after: int) -> AsyncGenerator[RunEvent, None]:
        """The events of a run. Raises RunUnknown."""
        durable = self._undurable(id) is None
        while True:
            ended = over = False
            log = None
            try:
                table, log, over = await self._log_of(id)
                async for event in read_log(id, table, log, after):
                    after, ended = event.id, event.kind == "done"
                    yield event
            except StoreError as error:
                if not self._runtime.closing and not isinstance(error, RunTakenOver):
                    raise
            if over or (ended and log is not None):
                return
            if self._runtime.closing:
                raise cut_off(durable=durable)
            # It goes on in another life, be it another process's.
            await self._runtime.clock.sleep(LOOK_INTERVAL)

    async def page(self, id: str, after: int, limit: int) -> list[RunEvent]:
        """The events of a run that there are beyond number ``after``, at most ``limit``. Raises RunUnknown."""
        table, log, _ = await self._log_of(id)
        return await read_page(id, table, log, self._runtime.clock, after, limit)

    async def steps(self, id: str, first: int = 0, limit: int | None = None) -> list[StepStatus]:
        """The steps of a run that have ended, from number ``first`` on, at most ``limit``. Raises RunUnknown."""
        table, log, _ = await self._log_of(id)
        most = sys.maxsize if limit is None else limit
        steps: list[StepStatus] = []
        if table is not None:
            async for event in stored_steps(id, table, first, most):
                steps.append(step_status(first + len(steps), event))
        elif log is not None:
            kept = [event for event in log.kept(0) if event.kind == "step"]
            steps += [step_status(first + place, event) for place, event in enumerate(kept[first : first + most])]
        return steps

    async def outcome(self, id: str, timeout: float | None) -> Prediction:
        """What a run returns; raises what it fails with, TimeoutError where neither comes in time."""
        async with asyncio.timeout(timeout):
            while True:
                if (live := self.live.get(id) or self.executed.ended.get(id)) is not None:
                    with suppress(RunTakenOver):  # another process goes on with it
                        return (await asyncio.shield(live.outcome)).prediction
                if self._runtime.closing:
                    raise cut_off(durable=True)
                stored = await self.executed.stored(id)
                if stored.status != "accepted":
                    return self.executed.outcome_in(stored).prediction
                if id not in self.live:
                    await self.executed.awaited.news(id)

    async def tell(self, id: str, kind: str, data: Mapping[str, Any]) -> None:
        """Say something to a run; on disk when this returns. Raises RunUnknown, WrongRunState if it has ended."""
        if (live := self._undurable(id)) is not None:
            if live.outcome.done():
                raise _has_ended(live.status())
            await self.executed.hear(live, RunMessage(uuid4().hex, id, kind, dump_json(data).decode(), 0.0))
            return
        stored = await self.executed.stored(id)
        if stored.status != "accepted":
            raise _has_ended(RunStatus.of(stored))
        if kind == "cancel" and await self._cancelled_waiting(stored):
            return
        now = self._runtime.clock.time()
        message = RunMessage(uuid4().hex, id, kind, dump_json(data).decode(), now)
        await self._journal().table.tell(message)
        self.executed.look()

    async def retry(self, id: str, timeout: float | None) -> None:
        """Go on with a run that failed, was cancelled, or is held: its failed steps are asked again."""
        stored = await self.executed.stored(id)
        if stored.status in ("accepted", "ok"):
            raise WrongRunState(f"the run {id} is {stored.status}: there is nothing to retry")
        deployment = self.executed.version_of(stored)
        self._runtime.memory.check(terms_from_json(stored.terms).priority)
        values = deployment.compiled.validate_inputs(load_json(stored.inputs))
        now = self._runtime.clock.time()
        if timeout is not None:
            stored = replace(stored, deadline_at=now + timeout)
        elif stored.deadline_at is not None and stored.deadline_at <= now:
            stored = replace(stored, deadline_at=None)
        with self.taken(id):
            interrupted = await deployment.take_up(stored)
            await self.executed.go_on(deployment, stored, TakenUp(values, interrupted.log, interrupted.history))

    async def replay(self, id: str) -> Prediction:
        """What the program makes of what is recorded, dry: nothing is asked, nothing is done."""
        stored = await self.executed.stored(id)
        deployment = self.executed.version_of(stored)
        values = deployment.compiled.validate_inputs(load_json(stored.inputs))
        history = await self._journal().history(id)
        info = RunInfo(f"{id}:{uuid4().hex}", stored.program, inf)
        return await deployment.executor.replay(info, values, history)

    async def fork(
        self,
        id: str,
        step: int,
        inputs: Mapping[str, Any] | None,
        parameters: Mapping[str, Parameters],
        key: str | None,
    ) -> RunHandle:
        """A new run that has the first ``step`` steps of another one, and goes on by itself."""
        stored = await self.executed.stored(id)
        deployment = self.executed.version_of(stored)
        journal = self._journal()
        values = deployment.compiled.validate_inputs(load_json(stored.inputs) | dict(inputs or {}))
        unknown = set(parameters) - set(deployment.parameters())
        if unknown:
            has = ", ".join(deployment.parameters())
            raise ProgramError(f"{stored.program} has no predictor {min(unknown)!r}", hint=f"It has: {has}.")
        for path, changed in parameters.items():
            deployment.check_model(path, changed)
        there_are = await journal.table.count(id, "step")
        if not 0 <= step <= there_are:
            raise WrongRunState(f"fork: step = {step}: the run has {there_are} steps", hint="Count from 0.")
        key = key or self._runtime.keys.new()
        terms = terms_from_json(stored.terms)
        self._runtime.memory.check(terms.priority)
        tags = load_json(stored.tags) if stored.tags is not None else {}
        new = deployment.new_run(key, values, terms=terms, tags=tags, submitted=True, parent=id)
        own = {path: each.model_dump(mode="json") for path, each in parameters.items()}
        taken = KeyReused("", f"there is a run with the key {key!r}", hint="Give it a key of its own.")
        if self.executed.executes(new.id):
            raise taken
        with self.taken(new.id):
            log = journal.accept(new, {"inherits": step} | ({"parameters": own} if own else {}))
            if not await journal.writes.watch(log.written()):
                raise taken
            history = await journal.inherit(log, await journal.history(new.id), id)
            forked = replace(stored, id=new.id, key=key, submitted=True, deadline_at=None, parent=id)
            await self.executed.go_on(deployment, forked, TakenUp(values, log, history))
        return RunHandle(self, new.id, new.program, key, durable=True)

    # --- for deployments ---

    def taken(self, id: str) -> AbstractContextManager[None]:
        """Whoever is within goes on with a run that is not live. Raises RunTakenOver if somebody else does."""
        return self.executed.taken(id)

    async def submitted(self, id: str) -> StoredRun | None:
        """A run that was submitted to this process and may not have been on disk a moment ago."""
        return await self._journal().stored(id) if await self.executed.arrived(id) else None

    async def recover(self, program: str) -> None:
        """Have the submitted runs go on of a program that has just been started. Raises StoreError."""
        await self.executed.recover(program)

    async def outcome_elsewhere(self, recorded: StoredRun, deadline: float) -> StoredRun | None:
        """Wait while somebody else executes a run; how it ended if that was well, None if it is to be executed.

        Raises RunTakenOver if that does not end in time.
        """
        journal, clock = self._journal(), self._runtime.clock
        unowned = 0
        while recorded.status == "accepted" and (recorded.owner is not None or recorded.submitted):
            owner = recorded.owner
            if owner is not None and not self.executed.executes(recorded.id):
                unowned += 1 if owner == journal.owner or owner in await journal.gone({owner}) else 0
            # One that was submitted and is ours may be about to begin.
            if unowned > recorded.submitted:
                return None
            if clock.monotonic() >= deadline:
                raise RunTakenOver(
                    f"the run {recorded.id} is executed by another process", hint="Wait for it, and ask again."
                )
            await clock.sleep(WATCH_INTERVAL)
            recorded = await self.executed.stored(recorded.id)
        return recorded if recorded.status == "ok" else None

    # --- inside ---

    def _submit_undurable(
        self,
        deployment: "Deployment",
        values: dict[str, Any],
        key: str,
        timeout: float | None,
        terms: Terms,
        trace: str,
        tags: Mapping[str, str],
        streams: bool,
    ) -> RunHandle:
        if (handle := self._known_here(deployment, key, values)) is not None:
            return handle
        id, clock = run_id(deployment.name, key), self._runtime.clock
        deadline = clock.monotonic() + timeout if timeout is not None else inf
        info = RunInfo(id, deployment.name, deadline, self._runtime.charged(terms), trace, tags)
        log = RunLog(id, clock, None)
        log.append("accepted", {})

        async def again() -> TakenUp:
            log.closed = False
            return TakenUp(values, log, RunHistory.of(log.kept(0)))

        if not self.executed.places.take():
            raise Overloaded(
                f"{len(self.live)} runs are under way, and without a store others have nowhere to wait",
                hint="Give Runtime a store, or see [scheduler] runs.",
                retry_after=1.0,
            )
        self.executed.begin(LiveRun(info, deployment, values, again, log, streams=streams))
        return RunHandle(self, id, deployment.name, key, durable=False)

    async def _cancelled_waiting(self, run: StoredRun) -> bool:
        """End a run that waits for a place; return whether it did."""
        journal = self._journal()
        if not run.submitted or run.owner is not None or not await journal.take_over(run):
            return False
        history = await journal.history(run.id)
        now, error = self._runtime.clock.time(), run_cancelled(run.id)
        end = run_end(run.id, "cancelled", *history.spent(), 0.0, now, error=error)
        await journal.end(journal.log(run.id, history), end)
        self.executed.awaited.tell(run.id)
        return True

    async def _log_of(self, id: str) -> tuple[RunTable | None, RunLog | None, bool]:
        """Where the events of a run are, its log if it is executed here, and whether no more of them will come.

        Raises RunUnknown.
        """
        if (live := self._undurable(id)) is not None:
            return None, live.log, live.outcome.done()
        if (live := self.live.get(id)) is not None:
            return self._journal().table, live.log, False
        stored = await self.executed.stored(id)
        return self._journal().table, None, stored.status != "accepted"

    def _undurable(self, id: str) -> LiveRun | None:
        live = self.live.get(id) or self.executed.ended.get(id)
        return live if live is not None and not live.info.durable else None

    def _journal(self) -> Journal:
        journal = self._runtime.journal
        if journal is None:
            raise ConfigError("the runtime keeps no journal", hint="Give Runtime a store.")
        return journal


def _check_same(deployment: "Deployment", key: str, values: dict[str, Any], recorded: StoredRun) -> None:
    """Raise unless ``key`` stands for the same, on whichever version of the program it was accepted."""
    holder = deployment.releases.holder(recorded.fingerprint) or deployment
    holder.check_same(key, values, recorded)


def _has_ended(status: RunStatus) -> WrongRunState:
    return WrongRunState(
        f"the run {status.id} has ended: {status.status}", hint="`retry` goes on with one that failed."
    )
