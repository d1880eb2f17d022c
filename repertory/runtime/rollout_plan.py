"""A rollout plan: by which steps a new version of a program takes over, and what stops it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, field_validator

from repertory.errors import ConfigError
from repertory.runtime.lm_config import Table

STEPS = (0.05, 0.10, 0.25, 0.50, 1.0)
STEPS_WANTED = "shares of the traffic above 0 that grow and end with 1, such as [0.05, 0.25, 1.0]"


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """How a new version takes over from an old one.

    Args:
        steps: The new version's share of the traffic, step by step; the last is 1.
        seconds_per_step: Least seconds each step lasts.
        min_runs: Runs of each version that must have ended in a step before it is judged.
        max_error_rate: The share of the new version's runs that may fail, where no more of the old one's do.
        max_latency_ratio: The new version's median latency over the old one's, at most.
        min_throughput_ratio: Runs the new version brings to an end over those of the old one, each as a part of
            what it was given; at least.
        min_metric_ratio: The mean of the new version's metric, of which more is better, over that of the old one,
            at least; None: the metric is only shown.

    Raises ConfigError naming the field.
    """

    steps: tuple[float, ...] = STEPS
    seconds_per_step: float = 60.0
    min_runs: int = 20
    max_error_rate: float = 0.05
    max_latency_ratio: float = 1.5
    min_throughput_ratio: float = 0.8
    min_metric_ratio: float | None = None

    def __post_init__(self) -> None:
        self._check("steps", are_steps(self.steps), f"It must be {STEPS_WANTED}.")
        self._check("seconds_per_step", _above(self.seconds_per_step, 0), "It must be seconds above 0.")
        counts = type(self.min_runs) is int and self.min_runs >= 1
        self._check("min_runs", counts, "It must be a whole number, at least 1.")
        rate = _is_number(self.max_error_rate) and 0 <= self.max_error_rate < 1
        self._check("max_error_rate", rate, "It must be a share, at least 0 and below 1: 0.05 is 5 %.")
        slower = _is_number(self.max_latency_ratio) and self.max_latency_ratio >= 1
        self._check("max_latency_ratio", slower, "It must be at least 1: 1.5 lets runs take half as long again.")
        less = _above(self.min_throughput_ratio, 0) and self.min_throughput_ratio <= 1
        self._check("min_throughput_ratio", less, "It must be above 0, at most 1: 0.8 is a fifth less.")
        metric = self.min_metric_ratio is None or _above(self.min_metric_ratio, 0)
        self._check("min_metric_ratio", metric, "It must be above 0, or None: 0.98 is 2 % less.")

    def _check(self, field: str, valid: bool, remedy: str) -> None:
        if not valid:
            raise ConfigError(f"RolloutPlan: {field} = {getattr(self, field)!r}", hint=remedy)


class RolloutConfig(Table):
    """The table ``[programs.NAME.rollout]``: how new versions of the program take over; see `RolloutPlan`."""

    steps: tuple[float, ...] = STEPS
    seconds_per_step: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    min_runs: int = Field(default=20, ge=1)
    max_error_rate: float = Field(default=0.05, ge=0, lt=1)
    max_latency_ratio: float = Field(default=1.5, ge=1, allow_inf_nan=False)
    min_throughput_ratio: float = Field(default=0.8, gt=0, le=1)
    min_metric_ratio: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @field_validator("steps")
    @classmethod
    def _grow(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if not are_steps(steps):
            raise ValueError(f"expected {STEPS_WANTED}")
        return steps

    def plan(self) -> RolloutPlan:
        """The plan it states."""
        return RolloutPlan(**self.model_dump())


def are_steps(steps: Sequence[float]) -> bool:
    """Whether these are shares that grow from above 0 to 1."""
    if not isinstance(steps, tuple) or not all(_is_number(step) for step in steps):
        return False
    return steps[-1:] == (1.0,) and all(a < b for a, b in zip((0.0, *steps), steps, strict=False))


def _above(value: object, bound: float) -> bool:
    return _is_number(value) and value > bound  # type: ignore[operator]  # it is a number


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
