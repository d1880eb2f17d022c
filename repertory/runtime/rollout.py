"""A rollout: which of two versions of a program gets the next run, and whether the new one may have more.

Canary release as in Beyer et al., "The Site Reliability Workbook", chapter 16; what is compared is in
`rollout_rules`.
"""

from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Literal, TypeAlias

from repertory.clock import Clock
from repertory.runtime.rollout_plan import RolloutPlan
from repertory.runtime.rollout_rules import Finding, compare
from repertory.runtime.rollout_sample import Sample

Side: TypeAlias = Literal["old", "new"]
State: TypeAlias = Literal["stay", "advance", "promoted", "rolled_back"]

EVEN = 0.5  # the new version's share of the runs while the two are compared at the last step
NEARLY_ONE = 1 - 1e-9  # sums of shares such as 0.05 are not exact


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look led to.

    Attributes:
        state: ``stay`` and ``advance`` go on; ``promoted`` and ``rolled_back`` are final.
        weight: The new version's share of the traffic from now on.
        reason: Why; "" where there is nothing to tell.
    """

    state: State
    weight: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SideSnapshot:
    """One version's runs in the present step.

    Attributes:
        under_way: Runs that have not ended yet.
        p50: Median latency in seconds, as `p95` of answered runs; None before the first.
        throughput: Runs ended in a second, over the version's share of the traffic; None without a share.
        metric: Its mean; None if no run had one.
    """

    begun: int
    ended: int
    under_way: int
    error_rate: float
    p50: float | None
    p95: float | None
    throughput: float | None
    metric: float | None


@dataclass(frozen=True, slots=True)
class RolloutSnapshot:
    """A rollout as an operator sees it.

    Attributes:
        state: ``stay`` or ``advance`` while it goes on.
        step: Which step it is at, from 1.
        since: Seconds since the step began.
        reason: What the latest verdict gave as its reason.
    """

    state: State
    weight: float
    step: int
    steps: int
    since: float
    reason: str
    old: SideSnapshot
    new: SideSnapshot


class Rollout:
    """Moves traffic from an old version to a new one, step by step, and back at once if the new one is worse.

    Invariants: the weight only grows, until a rollback makes it 0. Of runs without a sticky key the new version's
    are what its shares add up to, to within one. A sticky key moves from the old version to the new one at most
    once, and back only by a rollback. What is final stays.

    Every step is judged by its own runs: shares change from step to step, and over several of them an outage would
    weigh more on the version that had the larger share then.

    The last step leaves the old version without runs, so that its figures are those of the step before. Where
    the new one looks bad by these, it may also be the world that changed: before the rollout ends by it, runs
    without a sticky key go to both versions by turns, until they can be compared anew.

    Args:
        rng: Chooses which latencies are kept.
        salt: Makes the choice among sticky keys another one than that of other rollouts.
    """

    __slots__ = (
        "_clock",
        "_credit",
        "_plan",
        "_rng",
        "_salt",
        "_samples",
        "_since",
        "_step",
        "_suspicion",
        "_under_way",
        "_verdict",
    )

    def __init__(self, plan: RolloutPlan, clock: Clock, rng: Random, *, salt: str = "") -> None:
        self._plan = plan
        self._clock = clock
        self._rng = rng
        self._salt = salt.encode() + b"\0"
        self._step = 0
        self._credit = EVEN  # what the new version is owed, in runs
        self._suspicion = ""  # why both versions are compared at the last step
        self._under_way: dict[Side, int] = {"old": 0, "new": 0}
        self._verdict = Verdict("stay", plan.steps[0])
        self._since = clock.monotonic()
        self._samples: dict[Side, Sample] = {}
        self._measure_anew()

    @property
    def weight(self) -> float:
        """The new version's share of the traffic."""
        return self._verdict.weight

    @property
    def verdict(self) -> Verdict:
        """The latest one."""
        return self._verdict

    @property
    def over(self) -> bool:
        """Whether the verdict is final."""
        return self._verdict.state in ("promoted", "rolled_back")

    # --- runs ---

    def choose(self, sticky: str = "") -> Side:
        """Which version gets the next run; runs with the same ``sticky`` text stay together."""
        if sticky:
            return "new" if self._place(sticky) < self.weight else "old"
        self._credit += self._share
        if self._credit < NEARLY_ONE:
            return "old"
        self._credit -= 1
        return "new"

    def began(self, side: Side) -> None:
        """A run begins."""
        self._samples[side].begun += 1
        self._under_way[side] += 1

    def ended(self, side: Side, seconds: float, *, error: bool, metric: float | None = None) -> None:
        """A run was answered, or failed by no fault of its caller."""
        self._under_way[side] -= 1
        sample = self._samples[side]
        if sample.closed_at is not None:
            return
        if error:
            sample.fail()
        else:
            sample.answer(seconds, metric)

    def cancelled(self, side: Side) -> None:
        """A run tells nothing of its version: its caller gave it up, or asked for what no version can do."""
        self._under_way[side] -= 1

    # --- decisions ---

    def look(self) -> Verdict:
        """Judge the new version by what is known now, and go on to the next step, or end, where that follows."""
        if self.over:
            return self._verdict
        alone = self._last and not self._suspicion
        now = self._clock.monotonic()
        finding = compare(self._plan, self._samples["old"], self._samples["new"], now, alone=alone)
        if self._suspicion:
            return self._compared(finding, now)
        lasted = now - self._since >= self._plan.seconds_per_step
        if alone and (finding.standing == "bad" or (finding.standing == "doubtful" and lasted)):
            return self._suspect(finding.reason)
        if finding.standing == "bad":
            return self.roll_back(finding.reason)
        if finding.standing != "good" or not lasted:
            return self._stay(finding.reason)
        return self.promote("it passed every step") if self._last else self._advance()

    def promote(self, reason: str) -> Verdict:
        """End it: from now on the new version gets every run."""
        if not self.over:
            self._verdict = Verdict("promoted", 1.0, reason)
            self._suspicion = ""
        return self._verdict

    def roll_back(self, reason: str) -> Verdict:
        """End it: from now on the old version gets every run."""
        if not self.over:
            self._verdict = Verdict("rolled_back", 0.0, reason)
            self._suspicion, self._credit = "", 0.0
        return self._verdict

    def snapshot(self) -> RolloutSnapshot:
        """The state of both versions."""
        now = self._clock.monotonic()
        verdict = self._verdict
        return RolloutSnapshot(
            *(verdict.state, verdict.weight, self._step + 1, len(self._plan.steps), now - self._since),
            *(verdict.reason, self._described("old", now), self._described("new", now)),
        )

    # --- inside ---

    @property
    def _share(self) -> float:
        """The new version's share of the runs without a sticky key."""
        return EVEN if self._suspicion else self.weight

    @property
    def _last(self) -> bool:
        return self._step == len(self._plan.steps) - 1

    def _advance(self) -> Verdict:
        self._step += 1
        self._verdict = Verdict("advance", self._plan.steps[self._step])
        self._measure_anew()
        return self._verdict

    def _suspect(self, reason: str) -> Verdict:
        self._suspicion = reason
        self._measure_anew()
        return self._stay(f"{reason}. Runs go to both versions by turns, to see whether it is the new one's doing")

    def _compared(self, finding: Finding, now: float) -> Verdict:
        """Go by what was found where both versions got runs at the last step."""
        if finding.standing == "bad":
            return self.roll_back(finding.reason)
        if finding.standing == "good":
            self._suspicion = ""
            self._measure_anew()
            return self._stay("the old version did no better; the step begins again")
        starved = self._samples["old"].ended < self._plan.min_runs
        if starved and now - self._since >= self._plan.seconds_per_step:
            return self.roll_back(f"{self._suspicion}. The old version got too few runs to compare it with")
        return self._stay(f"{self._suspicion}. Compared with the old version: {finding.reason}")

    def _stay(self, reason: str) -> Verdict:
        self._verdict = Verdict("stay", self.weight, reason)
        return self._verdict

    def _measure_anew(self) -> None:
        self._since = now = self._clock.monotonic()
        latest = self._samples.get("old")
        self._samples = {
            "old": Sample(now, 1 - self._share, self._under_way["old"], self._rng),
            "new": Sample(now, self._share, self._under_way["new"], self._rng),
        }
        if latest is not None and self._share == 1:  # the old version gets no more: these are its latest figures
            latest.closed_at = now
            self._samples["old"] = latest

    def _place(self, sticky: str) -> float:
        """Where a key stands between 0 and 1, the same in every process."""
        digest = blake2b(self._salt + sticky.encode(errors="surrogatepass"), digest_size=6).digest()
        return int.from_bytes(digest) / 2**48

    def _described(self, side: Side, now: float) -> SideSnapshot:
        sample = self._samples[side]
        given = sample.elapsed(now) * sample.share
        return SideSnapshot(
            sample.begun,
            sample.ended,
            self._under_way[side],
            sample.error_rate,
            sample.quantile(0.5),
            sample.quantile(0.95),
            sample.ended / given if given else None,
            sample.mean_metric if sample.metrics else None,
        )
