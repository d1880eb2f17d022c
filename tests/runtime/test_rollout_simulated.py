"""How often a rollout decides wrongly, by simulation.

Each scenario is played with the random numbers of many seeds, at 10 calls a second and with the default plan, by
which a faultless rollout takes 300 s. With 200 seeds each, none was decided wrongly but for what is noted; the
bounds leave room for other seeds than these.
"""

from collections import Counter
from statistics import median

import pytest

from repertory.runtime.rollout_plan import RolloutPlan
from tests.runtime.traffic import FINE, NONE, Behaviour, Ended, Outage, simulate

SEEDS = pytest.mark.parametrize("seeds", [30, pytest.param(200, marks=pytest.mark.slow)])


def played(
    seeds: int, new: Behaviour, old: Behaviour = FINE, *, outage: Outage = NONE, plan: RolloutPlan | None = None
) -> tuple[Counter[str], list[Ended]]:
    ended = [simulate(seed, new, old, outage=outage, plan=plan) for seed in range(seeds)]
    return Counter(each.verdict.state for each in ended), ended


@SEEDS
@pytest.mark.parametrize(
    ("new", "old", "most_wrong"),
    [
        pytest.param(FINE, FINE, 0.01, id="the same"),
        pytest.param(Behaviour(median=0.3, failing=0.0), Behaviour(failing=0.03), 0.01, id="better"),
        pytest.param(Behaviour(median=0.48), FINE, 0.01, id="a fifth slower, as is allowed"),
        pytest.param(Behaviour(median=26.0), Behaviour(median=20.0), 0.01, id="slower, its runs half a step long"),
        pytest.param(Behaviour(failing=0.04), Behaviour(failing=0.04), 0.03, id="as bad as allowed"),
        pytest.param(Behaviour(failing=0.08), Behaviour(failing=0.08), 0.05, id="as bad as the old"),
    ],
)
def test_a_version_that_is_no_worse_is_promoted(
    new: Behaviour, old: Behaviour, most_wrong: float, seeds: int
) -> None:
    states, ended = played(seeds, new, old)
    assert seeds - states["promoted"] <= most_wrong * seeds
    assert median(each.seconds for each in ended) < 2 * 300


@SEEDS
@pytest.mark.parametrize(
    ("new", "most_runs"),
    [
        pytest.param(Behaviour(median=0.8), 600, id="twice as slow"),
        pytest.param(Behaviour(failing=0.10), 500, id="a tenth fails"),
        pytest.param(Behaviour(failing=1.0), 30, id="all fail"),
        pytest.param(Behaviour(hangs=30.0), 300, id="hangs until its callers give up"),
    ],
)
def test_a_version_that_is_worse_is_rolled_back(new: Behaviour, most_runs: int, seeds: int) -> None:
    states, ended = played(seeds, new)
    assert seeds - states["rolled_back"] <= 0.01 * seeds
    assert median(each.runs_of_new for each in ended) <= most_runs


@SEEDS
@pytest.mark.parametrize("begin", [20, 130, 250])
@pytest.mark.parametrize(
    "outage",
    [
        pytest.param(Outage(0, 45, failing=0.6), id="most fail"),
        pytest.param(Outage(0, 45, failing=1.0), id="all fail"),
        pytest.param(Outage(0, 45, slower=4.0), id="slow"),
    ],
)
def test_what_both_versions_suffer_from_is_not_the_new_ones_fault(
    begin: float, outage: Outage, seeds: int
) -> None:
    """Also at the last step, from second 240 on, at which the old version has no runs to compare with."""
    outage = Outage(begin, begin + outage.end, outage.failing, outage.slower)
    states, _ = played(seeds, FINE, outage=outage)
    assert seeds - states["promoted"] <= 0.02 * seeds


@SEEDS
def test_what_only_the_last_step_shows_is_found_at_the_last_step(seeds: int) -> None:
    states, ended = played(seeds, Behaviour(failing=0.3), plan=RolloutPlan(steps=(1.0,)))
    assert seeds - states["rolled_back"] <= 0.01 * seeds
    assert median(each.seconds for each in ended) < 60
