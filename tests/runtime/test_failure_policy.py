import pytest
from hypothesis import given
from hypothesis.strategies import integers

from repertory.errors import ConfigError, RepertoryError, StepCancelled, StepSkipped
from repertory.runtime.failure_policy import (
    FailurePolicy,
    Fallback,
    Strict,
    Threshold,
    Tolerant,
    parse_failure_policy,
)


@pytest.mark.parametrize("policy", [Strict(), Tolerant(), Threshold(0), Threshold(12), Fallback()], ids=str)
def test_a_policy_is_read_from_its_own_text(policy: FailurePolicy) -> None:
    assert parse_failure_policy(str(policy)) == policy


@pytest.mark.parametrize(
    "text", ["", "Strict", "threshold", "threshold()", "threshold(-1)", "threshold(½)", "threshold(1e3)", "3"]
)
def test_another_text_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_failure_policy(text, "programs.report.failure_policy")
    assert f"programs.report.failure_policy = {text!r}" in refused.value.message
    for form in ("strict", "tolerant", "fallback", "threshold(3)"):
        assert f'"{form}"' in str(refused.value)


def test_a_threshold_is_not_negative() -> None:
    with pytest.raises(ConfigError, match=r"failures = -1.*\n.*threshold\(3\)"):
        Threshold(-1)


@given(limit=integers(0, 100), failed=integers(1, 200))
def test_a_threshold_bears_as_many_failed_steps_as_it_says(limit: int, failed: int) -> None:
    assert Threshold(limit).tolerates(failed) == (failed <= limit)


def test_policies_are_values() -> None:
    assert {Strict(), Strict(), Threshold(1), Threshold(1), Threshold(2)} == {Strict(), Threshold(1), Threshold(2)}


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (
            StepCancelled(4, 2, name="risks", failed_name="facts"),
            "step_cancelled",
            "step 4 (risks) was cancelled because step 2 (facts) of the same run failed",
        ),
        (
            StepSkipped(5, 2, name="write", failed_name="facts"),
            "step_skipped",
            "step 5 (write) was skipped: it depends on step 2 (facts), which did not finish",
        ),
        (StepSkipped(5, 2), "step_skipped", "step 5 was skipped: it depends on step 2, which did not finish"),
    ],
)
def test_the_errors_of_what_falls_with_a_step_name_both(error: RepertoryError, code: str, told: str) -> None:
    assert (error.code, error.message, error.retryable) == (code, told, False)
    assert error.hint is not None
    assert "step 2" in error.hint
