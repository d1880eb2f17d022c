"""The rules of a rollout: what two versions' runs in the same step say about the new one.

Whatever a rule compares is noisy, so it has two thresholds. A figure that merely looks too bad holds a version up
until more runs are known; only one that certainly is too bad ends the rollout. For that each version's figure is
bounded `CERTAIN` standard deviations to either side: the new version is worse where even the bound in its favour
is worse than the bound in the old one's disfavour. What both versions suffer from is no such case.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from repertory.runtime.rollout_plan import RolloutPlan
from repertory.runtime.rollout_sample import Sample, wilson

Standing: TypeAlias = Literal["good", "doubtful", "unknown", "bad"]

# Each bound is wrong once in 740 times. A rollout looks some 300 times, but mostly at the same runs.
CERTAIN = 3.0
# For a doubt. Of two versions that fail alike one is ahead for long, whichever it is, but not by so much.
LIKELY = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found.

    Attributes:
        standing: Of the new version: ``good``, ``doubtful`` where it looks worse than allowed, ``unknown`` while
            too little is known, ``bad`` where it certainly is worse.
        reason: In words; "" where all is good.
    """

    standing: Standing
    reason: str


GOOD = Finding("good", "")


def compare(plan: RolloutPlan, old: Sample, new: Sample, now: float, *, alone: bool) -> Finding:
    """The gravest finding of all rules.

    Args:
        alone: Whether the new version has all the traffic: the old one's runs are then those of the step before,
            or none at all.
    """
    findings = list(_findings(plan, old, new, now, alone))
    for standing in ("bad", "unknown", "doubtful"):
        for finding in findings:
            if finding.standing == standing:
                return finding
    return GOOD


def _findings(plan: RolloutPlan, old: Sample, new: Sample, now: float, alone: bool) -> Iterator[Finding]:
    without_old = alone and old.ended < plan.min_runs
    if new.ended < plan.min_runs:
        yield _too_few("new", new, plan.min_runs, "have ended")
    elif old.ended < plan.min_runs and not without_old:
        yield _too_few("old", old, plan.min_runs, "have ended")
    else:
        yield _errors(plan, old, new)
    if without_old:
        return
    if min(old.answered, new.answered) >= plan.min_runs:
        yield _latency(plan, old, new)
    elif min(old.ended, new.ended) >= plan.min_runs:  # the rest has failed
        name, fewer = ("old", old) if old.answered < new.answered else ("new", new)
        yield _too_few(name, fewer, plan.min_runs, "were answered", fewer.answered)
    yield _throughput(plan, old, new, now)
    if plan.min_metric_ratio is not None:
        yield _metric(plan.min_runs, plan.min_metric_ratio, old, new)


def _errors(plan: RolloutPlan, old: Sample, new: Sample) -> Finding:
    rate, others = new.error_rate, old.error_rate
    if rate <= plan.max_error_rate or not _more_fail(old, new, LIKELY):
        return GOOD
    certain = new.error_bounds(CERTAIN).low > plan.max_error_rate and _more_fail(old, new, CERTAIN)
    return _worse(
        certain,
        f"{rate:.1%} of its {new.ended} runs failed, {others:.1%} of the old version's {old.ended};"
        f" allowed are {plan.max_error_rate:.1%}",
    )


def _more_fail(old: Sample, new: Sample, z: float) -> bool:
    """Whether more of the new version's runs fail; with no run of the old one to compare with, any are more."""
    return not old.ended or new.error_bounds(z).low > old.error_bounds(z).high


def _latency(plan: RolloutPlan, old: Sample, new: Sample) -> Finding:
    mine, others = new.quantile(0.5), old.quantile(0.5)
    assert mine is not None
    assert others is not None
    most = plan.max_latency_ratio
    if mine <= most * others:
        return GOOD
    certain = new.median_bounds(CERTAIN).low > most * old.median_bounds(CERTAIN).high
    return _worse(
        certain, f"its median run takes {mine:.3g} s, the old version's {others:.3g} s; allowed is {most:g}x"
    )


def _throughput(plan: RolloutPlan, old: Sample, new: Sample, now: float) -> Finding:
    """Runs brought to an end, each version's as a part of those that ought to have been.

    It tells of what neither errors nor latencies show, since these are known of ended runs only: a version whose
    runs hang, or are given up by their callers. That runs may take longer is the latency's rule, and taken out.
    """
    usual = old.quantile(0.5)
    if usual is None or old.answered < plan.min_runs:
        return GOOD
    due_of_new, due_of_old = new.due(now, usual * plan.max_latency_ratio), old.due(now, usual)
    if min(due_of_new, due_of_old) < plan.min_runs:
        return GOOD
    least = plan.min_throughput_ratio
    mine, others = new.ended / due_of_new, old.ended / due_of_old
    if mine >= least * others:
        return GOOD
    # Of two rates the share of the one among all is binomial (Przyborowski and Wilenski, Biometrika 1940).
    allowed = least * due_of_new / (least * due_of_new + due_of_old)
    certain = wilson(new.ended, new.ended + old.ended, CERTAIN).high < allowed
    return _worse(
        certain,
        f"it ended {mine:.0%} of the runs it should have, the old version {others:.0%}; allowed is {least:g}x",
    )


def _metric(min_runs: int, least: float, old: Sample, new: Sample) -> Finding:
    for name, sample in (("new", new), ("old", old)):
        if sample.metrics < min_runs:
            return _too_few(name, sample, min_runs, "have a metric", sample.metrics)
    mine, others = new.mean_metric, old.mean_metric
    if others <= 0:
        return Finding("unknown", f"the old version's mean metric is {others:.3g}: a ratio needs one above 0")
    if mine >= least * others:
        return GOOD
    certain = new.metric_bounds(CERTAIN).high < least * old.metric_bounds(CERTAIN).low
    return _worse(certain, f"its mean metric is {mine:.3g}, the old version's {others:.3g}; allowed is {least:g}x")


def _too_few(name: str, sample: Sample, wanted: int, what: str, count: int | None = None) -> Finding:
    count = sample.ended if count is None else count
    return Finding("unknown", f"{count} runs of the {name} version {what} in this step; it takes {wanted}")


def _worse(certain: bool, reason: str) -> Finding:
    return Finding("bad" if certain else "doubtful", reason)
