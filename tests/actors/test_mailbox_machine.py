"""Random histories of one actor and its mailbox agree with a model of lists."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import booleans, integers, lists, sampled_from, tuples

from repertory.actors import Actor, ActorSystem, Exit, handles
from repertory.actors.cell import Cell
from repertory.actors.envelope import Envelope
from repertory.actors.exit import SHUTDOWN
from repertory.actors.spec import ActorSpec, Overflow
from repertory.errors import MailboxFull
from repertory.events import Event, Hooks, MessageDropped
from tests.actors.kernel import Declined, of
from tests.actors.mailbox_model import Job, Model, outcome_of
from tests.virtual_time import LoopClock, VirtualTimeLoop

STEP = 0.05  # seconds between two steps: their deadlines do not pass together
TIMEOUT = 19.0  # seconds of the asks that have a deadline: many steps, and near enough for the finest grain


class Worker(Actor[None]):
    """Handles each job until it is told how to end."""

    expected: ClassVar[tuple[type[Exception], ...]] = (Declined,)

    def __init__(self, begun: list[int]) -> None:
        self.begun = begun

    @handles(Job)
    async def job(self, job: Job) -> int:
        self.begun.append(job.number)
        job.order = asyncio.get_running_loop().create_future()
        order = await job.order
        if order == "decline":
            raise Declined("no")
        if order == "crash":
            raise ValueError("broken")
        if order == "stop":
            self.stop()
        if order == "stash":
            self.stash()
        return job.number


class Stayer(Worker):
    """Has something to do at the end, and therefore always a task."""

    async def stopping(self, exit: Exit) -> None:
        await asyncio.sleep(0)


class OneMailbox(RuleBasedStateMachine):
    overflow: ClassVar[Overflow]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.events: list[Event] = []
        self.complaints: list[object] = []
        self.longest: dict[Cell, int] = {}  # that each mailbox has been
        self.jobs: list[Job] = []
        self.begun: list[int] = []
        self.exits: list[Exit] = []
        self.step = 0

    @initialize(
        bound=integers(1, 3),
        concurrency=integers(1, 3),
        kind=sampled_from([Worker, Stayer]),
    )
    def make(self, bound: int, concurrency: int, kind: type[Worker]) -> None:
        self.model = Model(bound, self.overflow, concurrency)
        spec = ActorSpec(
            start=lambda: kind(self.begun), mailbox=bound, overflow=self.overflow, concurrency=concurrency
        )

        async def make() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: self.complaints.append(context))
            self.system = ActorSystem(clock=LoopClock(), hooks=Hooks([self.events.append]))
            self.cell = self.system.new_cell("one", spec, self)
            self.other = self.system.new_cell("other", spec, self)

        self.runner.run(make())
        self.start()

    def child_ended(self, cell: Cell, exit: Exit) -> None:
        self.exits.append(exit)

    def _do(self, *actions: Callable[[], Any]) -> list[Any]:
        """Do these in one turn, then let all go on that can."""

        async def act() -> list[Any]:
            results = [action() for action in actions]
            await asyncio.sleep(STEP)
            return results

        self.step += 1
        return self.runner.run(act())

    # --- messages come, and askers go ---

    @rule(kinds=lists(sampled_from(["tell", "ask", "limited ask"]), min_size=1, max_size=4))
    def send(self, kinds: list[str]) -> None:
        """The asks' tasks are there first, but begin only after the tells; the actor goes on after all of them."""
        jobs = [self._new_job(kind) for kind in kinds]
        asks = [job for job, kind in zip(jobs, kinds, strict=True) if kind != "tell"]
        tells = [job for job in jobs if job not in asks]
        self._do(*(partial(self._ask, job) for job in asks), *(partial(self._tell, job) for job in tells))
        for job in asks:
            self.model.post(job)
        self.model.go_on()

    def _new_job(self, kind: str) -> Job:
        job = Job(len(self.jobs), limited=kind == "limited ask", made_in=self.step)
        self.jobs.append(job)
        return job

    def _ask(self, job: Job) -> None:
        asked = self.cell.ref.ask(job, timeout=TIMEOUT if job.limited else None)
        job.asked = asyncio.get_running_loop().create_task(asked)

    def _tell(self, job: Job) -> None:
        self.model.post(job)
        try:
            self.cell.ref.tell(job)
        except MailboxFull:
            assert job.expected is MailboxFull
            assert self.model.overflow in ("reject", "wait")
        else:
            assert job.expected is None or self.model.overflow == "drop_newest"

    @precondition(lambda self: any(job.asked is not None for job in self.model.everywhere))
    @rule(which=lists(integers(0, 20), min_size=1, max_size=4), tells=integers(0, 2))
    def cancel(self, which: list[int], tells: int) -> None:
        """Askers are cancelled, and before they have noticed something comes."""
        asks = [job for job in self.model.everywhere if job.asked is not None and job.expected is None]
        leaving = list(dict.fromkeys(asks[number % len(asks)] for number in which if asks))
        told = [self._new_job("tell") for _ in range(tells)]
        self._do(
            *(job.asked.cancel for job in leaving if job.asked is not None),
            *(partial(self._tell, job) for job in told),
        )
        for job in leaving:
            if job.expected is None:
                self.model.leaves(job, asyncio.CancelledError)
        self.model.go_on()

    @rule()
    def deadlines_pass(self) -> None:
        self.model.expire()
        self.runner.run(asyncio.sleep(TIMEOUT + 10))

    # --- handlers end ---

    @precondition(lambda self: self.model.handling)
    @rule(number=integers(0, 2), order=sampled_from(["reply", "reply", "decline", "crash", "stop", "stash"]))
    def handler_ends(self, number: int, order: str) -> None:
        model = self.model
        job = model.handling[number % len(model.handling)]
        if (order == "stash" and len(model.stashed) == model.bound) or (order == "crash" and model.life == "ends"):
            order = "reply"
        self._order(job, order)

    @precondition(lambda self: self.model.handling)
    @rule(number=integers(0, 2), order=sampled_from(["reply", "decline"]), which=lists(integers(0, 9), max_size=3))
    def handler_ends_as_askers_are_cancelled(self, number: int, order: str, which: list[int]) -> None:
        """The handler is the first to go on; its reply comes too late, and others are taken before they notice."""
        model = self.model
        job = model.handling[number % len(model.handling)]
        # At the end of a life those that have not noticed still count as what was stashed comes back.
        queue = model.lane + model.door if model.life == "runs" else []
        waiting = [other for other in queue if other.asked is not None]
        leaving = list(dict.fromkeys(waiting[position % len(waiting)] for position in which if waiting))
        if job.asked is not None:
            leaving.append(job)
        for other in leaving:
            model.leaves(other, asyncio.CancelledError)
        self._order(job, order, *(other.asked.cancel for other in leaving if other.asked is not None))

    def _order(self, job: Job, order: str, *and_then: Callable[[], Any]) -> None:
        model = self.model
        set_order = job.order.set_result if job.order is not None else pytest.fail
        self._do(partial(set_order, order), *and_then)
        if order == "stash":
            model.stashed.append(job)
        if job in model.handling:
            model.handling.remove(job)
            if order != "stash":
                job.ends({"decline": Declined, "crash": ValueError}.get(order, job.number))
        if order == "decline" and job.asked is None:
            model.dropped["failed"] += 1
        if order == "crash":
            model.end_life(told=True)
        elif order == "stop" and model.life == "runs":
            model.life = "ends"
        model.go_on()

    @precondition(lambda self: self.model.life == "runs" and self.model.stashed)
    @rule()
    def unstash(self) -> None:
        life = self.cell.life
        assert life is not None
        self._do(life.unstash)
        self.model.unstash()
        self.model.go_on()

    # --- lives ---

    @precondition(lambda self: self.model.life == "none")
    @rule()
    def start(self) -> None:
        assert self.runner.run(self.cell.start())
        self._do()
        self.model.starts()

    @precondition(lambda self: self.model.life != "none")
    @rule(how=sampled_from(["kill", "end at once", "end"]))
    def end_life(self, how: str) -> None:
        if how == "kill" and self.model.life == "runs":
            self._do(lambda: self.cell.kill(ValueError("killed")))
        else:
            self.runner.run(self.cell.end(SHUTDOWN, 0.1 if how == "end" else 0))
            self._do()
        self.model.end_life(told=how == "kill" and self.model.life == "runs")

    # --- messages move ---

    @rule(to_other=booleans(), first=booleans(), leaving=lists(tuples(integers(0, 9), booleans()), max_size=3))
    def move(self, to_other: bool, first: bool, leaving: list[tuple[int, bool]]) -> None:
        """What waits moves to the other cell, or from there; some askers go meanwhile, not all have noticed."""
        model = self.model
        source, target = (self.cell, self.other) if to_other else (self.other, self.cell)
        items: list[Any] = []
        self._do(lambda: items.extend(source.surrender()))
        if to_other:
            moving = model.surrender()
        else:
            moving, model.elsewhere = model.elsewhere, []
        asks = [job for job in moving if job.asked is not None]
        for late in (False, True):
            gone = {asks[number % len(asks)] for number, is_late in leaving if asks and is_late == late}
            gone = {job for job in gone if job in moving}
            cancels = [job.asked.cancel for job in gone if job.asked is not None]
            if not late:
                self._do(*cancels)
            else:
                self._do(*cancels, lambda: target.put_back(items) if first else target.accept(items))
            for job in gone:
                moving.remove(job)
                job.ends(asyncio.CancelledError)
                model.dropped["abandoned"] += 1
        if to_other:
            model.elsewhere = moving + model.elsewhere if first else model.elsewhere + moving
        else:
            model.accept(moving, first=first)
        model.go_on()

    # --- what must hold ---

    @invariant()
    def the_mailbox_agrees_with_the_model(self) -> None:
        cell, model = self.cell, self.model
        assert self.begun == model.begun
        assert cell.stats == model.stats
        assert self.other.depth == len(model.elsewhere)
        assert len(self.exits) == model.told_ends
        assert cell.running == (model.life == "runs")
        assert self.complaints == []

    @invariant()
    def every_ask_has_at_most_the_expected_outcome(self) -> None:
        for job in self.jobs:
            if job.asked is not None:
                assert outcome_of(job) == job.expected
        wanted = [job for job in self.jobs if job.expected is None]
        assert sorted(job.number for job in wanted) == sorted(
            job.number for job in self.model.everywhere if job.expected is None
        )

    @invariant()
    def the_counters_do_not_drift(self) -> None:
        for cell in (self.cell, self.other):
            envelopes = [item for item in cell.mailbox or () if type(item) is Envelope]
            assert cell.withdrawn == sum(envelope.withdrawn for envelope in envelopes)
            assert all(envelope.queued and envelope.runner is None for envelope in envelopes)
            # They are taken out when one is added; until then, what is handled makes the mailbox shorter.
            self.longest[cell] = max(self.longest.get(cell, 0), len(cell.mailbox or ()))
            assert cell.withdrawn <= max(cell.spec.mailbox, self.longest[cell] // 2)
            assert cell.waiting is None or len(cell.waiting) > 0
        cell, life = self.cell, self.cell.life
        if life is None or life.exit is not None:
            assert cell.free == 0
        else:
            assert cell.free == cell.spec.concurrency - len(life.runners)
            parked = [runner for runner in life.runners if runner.parked is not None]
            assert len(life.runners) - len(parked) == len(self.model.handling)
            assert not (cell.depth and (cell.free or parked))

    def teardown(self) -> None:
        if not hasattr(self, "cell"):
            self.runner.close()
            return

        async def stop() -> set[asyncio.Task[object]]:
            await self.cell.stop(SHUTDOWN, 0)
            self.other.close()
            await self.system.stop()
            await asyncio.sleep(STEP)
            return asyncio.all_tasks() - {asyncio.current_task()}

        try:
            left = self.runner.run(stop())
            model = self.model
            model.end_life(told=False)
            model.lane += model.elsewhere
            model.elsewhere = []
            model.close()
            self.every_ask_has_at_most_the_expected_outcome()
            assert left == set()
            assert self.complaints == []
            assert all(job.expected is not None for job in self.jobs)
            assert Counter(event.reason for event in of(MessageDropped, self.events)) == model.dropped
            assert (self.cell.withdrawn, self.cell.depth) == (self.other.withdrawn, self.other.depth) == (0, 0)
        finally:
            self.runner.close()


class Rejecting(OneMailbox):
    overflow = "reject"


class Waiting(OneMailbox):
    overflow = "wait"


class DroppingNewest(OneMailbox):
    overflow = "drop_newest"


class DroppingOldest(OneMailbox):
    overflow = "drop_oldest"


TestRejecting = Rejecting.TestCase
TestWaiting = Waiting.TestCase
TestDroppingNewest = DroppingNewest.TestCase
TestDroppingOldest = DroppingOldest.TestCase
TestRejecting.settings = TestWaiting.settings = TestDroppingNewest.settings = TestDroppingOldest.settings = (
    settings(max_examples=75, stateful_step_count=40)
)
