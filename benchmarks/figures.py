"""Figures: what each must reach, what it aims at, how rounds are taken and summed up."""

import asyncio
import os
import platform
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median, quantiles
from typing import Any

from benchmarks.timing import Sample


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


@dataclass(frozen=True, slots=True)
class Group:
    """Figures that come out of one measurement.

    Args:
        sample: One round of it; its argument divides the number of repetitions.
        missing: Why it cannot be taken here; None if it can.
        at_most: Rounds after which no more are taken.
    """

    keys: tuple[str, ...]
    sample: Callable[[int], Awaitable[Sample]]
    missing: Callable[[], str | None] = lambda: None
    at_most: int | None = None


def ratio(key: str, what: str, must: float, aims: float) -> Figure:
    """A figure that should be high."""
    return Figure(key, what, must, aims, higher_is_better=True)


def cost(key: str, what: str, must: float, aims: float) -> Figure:
    """A figure that should be low."""
    return Figure(key, what, must, aims, higher_is_better=False)


def take(
    figures: Mapping[str, Figure], groups: Sequence[Group], only: Sequence[str], rounds: int, scale: int
) -> dict[str, dict[str, Any]]:
    """The summaries of the figures named in ``only``, by key; the groups take turns, round by round."""
    wanted = [group for group in groups if set(group.keys) & set(only)]
    samples: dict[Group, list[Sample]] = {}
    for number in range(rounds):
        for group in wanted:
            if number < (group.at_most or rounds) and not group.missing():
                samples.setdefault(group, []).append(asyncio.run(_sample(group, scale)))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return {
        key: summarise(figures[key], samples[group]) if group in samples else {"skipped": group.missing()}
        for group in wanted
        for key in group.keys
        if key in only
    }


async def _sample(group: Group, scale: int) -> Sample:
    return await group.sample(scale)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    versions = {name: version(name) for name in ("repertory", "aiohttp", "orjson")}
    return {
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "loop": "asyncio",
        "versions": {"python": platform.python_version(), **versions},
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


def rows(title: str, figures: dict[str, dict[str, Any]], known: dict[str, Figure]) -> Iterator[str]:
    """Summaries by key as a table for people, line by line."""
    yield f"{title:24}{'median':>10}{'min':>10}{'q1':>10}{'q3':>10}{'max':>10}{'must':>8}{'aims':>8}"
    for key, figure in figures.items():
        if "skipped" in figure:
            yield f"{key:24}   {figure['skipped']}"
            continue
        numbers = "".join(f"{figure[name]:>10g}" for name in ("value", "min", "q1", "q3", "max"))
        verdict = "" if figure["ok"] else "  MISSED"
        yield f"{key:24}{numbers}{figure['must']:>8g}{figure['aims']:>8g}{verdict}  {known[key].what}"
        for name, value in figure["details"].items():
            yield f"    {name:36}{value:>10g}"


def missed(figures: dict[str, dict[str, Any]]) -> Iterable[str]:
    """The keys of those that do not reach what they must."""
    return [key for key, figure in figures.items() if not figure.get("ok", True)]
