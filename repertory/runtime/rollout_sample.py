"""One version's runs during one step of a rollout, in bounded memory.

The reservoir is Vitter's Algorithm R ("Random Sampling with a Reservoir", ACM TOMS 1985); mean and variance are
Welford's (Technometrics 1962).
"""

from bisect import insort
from random import Random
from typing import NamedTuple

RESERVOIR = 512  # latencies kept: the bounds of a median are then some 7 percentiles away from it


class Bounds(NamedTuple):
    """Between which a figure lies with near certainty."""

    low: float
    high: float


class Sample:
    """What is known of the runs of one version since a step began.

    Invariants: ``ended == answered + errors <= carried + begun``; ``seconds`` is sorted and holds at most
    `RESERVOIR` latencies, each of the answered runs as likely as any other.

    Attributes:
        share: The version's share of the traffic in it.
        carried: Runs that were under way when the step began.
        begun: Runs begun since.
        ended: Runs that were answered or failed since; neither cancelled ones nor those the caller got wrong.
        errors: Those that failed.
        answered: Those that did not.
        seconds: Latencies of these.
        closed_at: When the version got its last run of the step; None: it gets some still.
    """

    __slots__ = (
        "_rng",
        "_squares",
        "answered",
        "begun",
        "carried",
        "closed_at",
        "ended",
        "errors",
        "mean_metric",
        "metrics",
        "seconds",
        "share",
        "since",
    )

    def __init__(self, since: float, share: float, carried: int, rng: Random) -> None:
        self.since = since
        self.share = share
        self.carried = carried
        self.begun = self.ended = self.errors = self.answered = 0
        self.seconds: list[float] = []
        self.metrics = 0
        self.mean_metric = 0.0
        self.closed_at: float | None = None
        self._squares = 0.0  # sum of squared distances of the metric from its mean
        self._rng = rng

    def answer(self, seconds: float, metric: float | None) -> None:
        """Take in a run that was answered."""
        self.ended += 1
        self.answered += 1
        kept = self.seconds
        if len(kept) < RESERVOIR:
            insort(kept, seconds)
        elif (place := int(self._rng.random() * self.answered)) < RESERVOIR:
            del kept[place]  # as good as any: where it stands does not depend on when it came
            insort(kept, seconds)
        if metric is not None:
            self.metrics += 1
            distance = metric - self.mean_metric
            self.mean_metric += distance / self.metrics
            self._squares += distance * (metric - self.mean_metric)

    def fail(self) -> None:
        """Take in a run that failed. How long it took says nothing: a version that refuses all is not fast."""
        self.ended += 1
        self.errors += 1

    @property
    def error_rate(self) -> float:
        """The share of ended runs that failed; 0 before the first."""
        return self.errors / self.ended if self.ended else 0.0

    def quantile(self, share: float) -> float | None:
        """The latency that this share of the answered runs did not exceed; None before the first."""
        kept = self.seconds
        return kept[min(int(share * len(kept)), len(kept) - 1)] if kept else None

    def elapsed(self, now: float) -> float:
        """Seconds for which the version has had runs in this step."""
        return (now if self.closed_at is None else self.closed_at) - self.since

    def due(self, now: float, lag: float) -> float:
        """How many runs ought to have ended by now if each took ``lag`` seconds and they came evenly."""
        elapsed = self.elapsed(now)
        return self.carried + self.begun * (1 - lag / elapsed) if elapsed > lag else 0.0

    def error_bounds(self, z: float) -> Bounds:
        """Bounds of the true error rate, ``z`` standard deviations away."""
        return wilson(self.errors, self.ended, z)

    def median_bounds(self, z: float) -> Bounds:
        """Bounds of the true median: order statistics, which need no shape of the distribution (a sign test)."""
        count = len(self.seconds)
        rank = int((count - z * count**0.5) / 2)  # of the lower one, from 1
        return (
            Bounds(self.seconds[rank - 1], self.seconds[count - rank]) if rank >= 1 else Bounds(0.0, float("inf"))
        )

    def metric_bounds(self, z: float) -> Bounds:
        """Bounds of the true mean of the metric."""
        if self.metrics < 2:
            return Bounds(float("-inf"), float("inf"))
        off = z * (self._squares / (self.metrics - 1) / self.metrics) ** 0.5
        return Bounds(self.mean_metric - off, self.mean_metric + off)


def wilson(count: int, of: int, z: float) -> Bounds:
    """The score interval of a proportion (Wilson, JASA 1927), which holds for few runs and rates near 0 too."""
    if not of:
        return Bounds(0.0, 1.0)
    share, square = count / of, z * z
    middle = (share + square / (2 * of)) / (1 + square / of)
    off = z * (share * (1 - share) / of + square / (4 * of * of)) ** 0.5 / (1 + square / of)
    return Bounds(max(0.0, middle - off), min(1.0, middle + off))
