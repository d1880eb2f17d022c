"""The runs that this process brings to their outcome, and those that wait until it has room for them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

from repertory.actors import ActorRef
from repertory.errors import ActorDown, ProgramError, RunTakenOver, RunUnknown, StoreError
from repertory.modules import Prediction
from repertory.modules.run_info import RunInfo
from repertory.runtime.awaited_runs import AwaitedRuns
from repertory.runtime.execution import Run
from repertory.runtime.live_run import LiveRun, TakenUp, TakeUp, cut_off
from repertory.runtime.recorded_errors import load_error
from repertory.runtime.run_keeper import Begin, Look, Sweep
from repertory.runtime.terms_json import terms_from_json
from repertory.runtime.waiting_runs import RunPlaces, WaitingRuns
from repertory.signatures.json_text import load_json
from repertory.store.run_piece import RunPiece
from repertory.store.run_rows import RunMessage, StoredRun
from repertory.store.run_table import RunTable

if TYPE_CHECKING:
    from repertory.runtime.deployment import Deployment
    from repertory.runtime.runtime import Runtime

KEPT_ENDED: Final = 256  # runs without a store whose outcome is remembered
KEPT_BYTES: Final = 33_554_432  # of JSON in the logs of these
ASKED_FOR: Final = 1000  # runs whose messages are read at a time


class LiveRuns:
    """What the submitted runs of a runtime are executed by: places, whoever waits for one, and the keeper's call.

    Invariant: each run in ``by_id`` has one of the places. What finds none waits on disk, without an owner.

    Attributes:
        by_id: The live runs.
        ended: Those without a store that have ended, the latest, by id.
        places: How many there may be.
        awaited: Runs whose outcome is waited for here, though they are executed elsewhere, or wait.
    """

    def __init__(self, runtime: "Runtime") -> None:
        self.by_id: dict[str, LiveRun] = {}
        self.ended: dict[str, LiveRun] = {}
        self.places = RunPlaces(runtime.config.scheduler.runs)
        self.awaited = AwaitedRuns()
        self._runtime = runtime
        self._waiting = WaitingRuns(runtime, self.places)
        self._coming: dict[str, RunPiece] = {}  # by id: whether they are new, once that is on disk
        self._taken: set[str] = set()  # ids of those that are about to go on, or go on in their caller's task
        self._begun: list[LiveRun] = []  # that the keeper has yet to take
        self._called = False  # whether it has been called for these
        self._told = False  # whether it has been told to look for what was said

    @property
    def table(self) -> RunTable | None:
        """Where runs are kept, if anywhere."""
        journal = self._runtime.journal
        return journal.table if journal is not None else None

    # --- for `Runs` ---

    def executes(self, id: str) -> bool:
        """Whether this process is at work on a run."""
        return id in self.by_id or id in self._coming or id in self._taken

    @contextmanager
    def taken(self, id: str) -> Iterator[None]:
        """Somebody of this process goes on with a run that is not live. Raises RunTakenOver if somebody does.

        A submitted run that could not be gone on with, and is this process's by now, waits for its turn.
        """
        if self.executes(id):
            raise RunTakenOver(f"the run {id} is executed already", hint="Ask for its outcome.")
        self._taken.add(id)
        self._waiting.goes_on(id)
        try:
            yield
        except BaseException:
            self._waiting.interrupted(id)
            raise
        finally:
            self._taken.discard(id)

    def coming(self, id: str, live: LiveRun | None, accepted: RunPiece) -> None:
        """A run that was submitted is on its way to the disk: it begins when it is there, whoever waits for that.

        Args:
            live: It has a place; None: there was none for it.
        """
        self._coming[id] = accepted
        accepted.when_done(partial(self._accepted, id, live))

    async def arrived(self, id: str) -> bool:
        """Whether a run was submitted to this process a moment ago, and is on disk by now."""
        if (accepted := self._coming.get(id)) is not None:
            with suppress(StoreError):
                await accepted
            return True
        return id in self.by_id

    def begin(self, live: LiveRun) -> None:
        """Begin a run that has a place."""
        if live.info.id in self.by_id:  # it was taken from us, and is ours again
            self.places.leave()
        if not live.info.durable:
            self._runtime.at_work.enter()
        self.by_id[live.info.id] = live
        self._waiting.goes_on(live.info.id)
        self._begun.append(live)
        self.awaited.tell(live.info.id)
        self._call_keeper()

    async def go_on(self, deployment: "Deployment", run: StoredRun, taken: TakenUp) -> None:
        """Go on with a run of this process, at once if there is a place for it."""
        if self.places.take():
            live = self.going_on(deployment, run)
            live.go_on_from(taken)
            self.begin(live)
        else:
            await self._waiting.let_go(run.id)
            self._call_keeper()

    def going_on(self, deployment: "Deployment", run: StoredRun) -> LiveRun:
        """What executes a run that has been recorded so far as it is; its inputs may refer to contents."""
        clock = self._runtime.clock
        left = run.deadline_at - clock.time() if run.deadline_at is not None else inf
        terms = self._runtime.charged(terms_from_json(run.terms))
        tags = load_json(run.tags) if run.tags is not None else {}
        info = RunInfo(run.id, run.program, clock.monotonic() + left, terms, "", tags, durable=True)
        return LiveRun(info, deployment, {}, self.taking_up(deployment, run.id))

    def version_of(self, run: StoredRun) -> "Deployment":
        """The version of the program that goes on with ``run``. Raises ProgramError if it is not started."""
        deployment = self._runtime.programs.find(run.program)
        return deployment.releases.holder(run.fingerprint) or deployment.current

    async def hear(self, live: LiveRun, message: RunMessage) -> None:
        """Hand a run what was said to it; it is recorded when this returns."""
        live.hear(message)
        if live.log is not None:
            await live.log.written()

    async def stored(self, id: str) -> StoredRun:
        """A run in the journal. Raises RunUnknown."""
        journal = self._runtime.journal
        found = await journal.stored(id) if journal is not None else None
        if found is None:
            raise RunUnknown(f"there is no run {id!r}", hint="Runs that are too old are not kept.")
        return found

    def outcome_in(self, stored: StoredRun) -> Run:
        """What came of a run that has ended. Raises what it failed with."""
        if stored.status != "ok":
            message = stored.error_message or stored.status
            raise load_error({"code": stored.error_code or "error", "message": message})
        if (deployment := self._runtime.deployments.get(stored.program)) is not None:
            return deployment.replayed(stored)
        prediction = Prediction(load_json(stored.outputs or "{}"), lm_calls=stored.lm_calls)
        return Run(stored.id, prediction, stored.seconds or 0.0, replayed=True, durable=True)

    def taking_up(self, deployment: "Deployment", id: str) -> TakeUp:
        """What makes a run go on from what is recorded of it."""

        async def take_up() -> TakenUp | Run:
            stored = await self.stored(id)
            if stored.status != "accepted":
                return self.outcome_in(stored)
            interrupted = await deployment.take_up(stored)
            values = await deployment.fitting_inputs(interrupted)
            return TakenUp(values, interrupted.log, interrupted.history)

        return take_up

    def look(self) -> None:
        """Have the keeper hand the runs what has been said to them."""
        if not self._told:
            self._told = True
            self._keeper().tell(Look())

    # --- for the keeper ---

    async def recover(self, program: str) -> None:
        """Have the submitted runs go on of a program that has just been started."""
        await self._waiting.collect({program})
        self._keeper().tell(Sweep())

    def begun(self) -> list[LiveRun]:
        """The runs that have begun since this was asked last."""
        begun, self._begun = self._begun, []
        self._called = self._told = False  # the calls so far are answered, or were lost with a life of the keeper
        return begun

    async def begin_waiting(self, *, whoever: bool = False) -> None:
        """Begin runs that wait, as many as there are places.

        Args:
            whoever: Whether to look even if none of this process's runs wait: others' may.
        """
        if self._runtime.at_work.winds_up or not (self.places.some_wait or whoever):
            return
        for run in await self._waiting.take():
            try:
                version = self.version_of(run)
            except ProgramError:  # it was stopped meanwhile
                self.places.leave()
                self._waiting.interrupted(run.id)
            else:
                self.begin(self.going_on(version, run))

    async def collect(self) -> None:
        """Have the runs wait that nobody executes any more."""
        await self._waiting.collect({*self._runtime.deployments})

    async def deliver(self) -> None:
        """Hand the live runs what has been said to them. Raises StoreError."""
        self._told = False
        if (table := self.table) is None:
            return
        durable = iter([id for id, run in self.by_id.items() if run.info.durable])
        while ids := [*islice(durable, ASKED_FOR)]:
            for message in await table.messages(ids):
                live = self.by_id.get(message.run_id)
                if live is None or not live.listens:
                    continue  # it is about to begin, or has just ended
                await self.hear(live, message)
                await table.taken(message)

    def end(self, run: LiveRun) -> None:
        """A live run is that no more."""
        id = run.info.id
        if self.by_id.get(id) is run:
            del self.by_id[id]
            self.places.leave()
        failure = run.outcome.exception() if run.outcome.done() else None
        if run.info.durable and isinstance(failure, StoreError) and not isinstance(failure, RunTakenOver):
            self._waiting.interrupted(id)
        if self.places.some_wait:
            self._call_keeper()
        if not run.info.durable:
            self._runtime.at_work.leave()
            self.ended[id] = run
            self._forget_ended()

    def close(self) -> None:
        """Tell whoever waits for a run that it does not go on here."""
        closing = self._runtime.closing
        gone = self._runtime.explained(ActorDown("the runs have no keeper"))
        for live in self.by_id.values():
            live.fail(cut_off(durable=live.info.durable) if closing else gone)
        self.awaited.close(cut_off(durable=True) if closing else gone)

    # --- inside ---

    def _accepted(self, id: str, live: LiveRun | None, accepted: RunPiece) -> None:
        if self._coming.get(id) is accepted:  # else it has been submitted again meanwhile
            del self._coming[id]
        if live is not None and accepted.is_new:
            self.begin(live)
            return
        if live is not None:
            self.places.leave()
            if accepted.failure is not None:  # as far as anybody knows
                self._waiting.interrupted(id)
        elif accepted.is_new:
            self.places.some_wait = True
        if self.places.some_wait:
            self._call_keeper()

    def _forget_ended(self) -> None:
        size = sum(run.log.size for run in self.ended.values() if run.log is not None)
        while len(self.ended) > KEPT_ENDED or (size > KEPT_BYTES and len(self.ended) > 1):
            oldest = self.ended.pop(next(iter(self.ended)))
            size -= oldest.log.size if oldest.log is not None else 0

    def _call_keeper(self) -> None:
        if not self._called:
            self._called = True
            self._keeper().tell(Begin())

    def _keeper(self) -> ActorRef:
        return self._runtime.actor("root/runs")
