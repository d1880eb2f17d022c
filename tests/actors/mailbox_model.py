"""What a mailbox and its actor should do, in lists and a few numbers, for the random histories to agree with.

The model knows no time, no tasks and no turns: it is asked only when all that can go on has gone on. Asks whose
askers are gone vanish from it at once.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from repertory.actors import Message
from repertory.actors.info import MailboxStats
from repertory.actors.spec import Overflow
from repertory.errors import ActorDown, DeadlineExceeded, MailboxFull

Outcome = int | type[BaseException]


@dataclass(eq=False)
class Job(Message[int]):
    """One message; what it is told to do is told through ``order``, once it is being handled."""

    number: int
    asked: asyncio.Task[int] | None = None  # None: it was told
    limited: bool = False  # whether it has a deadline
    made_in: int = 0  # the step; the deadlines of one step pass together
    order: asyncio.Future[str] | None = None
    expected: Outcome | None = None  # None: it has no outcome yet

    def ends(self, outcome: Outcome) -> None:
        assert self.expected is None
        self.expected = outcome


@dataclass
class Model:
    """The expected state of the cell."""

    bound: int
    overflow: Overflow
    concurrency: int
    life: Literal["none", "runs", "ends"] = "none"
    lane: list[Job] = field(default_factory=list)
    door: list[Job] = field(default_factory=list)
    handling: list[Job] = field(default_factory=list)
    stashed: list[Job] = field(default_factory=list)
    elsewhere: list[Job] = field(default_factory=list)  # in the second cell
    begun: list[int] = field(default_factory=list)
    told_ends: int = 0  # ends of lives of which the keeper is told
    dropped: Counter[str] = field(default_factory=Counter)
    high_water: int = 0
    waits: int = 0
    drops: int = 0

    @property
    def stats(self) -> MailboxStats:
        return MailboxStats(len(self.lane) + len(self.door), self.high_water, self.waits, self.drops)

    def note_depth(self) -> None:
        self.high_water = max(self.high_water, len(self.lane) + len(self.door))

    # --- what comes ---

    def post(self, job: Job) -> None:
        """It comes; nothing goes on before ``go_on``."""
        while len(self.lane) >= self.bound and self.overflow == "drop_oldest" and self._gone(self.lane[0]):
            self.dropped["abandoned"] += 1
            self.lane.pop(0).ends(asyncio.CancelledError)
        if len(self.lane) >= self.bound:
            if self.overflow == "wait" and job.asked is not None:
                self.waits += 1
                self.door.append(job)
                self.note_depth()
                return
            self.drops += 1
            self.dropped["full"] += 1
            if self.overflow != "drop_oldest":
                job.ends(MailboxFull)
                return
            self.lane.pop(0).ends(MailboxFull)
        self.lane.append(job)
        self.note_depth()

    @staticmethod
    def _gone(job: Job) -> bool:
        return job.asked is not None and job.asked.cancelling() > 0 and job.expected is None

    def accept(self, jobs: list[Job], *, first: bool) -> None:
        self.lane = jobs + self.lane if first else self.lane + jobs
        self.note_depth()

    def surrender(self) -> list[Job]:
        jobs, self.lane, self.door = self.lane + self.door, [], []
        return jobs

    # --- what goes on ---

    def go_on(self) -> None:
        """All that can be begun is begun."""
        while True:
            if self.door and len(self.lane) < self.bound:
                self.lane.append(self.door.pop(0))
            elif self.life == "runs" and self.lane and len(self.handling) < self.concurrency:
                self.handling.append(self.lane.pop(0))
                self.begun.append(self.handling[-1].number)
            else:
                break
        if self.life == "ends" and not self.handling:
            self.end_life(told=True)

    def starts(self) -> None:
        self.life = "runs"
        self.go_on()

    def end_life(self, *, told: bool) -> None:
        """What was being handled will have no reply; what was stashed waits for the next life."""
        for job in self.handling:
            job.ends(ActorDown)
        self.handling = []
        self.life = "none"
        self.told_ends += told
        self.unstash()
        self.go_on()

    def unstash(self) -> None:
        wanted = [job for job in self.stashed if job.expected is None]
        for job in self.stashed:
            if job.expected is not None:
                self.dropped[_reason(job)] += 1
        self.stashed = []
        self.accept(wanted, first=True)

    def leaves(self, job: Job, outcome: type[BaseException]) -> None:
        """Its asker goes."""
        job.ends(outcome)
        if job in self.handling:
            self.handling.remove(job)
            return
        for waiting in (self.lane, self.door, self.elsewhere):
            if job in waiting:
                waiting.remove(job)
                self.dropped[_reason(job)] += 1

    def expire(self) -> None:
        """All deadlines pass: those of one step together, and then the next ones are begun."""
        while limited := [job for job in self.everywhere if job.limited and job.expected is None]:
            step = min(job.made_in for job in limited)
            for job in limited:
                if job.made_in == step:
                    self.leaves(job, DeadlineExceeded)
            self.go_on()

    @property
    def everywhere(self) -> list[Job]:
        return self.handling + self.lane + self.door + self.stashed + self.elsewhere

    def close(self) -> None:
        """The cell is no more."""
        for job in self.surrender():
            job.ends(ActorDown)
            if job.asked is None:
                self.dropped["down"] += 1


def _reason(job: Job) -> str:
    return "expired" if job.expected is DeadlineExceeded else "abandoned"


def outcome_of(job: Job) -> Any:
    """What its asker got; None: nothing yet."""
    asked = job.asked
    if asked is None or not asked.done():
        return None
    if asked.cancelled():
        return asyncio.CancelledError
    error = asked.exception()
    return type(error) if error is not None else asked.result()
