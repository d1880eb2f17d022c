"""The figures of `benchmarks.actors`: what each must reach, what it aims at, and how rounds are summed up."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from benchmarks.actors_timing import Sample


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure and its bounds.

    Args:
        what: One line for the table.
        higher_is_better: Which side of a bound is the good one.
    """

    key: str
    what: str
    must: float
    aims: float
    higher_is_better: bool

    def reaches(self, value: float, bound: float) -> bool:
        """Whether ``value`` is at ``bound`` or on its good side."""
        return value >= bound if self.higher_is_better else value <= bound


def _ratio(key: str, what: str, must: float, aims: float) -> Figure:
    return Figure(key, what, must, aims, higher_is_better=True)


def _cost(key: str, what: str, must: float, aims: float) -> Figure:
    return Figure(key, what, must, aims, higher_is_better=False)


FIGURES = {
    figure.key: figure
    for figure in (
        _ratio("tell_ratio", "tell / asyncio.Queue.put_nowait + consumer", 0.70, 1.10),
        _ratio("ask_ratio", "ask, no deadline / Queue + Future", 0.75, 0.95),
        _ratio("ask_deadline_ratio", "ask, default deadline / Queue + Future", 0.60, 0.80),
        _ratio("ask64_ratio", "64 concurrent askers / the same", 0.60, 0.90),
        _ratio("pykka_ratio", "ask / pykka's", 3, 5),
        _ratio("xoscar_ratio", "ask / xoscar's", 3, 5),
        _cost("idle_bytes", "RSS of an actor at rest", 2_500, 1_200),
        _cost("passivated_bytes", "RSS of a passivated actor", 600, 300),
        _cost("spawn_us", "supervised spawn, CPU us", 25, 10),
        _cost("restart_p50_us", "crash to first reply, us", 150, 60),
        _cost("restart_p99_us", "the same, 99th percentile", 1_000, 300),
        _cost("one_for_all_100_ms", "100 siblings restarted, ms", 10, 3),
        _ratio("durable_tells_per_s", "tells committed to disk a second", 5_000, 20_000),
    )
}


def summarise(figure: Figure, samples: Sequence[Sample]) -> dict[str, Any]:
    """The median of a figure over ``samples``, its spread, its bounds, and the medians of its details."""
    values = sorted(sample[figure.key] for sample in samples)
    value = median(values)
    q1, _, q3 = quantiles(values, method="inclusive") if len(values) > 1 else (value, value, value)
    prefix = f"{figure.key}."
    details = [name for name in samples[0] if name.startswith(prefix)]
    return {
        "value": rounded(value),
        "min": rounded(values[0]),
        "q1": rounded(q1),
        "q3": rounded(q3),
        "max": rounded(values[-1]),
        "rounds": len(values),
        "must": figure.must,
        "aims": figure.aims,
        "ok": figure.reaches(value, figure.must),
        "aim_reached": figure.reaches(value, figure.aims),
        "details": {
            name.removeprefix(prefix): rounded(median(sample[name] for sample in samples)) for name in details
        },
    }


def rounded(value: float) -> float:
    """Three digits behind the point of a small number, none behind a large one's."""
    return round(value, 3) if abs(value) < 100 else round(value)
