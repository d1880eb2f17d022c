"""Runs that were submitted: begun when they are on disk, brought to their outcome whoever waits, asked about."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from repertory.actors import ActorRef
from repertory.errors import (
    ActorDown,
    ConfigError,
    InputError,
    Overloaded,
    ProgramError,
    RepertoryError,
    RunTakenOver,
    RuntimeClosed,
    RunUnknown,
    StoreError,
)
from repertory.modules import Parameters, Prediction
from repertory.providers.messages import Terms, Usage
from repertory.runtime.execution import Run
from repertory.runtime.history import RunHistory
from repertory.runtime.journal import Journal, other_inputs, run_id
from repertory.runtime.live_run import LiveRun, TakeUp
from repertory.runtime.recorded_errors import load_error
from repertory.runtime.run_handle import RunHandle
from repertory.runtime.run_info import RunInfo
from repertory.runtime.run_keeper import Begin, Look
from repertory.runtime.run_log import PAGE, RunEvent, RunLog, read_log
from repertory.runtime.run_status import RunStatus, StepStatus, steps_in
from repertory.runtime.terms_json import terms_from_json
from repertory.signatures.json_text import dump_json, load_json
from repertory.store.ledger import in_dollars
from repertory.store.run_rows import RunMessage, StoredRun, Uncertain

if TYPE_CHECKING:
    from repertory.runtime.deployment import Deployment
    from repertory.runtime.runtime import Runtime

WATCH_INTERVAL = 0.1  # seconds between two looks at a run that another process executes
KEPT_ENDED = 256  # runs without a store whose outcome is remembered


class Runs:
    """The submitted runs of a runtime.

    Attributes:
        live: Those that this process brings to their outcome, by id.
    """

    def __init__(self, runtime: "Runtime") -> None:
        self.live: dict[str, LiveRun] = {}
        self._runtime = runtime
        self._coming: dict[str, asyncio.Future[bool]] = {}  # by id: whether they are new, once that is on disk
        self._taken: set[str] = set()  # ids of those that are about to go on, or go on in their caller's task
        self._ended: dict[str, LiveRun] = {}  # without a store: the latest

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
        key = key or uuid4().hex
        if journal is None:
            return self._submit_undurable(deployment, values, key, timeout, terms, trace, tags, streams)
        clock = self._runtime.clock
        deadline_at = clock.time() + timeout if timeout is not None else None
        deadline = clock.monotonic() + timeout if timeout is not None else inf
        new = deployment.new_run(key, values, terms=terms, tags=tags, submitted=True, deadline_at=deadline_at)
        info = RunInfo(*(new.id, new.program, deadline, self._runtime.charged(terms), trace, tags), durable=True)
        log, accepted = journal.accept(new)
        live = LiveRun(info, deployment, values, self._taking_up(deployment, new.id), log, streams=streams)
        self._coming[new.id] = accepted
        accepted.add_done_callback(partial(self._accepted, live))
        # Shielded: a run that is accepted is begun, be its caller gone meanwhile.
        if not await journal.writes.watch(asyncio.shield(accepted)):
            deployment.check_same(key, values, await self._stored(new.id))
        return RunHandle(self, new.id, new.program, key, durable=True)

    async def _known(self, deployment: "Deployment", key: str, values: dict[str, Any]) -> RunHandle | None:
        """A handle on the run that ``key`` stands for, if there is one. Raises InputError, ProgramError."""
        if (handle := self._known_here(deployment, key, values)) is not None:
            return handle
        recorded = await deployment.recorded([key])
        if not recorded:
            return None
        deployment.check_same(key, values, recorded[key])
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
            return _status_of(live)
        return RunStatus.of(await self._stored(id))

    async def latest(self, program: str | None, status: str | None, limit: int) -> list[RunStatus]:
        """Runs, the latest first."""
        journal = self._runtime.journal
        stored = await journal.table.latest(program, status, limit) if journal is not None else []
        return [RunStatus.of(run) for run in stored]

    async def uncertain(self, id: str | None, limit: int) -> list[Uncertain]:
        """Calls of which nobody knows whether they were billed, the latest first; of one run, or of all."""
        return await self._journal().table.uncertain(id, limit)

    async def events(self, id: str, after: int) -> AsyncIterator[RunEvent]:
        """The events of a run. Raises RunUnknown."""
        if (kept := self._undurable(id)) is not None:
            async for event in self._undurable_events(kept, after):
                yield event
            return
        table, clock = self._journal().table, self._runtime.clock
        live = self.live.get(id)
        log = live.log if live is not None else None
        ended = False
        while log is not None or not await self._all_read(id, after):
            try:
                async for event in read_log(id, table, log, clock, after):
                    after = event.id
                    yield event
                    ended = event.kind == "done"
                if ended:
                    return
            except StoreError as error:
                if not self._runtime.closing and not isinstance(error, RunTakenOver):
                    raise
            if self._runtime.closing:
                raise _cut_off(live)
            log = None  # it goes on in another life, be it another process's

    async def _undurable_events(self, live: LiveRun, after: int) -> AsyncIterator[RunEvent]:
        assert live.log is not None
        while live.log.last > after or not live.outcome.done():
            async for event in read_log(live.info.id, None, live.log, self._runtime.clock, after):
                after = event.id
                yield event
            if self._runtime.closing:
                raise _cut_off(live)
            if live.log.closed and not live.outcome.done():
                await self._runtime.clock.sleep(WATCH_INTERVAL)  # between two lives

    async def _all_read(self, id: str, after: int) -> bool:
        """Whether a run has ended and has no events after number ``after``."""
        return (await self.status(id)).ended and await self._journal().table.last_event(id) <= after

    async def steps(self, id: str) -> list[StepStatus]:
        """The steps of a run that have ended. Raises RunUnknown."""
        if (live := self._undurable(id)) is not None:
            return steps_in(live.log.kept(0) if live.log is not None else ())
        await self._stored(id)
        return steps_in(await self._recorded(id))

    async def outcome(self, id: str, timeout: float | None) -> Prediction:
        """What a run returns; raises what it fails with, TimeoutError where neither comes in time."""
        async with asyncio.timeout(timeout):
            while True:
                if (live := self.live.get(id) or self._ended.get(id)) is not None:
                    with suppress(RunTakenOver):  # another process goes on with it
                        return (await asyncio.shield(live.outcome)).prediction
                if self._runtime.closing:
                    raise _cut_off(live)
                stored = await self._stored(id)
                if stored.status != "accepted":
                    return self._outcome_in(stored).prediction
                if id not in self.live:
                    await self._runtime.clock.sleep(WATCH_INTERVAL)

    async def tell(self, id: str, kind: str, data: Mapping[str, Any]) -> None:
        """Say something to a run; on disk when this returns. Raises RunUnknown, ProgramError if it has ended."""
        if (live := self._undurable(id)) is not None:
            if live.outcome.done():
                raise _has_ended(_status_of(live))
            live.hear(RunMessage(uuid4().hex, id, kind, dump_json(data).decode(), 0.0))
            return
        status = await self.status(id)
        if status.ended:
            raise _has_ended(status)
        now = self._runtime.clock.time()
        message = RunMessage(uuid4().hex, id, kind, dump_json(data).decode(), now)
        await self._journal().table.tell(message)
        self._keeper().tell(Look())

    async def retry(self, id: str) -> None:
        """Go on with a run that failed, was cancelled, or is held: its failed steps are asked again."""
        stored = await self._stored(id)
        if stored.status in ("accepted", "ok"):
            raise ProgramError(f"the run {id} is {stored.status}: there is nothing to retry")
        deployment = self._version_of(stored)
        self._runtime.memory.check(terms_from_json(stored.terms).priority)
        values = deployment.compiled.validate_inputs(load_json(stored.inputs))
        live = self._going_on(deployment, stored, values)
        with self.taken(id):
            interrupted = await deployment.take_up(stored)
        live.log, live.history = interrupted.log, interrupted.history
        self._begin(live)

    async def replay(self, id: str) -> Prediction:
        """What the program makes of what is recorded, dry: nothing is asked, nothing is done."""
        stored = await self._stored(id)
        deployment = self._version_of(stored)
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
        stored = await self._stored(id)
        deployment = self._version_of(stored)
        journal = self._journal()
        values = deployment.compiled.validate_inputs(load_json(stored.inputs) | dict(inputs or {}))
        unknown = set(parameters) - set(deployment.parameters())
        if unknown:
            has = ", ".join(deployment.parameters())
            raise ProgramError(f"{stored.program} has no predictor {min(unknown)!r}", hint=f"It has: {has}.")
        for path, changed in parameters.items():
            deployment.check_model(path, changed)
        ended = [event for event in await self._recorded(id) if event.kind == "step"]
        if not 0 <= step <= len(ended):
            raise ProgramError(f"fork: step = {step}: the run has {len(ended)} steps", hint="Count from 0.")
        key = key or uuid4().hex
        terms = terms_from_json(stored.terms)
        self._runtime.memory.check(terms.priority)
        tags = load_json(stored.tags) if stored.tags is not None else {}
        new = deployment.new_run(key, values, terms=terms, tags=tags, submitted=True, parent=id)
        log, accepted = journal.accept(new)
        if not await journal.writes.watch(accepted):
            raise ProgramError(f"fork: there is a run with the key {key!r}", hint="Give it a key of its own.")
        if parameters:
            log.append("parameters", {path: each.model_dump(mode="json") for path, each in parameters.items()})
        for event in ended[:step]:
            log.append("step", {**event.data, "inherited": True})
        await log.flush()
        live = self._going_on(deployment, replace(stored, id=new.id, deadline_at=None), values)
        live.log, live.history = log, await journal.history(new.id)
        self._begin(live)
        return RunHandle(self, new.id, new.program, key, durable=True)

    # --- for deployments ---

    @contextmanager
    def taken(self, id: str) -> Iterator[None]:
        """Somebody of this process goes on with a run that is not live. Raises RunTakenOver if somebody does."""
        if self._executes(id):
            raise RunTakenOver(f"the run {id} is executed already", hint="Ask for its outcome.")
        self._taken.add(id)
        try:
            yield
        finally:
            self._taken.discard(id)

    async def submitted(self, id: str) -> StoredRun | None:
        """A run that was submitted to this process and may not have been on disk a moment ago."""
        if (accepted := self._coming.get(id)) is not None:
            await asyncio.wait({accepted})
        elif id not in self.live:
            return None
        return (await self._journal().table.find([id])).get(id)

    async def outcome_elsewhere(self, recorded: StoredRun, deadline: float) -> StoredRun | None:
        """Wait while somebody else executes a run; how it ended if that was well, None if it is to be executed.

        Raises RunTakenOver if that does not end in time.
        """
        journal, clock = self._journal(), self._runtime.clock
        while recorded.status == "accepted" and recorded.owner is not None:
            mine = recorded.owner == journal.owner
            if not self._executes(recorded.id) and (
                mine or recorded.owner in await journal.gone({recorded.owner})
            ):
                return None
            if clock.monotonic() >= deadline:
                raise RunTakenOver(
                    f"the run {recorded.id} is executed by another process", hint="Wait for it, and ask again."
                )
            await clock.sleep(WATCH_INTERVAL)
            recorded = await self._stored(recorded.id)
        return recorded if recorded.status == "ok" else None

    # --- for the keeper ---

    async def orphans(self, program: str | None = None) -> list[LiveRun]:
        """Take up the submitted runs of started programs that nobody executes any more."""
        journal = self._runtime.journal
        if journal is None:
            return []
        found: list[LiveRun] = []
        for deployment in [*self._runtime.deployments.values()]:
            if program is not None and deployment.name != program:
                continue
            runs = await journal.table.interrupted(deployment.name)
            owners = {run.owner for run in runs.values() if run.owner is not None}
            # Of this process's own those are without anybody whose outcome could not be written down.
            idle = {None, journal.owner, *await journal.gone(owners - {journal.owner})}
            for run in runs.values():
                if run.owner in idle and not self._executes(run.id):
                    with self.taken(run.id):
                        live = await self._adopted(run)
                    if live is not None:
                        self.live[run.id] = live
                        found.append(live)
        return found

    async def _adopted(self, run: StoredRun) -> LiveRun | None:
        journal = self._journal()
        if not await journal.take_over(run):
            return None
        version = self._version_of(run)
        try:
            values = version.compiled.validate_inputs(load_json(run.inputs))
        except InputError as error:  # another program by now
            await version.refuse(run, await journal.history(run.id), error)
            return None
        return self._going_on(version, run, values)

    async def recover(self, program: str) -> None:
        """Go on with the submitted runs of a program that has just been started."""
        for run in await self.orphans(program):
            self._keeper().tell(Begin(run))

    async def deliver(self) -> None:
        """Hand the live runs what has been said to them."""
        journal = self._runtime.journal
        durable = [id for id, run in self.live.items() if run.info.durable]
        if journal is None or not durable:
            return
        for message in await journal.table.messages(durable):
            live = self.live.get(message.run_id)
            if live is None or live.context is None:
                continue  # it is about to begin, or has just ended
            written = live.hear(message)
            if written is not None:
                await written
            await journal.table.taken(message)

    def ended(self, run: LiveRun) -> None:
        """A live run is that no more."""
        self.live.pop(run.info.id, None)
        if not run.info.durable:
            self._ended[run.info.id] = run
            while len(self._ended) > KEPT_ENDED:
                del self._ended[next(iter(self._ended))]

    def close(self) -> None:
        """Tell whoever waits for a run that it does not go on here."""
        for live in self.live.values():
            if not live.outcome.done():
                closing = self._runtime.closing
                why = _cut_off(live) if closing else self._runtime.explained(ActorDown("the runs have no keeper"))
                live.outcome.set_exception(why)
                live.outcome.exception()  # it may well be that nobody asks

    # --- inside ---

    def _executes(self, id: str) -> bool:
        """Whether this process is at work on a run."""
        return id in self.live or id in self._coming or id in self._taken

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

        async def again() -> tuple[RunLog | None, RunHistory] | Run:
            log.closed = False
            return log, RunHistory.of(log.kept(0))

        self._begin(LiveRun(info, deployment, values, again, log, streams=streams))
        return RunHandle(self, id, deployment.name, key, durable=False)

    def _accepted(self, live: LiveRun, accepted: "asyncio.Future[bool]") -> None:
        self._coming.pop(live.info.id, None)
        if not accepted.cancelled() and accepted.exception() is None and accepted.result():
            self._begin(live)

    def _begin(self, live: LiveRun) -> None:
        self.live[live.info.id] = live
        self._keeper().tell(Begin(live))

    def _going_on(self, deployment: "Deployment", run: StoredRun, values: dict[str, Any]) -> LiveRun:
        clock = self._runtime.clock
        left = run.deadline_at - clock.time() if run.deadline_at is not None else inf
        terms = self._runtime.charged(terms_from_json(run.terms))
        tags = load_json(run.tags) if run.tags is not None else {}
        info = RunInfo(run.id, run.program, clock.monotonic() + left, terms, "", tags, durable=True)
        return LiveRun(info, deployment, values, self._taking_up(deployment, run.id))

    def _taking_up(self, deployment: "Deployment", id: str) -> TakeUp:
        async def take_up() -> tuple[RunLog | None, RunHistory] | Run:
            stored = await self._stored(id)
            if stored.status != "accepted":
                return self._outcome_in(stored)
            interrupted = await deployment.take_up(stored)
            return interrupted.log, interrupted.history

        return take_up

    def _outcome_in(self, stored: StoredRun) -> Run:
        """What came of a run that has ended. Raises what it failed with."""
        if stored.status != "ok":
            message = stored.error_message or stored.status
            raise load_error({"code": stored.error_code or "error", "message": message})
        if (deployment := self._runtime.deployments.get(stored.program)) is not None:
            return deployment.replayed(stored)
        prediction = Prediction(load_json(stored.outputs or "{}"), lm_calls=stored.lm_calls)
        return Run(stored.id, prediction, stored.seconds or 0.0, replayed=True, durable=True)

    def _undurable(self, id: str) -> LiveRun | None:
        live = self.live.get(id) or self._ended.get(id)
        return live if live is not None and not live.info.durable else None

    async def _recorded(self, id: str) -> list[RunEvent]:
        """All events of a run that are kept."""
        table, events, last = self._journal().table, [], 0
        while True:
            page = await table.events(id, last, PAGE)
            events += [RunEvent(row.id, row.kind, load_json(row.data), row.at) for row in page]
            if len(page) < PAGE:
                return events
            last = page[-1].id

    async def _stored(self, id: str) -> StoredRun:
        journal = self._runtime.journal
        found = await journal.table.find([id]) if journal is not None else {}
        if id not in found:
            raise RunUnknown(f"there is no run {id!r}", hint="Runs that are too old are not kept.")
        return found[id]

    def _journal(self) -> Journal:
        journal = self._runtime.journal
        if journal is None:
            raise ConfigError("the runtime keeps no journal", hint="Give Runtime a store.")
        return journal

    def _version_of(self, run: StoredRun) -> "Deployment":
        """The version of the program that goes on with ``run``. Raises ProgramError if it is not started."""
        deployment = self._runtime.programs.find(run.program)
        return deployment.releases.holder(run.fingerprint) or deployment.current

    def _keeper(self) -> ActorRef:
        return self._runtime.actor("root/runs")


def _has_ended(status: RunStatus) -> ProgramError:
    return ProgramError(
        f"the run {status.id} has ended: {status.status}", hint="`retry` goes on with one that failed."
    )


def _cut_off(live: LiveRun | None) -> RepertoryError:
    durable = live is None or live.info.durable
    return RuntimeClosed(
        "the runtime was closed before the run had ended",
        hint="It goes on when its program is started again."
        if durable
        else "It was submitted with durable=False.",
    )


def _status_of(live: LiveRun) -> RunStatus:
    """The state of a run without a store."""
    info, outcome = live.info, live.outcome
    status, run, error = "accepted", None, None
    if outcome.done():
        error = outcome.exception()
        status = "ok" if error is None else "cancelled" if live.cancelled else "failed"
        run = outcome.result() if error is None else None
    return RunStatus(
        id=info.id,
        program=info.program,
        key="",
        status=status,
        durable=False,
        inputs=live.deployment.compiled.dump_inputs(live.values),
        outputs=run.prediction.outputs if isinstance(run, Run) else None,
        error=(getattr(error, "code", "error"), str(error)) if error is not None else None,
        usage=live.context.usage if live.context is not None else Usage(),
        lm_calls=live.context.lm_calls if live.context is not None else 0,
        cost=in_dollars(live.context.nano_cost if live.context is not None else 0),
        uncertain_calls=0,
        uncertain_cost=in_dollars(0),
        accepted_at=0.0,
        finished_at=None,
        seconds=run.seconds if isinstance(run, Run) else None,
        tags=info.tags,
        parent=None,
    )
