"""What a runtime is at: the runs under way of each of its programs, as data and as metrics."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from repertory.runtime.runtime import Runtime


@dataclass(frozen=True, slots=True)
class ProgramActivity:
    """The runs of a program that are not at their end."""

    program: str
    called: int  # under way, for a caller who waits
    submitted: int  # under way, whoever waits
    beginning: int  # submitted, or found interrupted, and about to begin


def activity_of(runtime: Runtime) -> list[ProgramActivity]:
    """The runs of each program that is started or has any, in the order of their names."""
    live = runtime.runs.live
    running = Counter((run.info.program, run.info.id in live) for run in runtime.under_way)
    begun = {run.info.id for run in runtime.under_way}
    beginning = Counter(run.info.program for id, run in live.items() if id not in begun)
    programs = {*runtime.deployments, *beginning, *(program for program, _ in running)}
    return [
        ProgramActivity(each, running[each, False], running[each, True], beginning[each])
        for each in sorted(programs)
    ]


class ActivityMetrics(Collector):
    """What a runtime is at, at the moment it is asked: labels are the names of programs that were started."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def describe(self) -> Iterator[Metric]:
        """None by name: asked for when it is registered, the runtime may not be open yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        runs = GaugeMetricFamily("repertory_runs_under_way", "Runs not at their end.", labels=["program", "state"])
        for each in activity_of(self._runtime):
            for state in ("called", "submitted", "beginning"):
                runs.add_metric([each.program, state], getattr(each, state))
        yield runs
        steps = GaugeMetricFamily(
            "repertory_steps",
            "Steps under way, waiting for their turn (ready), for other steps (blocked), or for those they began "
            "(composite).",
            labels=["state"],
        )
        snapshot = self._runtime.stage.snapshot()
        for state in ("under_way", "ready", "blocked", "composite"):
            steps.add_metric([state], getattr(snapshot, state))
        yield steps
