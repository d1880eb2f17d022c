"""The versions of a program: who gets a run, who holds a key, and when one that is out of use is stopped."""

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

import pytest

from repertory.errors import InputError, LMTimeout, ProgramError, RuntimeClosed, StoreError
from repertory.events import (
    Event,
    Hooks,
    RolloutAdvanced,
    RolloutMetricFailed,
    RolloutPromoted,
    RolloutRolledBack,
)
from repertory.modules import Prediction
from repertory.runtime.releases import Release, Releases
from repertory.runtime.rollout_plan import RolloutPlan
from repertory.testing import FakeClock

PLAN = RolloutPlan(steps=(0.5, 1.0), seconds_per_step=60, min_runs=20)


@dataclass(eq=False)
class Simple:
    """A version that notes that it was stopped."""

    version: str
    fingerprint: str = ""
    stopped: int = 0
    failures: list[StoreError] = field(default_factory=list)  # of its next stops

    async def stop(self) -> None:
        if self.failures:
            raise self.failures.pop()
        self.stopped += 1


Versions: TypeAlias = Releases[Simple]


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.old = Simple("news", "a")
        self.new = Simple("news@2", "b")
        hooks = Hooks([self.events.append])
        self.releases: Versions = Releases("news", self.old, clock=self.clock, hooks=hooks, rng=Random(1))

    def release(self, plan: RolloutPlan = PLAN) -> Release:
        return self.releases.begin(self.new, plan)

    def runs(self, version: Simple, count: int, error: Exception | None = None) -> None:
        for _ in range(count):
            try:
                with self.releases.on(version):
                    if error is not None:
                        raise error
            except Exception as raised:
                if raised is not error:
                    raise


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_without_a_release_the_current_version_gets_everything(scene: Scene) -> None:
    assert {scene.releases.pick(key) for key in ("", "", "a", "b")} == {scene.old}
    assert scene.releases.settled


async def test_a_rollout_is_told_from_its_first_step_to_its_end(scene: Scene) -> None:
    release = scene.release()
    assert {scene.releases.pick() for _ in range(2)} == {scene.old, scene.new}
    for versions in ((scene.old, scene.new), (scene.new,)):
        for version in versions:
            scene.runs(version, 20)
        scene.clock.advance(60)
        scene.releases.look()
    assert (await release.outcome()).state == "promoted"
    assert scene.releases.current is scene.new
    assert scene.releases.pick() is scene.new
    assert scene.events == [
        RolloutAdvanced("news", "news@2", 0.0, 0.5),
        RolloutAdvanced("news", "news@2", 0.5, 1.0),
        RolloutPromoted("news", "news@2", "news"),
    ]


async def test_certain_failures_roll_back_without_waiting_for_a_look(scene: Scene) -> None:
    release = scene.release()
    scene.runs(scene.old, 100)
    scene.runs(scene.new, 20, LMTimeout("too slow"))
    verdict = await release.outcome()
    assert verdict.state == "rolled_back"
    assert scene.releases.pick() is scene.old
    assert scene.events[-1] == RolloutRolledBack("news", "news@2", verdict.reason)


async def test_the_version_that_lost_is_stopped_when_its_last_run_has_ended(scene: Scene) -> None:
    with scene.releases.on(scene.old):
        release = scene.release()
        with scene.releases.on(scene.old):
            await release.promote()
            await scene.releases.stop_idle()
            assert scene.releases.under_way() == {"news": 2, "news@2": 0}
        await scene.releases.stop_idle()
        assert (scene.old.stopped, scene.releases.settled) == (0, False)
    await scene.releases.stop_idle()
    await release.settled()
    assert (scene.old.stopped, scene.new.stopped) == (1, 0)
    assert scene.releases.under_way() == {"news@2": 0}
    assert not scene.releases.lives(scene.old)


async def test_neither_version_is_stopped_while_it_is_undecided(scene: Scene) -> None:
    scene.release()
    await scene.releases.stop_idle()
    assert (scene.old.stopped, scene.new.stopped) == (0, 0)


async def test_a_version_that_cannot_be_stopped_gets_no_runs_and_is_stopped_later(scene: Scene) -> None:
    scene.old.failures = [StoreError("busy")]
    release = scene.release()
    await release.promote()
    await scene.releases.stop_idle()
    assert not scene.releases.lives(scene.old)
    assert (scene.releases.others(), scene.releases.settled) == ((scene.old,), False)
    await scene.releases.stop_idle()
    assert (scene.old.stopped, scene.releases.settled) == (1, True)


async def test_a_key_finds_the_version_that_accepted_it_while_that_lives(scene: Scene) -> None:
    release = scene.release()
    assert scene.releases.holder("a") is scene.old
    assert scene.releases.holder("b") is scene.new
    with scene.releases.on(scene.old):
        await release.promote()
        await scene.releases.stop_idle()
        assert scene.releases.holder("a") is scene.old
    await scene.releases.stop_idle()
    assert scene.releases.holder("a") is None


async def test_runs_that_tell_nothing_of_a_version_do_not_count(scene: Scene) -> None:
    release = scene.release()
    scene.runs(scene.new, 50, InputError("text", "is missing"))
    scene.runs(scene.new, 50, RuntimeClosed("closing"))
    with pytest.raises(asyncio.CancelledError), scene.releases.on(scene.new):
        raise asyncio.CancelledError
    shown = release.snapshot().new
    assert (shown.begun, shown.ended, shown.under_way) == (101, 0, 0)


async def test_runs_from_before_the_release_are_not_measured(scene: Scene) -> None:
    with scene.releases.on(scene.old):
        release = scene.release()
    assert release.snapshot().old.ended == 0


async def test_a_third_version_that_only_finishes_is_compared_with_nobody(scene: Scene) -> None:
    with scene.releases.on(scene.old):
        await scene.release().promote()
        third = scene.releases.begin(Simple("news@3"), PLAN)
        scene.runs(scene.old, 5)
        assert third.snapshot().old.begun == 0
    scene.runs(scene.new, 5)
    assert third.snapshot().old.begun == 5


async def test_by_hand_the_first_word_counts(scene: Scene) -> None:
    release = scene.release()
    assert (await release.roll_back("it is late")).reason == "it is late"
    assert (await release.roll_back("again")).reason == "it is late"
    with pytest.raises(ProgramError, match="news@2 was rolled back: it is late"):
        await release.promote()
    assert len(scene.events) == 2


async def test_one_version_is_released_at_a_time(scene: Scene) -> None:
    with scene.releases.claim() as version:
        assert version == "news@2"
        with pytest.raises(ProgramError, match="news: another version is being released"), scene.releases.claim():
            pass
        release = scene.release()
    with pytest.raises(ProgramError, match="Promote it or roll it back first"), scene.releases.claim():
        pass
    await release.promote()
    with scene.releases.claim() as version:
        assert version == "news@3"


async def test_who_waits_for_an_outcome_is_told_when_the_runtime_closes(scene: Scene) -> None:
    release = scene.release()
    waiting = asyncio.create_task(release.outcome())
    await asyncio.sleep(0)
    scene.releases.close()
    with pytest.raises(RuntimeClosed, match="closed during the release of news"):
        await waiting
    await release.settled()


async def test_giving_up_waiting_for_an_outcome_does_not_end_the_rollout(scene: Scene) -> None:
    release = scene.release()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await release.outcome()
    await release.promote()
    assert (await release.outcome()).state == "promoted"


async def test_a_metric_that_fails_is_told_once_and_touches_no_run(scene: Scene) -> None:
    def metric(inputs: object, prediction: Prediction) -> float:
        return float(len(prediction["answer"]))

    release = scene.releases.begin(scene.new, PLAN, metric)
    for answer in ("four", None, "fours", None, "nan"):
        with scene.releases.on(scene.new) as run:
            run.answered({}, Prediction({"answer": answer}))
    shown = release.snapshot().new
    assert (shown.ended, shown.metric) == (5, 4.0)
    (failed,) = [event for event in scene.events if isinstance(event, RolloutMetricFailed)]
    assert isinstance(failed.cause, TypeError)
