"""A rollout plan: what it takes for one, in code and in the configuration."""

from typing import Any

import pytest

from repertory.errors import ConfigError
from repertory.runtime.config import make_config
from repertory.runtime.rollout_plan import RolloutConfig, RolloutPlan

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("steps", (), "grow and end with 1"),
        ("steps", (0.5,), "grow and end with 1"),
        ("steps", (0.0, 1.0), "grow and end with 1"),
        ("steps", (0.5, 0.5, 1.0), "grow and end with 1"),
        ("steps", (0.5, 0.25, 1.0), "grow and end with 1"),
        ("steps", (0.5, 1.5), "grow and end with 1"),
        ("steps", (NAN, 1.0), "grow and end with 1"),
        ("steps", [0.5, 1.0], "grow and end with 1"),
        ("seconds_per_step", 0, "seconds above 0"),
        ("seconds_per_step", INF, "seconds above 0"),
        ("min_runs", 0, "at least 1"),
        ("min_runs", 1.5, "a whole number"),
        ("min_runs", True, "a whole number"),
        ("max_error_rate", 1, "0.05 is 5 %"),
        ("max_error_rate", -0.1, "0.05 is 5 %"),
        ("max_latency_ratio", 0.9, "at least 1"),
        ("max_latency_ratio", "2", "at least 1"),
        ("min_throughput_ratio", 0, "above 0, at most 1"),
        ("min_throughput_ratio", 1.1, "above 0, at most 1"),
        ("min_metric_ratio", 0, "above 0, or None"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_with_its_remedy(field: str, value: Any, remedy: str) -> None:
    with pytest.raises(ConfigError) as refused:
        RolloutPlan(**{field: value})
    assert f"RolloutPlan: {field} = {value!r}" in refused.value.message
    assert remedy in (refused.value.hint or "")


def test_the_configuration_states_the_same_plan_as_the_code() -> None:
    assert RolloutConfig().plan() == RolloutPlan()
    table = {"steps": [0.5, 1.0], "seconds_per_step": 5, "min_metric_ratio": 0.9}
    config = make_config("test", {"programs": {"news": {"source": "n.py:n", "rollout": table}}})
    plan = RolloutPlan(steps=(0.5, 1.0), seconds_per_step=5.0, min_metric_ratio=0.9)
    assert config.programs["news"].rollout.plan() == plan


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", [0.5]), ("min_runs", 0), ("seconds_per_step", INF), ("max_error_rate", 1.0), ("stages", 3)],
)
def test_a_table_that_is_no_plan_is_refused_by_its_name(field: str, value: Any) -> None:
    table = {"source": "n.py:n", "rollout": {field: value}}
    with pytest.raises(ConfigError, match=rf"test: programs\.news\.rollout\.{field}"):
        make_config("test", {"programs": {"news": table}})
