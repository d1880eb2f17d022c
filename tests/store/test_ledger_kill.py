"""Budgets stay a wall while those who pay are killed: the short form of ``benchmarks.budget``."""

from benchmarks.budget import Load, measure


def test_no_account_is_billed_beyond_its_limit_though_processes_are_killed() -> None:
    figures = measure(Load(calls=2000, kills=4, processes=2, tasks=64, lease=3.0))
    assert figures["budget_overshoot_cents"] == 0
    assert figures["reservations_left"] == 0
    assert figures["books_agree"]
    assert figures["kills"] == 4
    assert figures["calls"] == 2000
    assert figures["refusals"] > 100
    # Every call was refused, answered or failed, but for those that a kill or a cancellation cut off before that.
    accounted = figures["refusals"] + figures["answers_billed"] + figures["error_statuses"]
    assert 2000 - 4 * 64 - 100 < accounted <= 2000
