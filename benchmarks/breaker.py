"""CPU nanoseconds that a circuit breaker and a retry budget take of each call.

    python -m benchmarks.breaker --json

Method: in each round every piece of work runs the same number of times in a loop of its own, and the same loop
around nothing is taken off its process time. The figures are medians over the rounds, with the lowest and the
highest beside them; breakers have the machine's clock and look for slow calls too.

``empty_call_ns``: a method that does nothing, what calling costs at all. ``admit_record_ns``: ``admit`` and
``record`` of a call that succeeded, the breaker closed; the exit status is 1 if this is not under 1,000.
``ratio``: this over the empty call. ``mixed_ns``: the same where every tenth call failed and every tenth was
slow. ``refused_ns``: ``admit`` of a breaker that is open, ``CircuitOpen`` caught. ``note_call_ns``: what a retry
budget takes of a call that needs no retry.
"""

import argparse
import gc
import json
import os
import platform
import sys
from collections.abc import Callable
from itertools import repeat
from random import Random
from statistics import median
from time import process_time

from repertory.clock import SystemClock
from repertory.errors import CircuitOpen, LMServerError
from repertory.providers.breaker import BreakerSettings, CircuitBreaker
from repertory.providers.retry_budget import RetryBudget

MUST = 1000.0  # nanoseconds that ``admit_record_ns`` must stay under

Loop = Callable[[int], None]


class Empty:
    """The least a method can do."""

    __slots__ = ()

    def nothing(self) -> None:
        """Return."""


def breaker() -> CircuitBreaker:
    """A closed breaker as an endpoint has it, which also looks for slow calls."""
    return CircuitBreaker(BreakerSettings(slow_seconds=10.0), SystemClock(), Random(1), "benchmark")


def bare(times: int) -> None:
    """The loop itself."""
    for _ in repeat(None, times):
        pass


def empty_call(times: int) -> None:
    """A method that does nothing."""
    empty = Empty()
    for _ in repeat(None, times):
        empty.nothing()


def admit_record(times: int) -> None:
    """Calls that succeed."""
    subject = breaker()
    for _ in repeat(None, times):
        subject.record(subject.admit(), None, 0.5)


def mixed(times: int) -> None:
    """Calls of which every tenth fails and every tenth is slow."""
    subject = breaker()
    failure = LMServerError("500")
    for _ in repeat(None, times // 10):
        subject.record(subject.admit(), failure, 0.5)
        subject.record(subject.admit(), None, 20.0)
        for _ in repeat(None, 8):
            subject.record(subject.admit(), None, 0.5)
    assert subject.state == "closed"


def refused(times: int) -> None:
    """Calls that an open breaker refuses."""
    subject = CircuitBreaker(BreakerSettings(minimum_volume=1, open_seconds=1e6), SystemClock(), Random(1))
    subject.record(subject.admit(), LMServerError("500"))
    for _ in repeat(None, times):
        try:
            subject.admit()
        except CircuitOpen:
            continue


def note_call(times: int) -> None:
    """Calls that a retry budget counts."""
    budget = RetryBudget(SystemClock())
    for _ in repeat(None, times):
        budget.note_call()


LOOPS: dict[str, Loop] = {
    "empty_call_ns": empty_call,
    "admit_record_ns": admit_record,
    "mixed_ns": mixed,
    "refused_ns": refused,
    "note_call_ns": note_call,
}


def nanoseconds(loop: Loop, times: int) -> float:
    """CPU nanoseconds of one turn of ``loop``."""
    gc.collect()  # nobody pays for the garbage of whoever came before
    begun = process_time()
    loop(times)
    return (process_time() - begun) / times * 1e9


def measure(times: int, rounds: int) -> dict[str, list[float]]:
    """All figures of all rounds."""
    figures: dict[str, list[float]] = {name: [] for name in (*LOOPS, "ratio")}
    for loop in LOOPS.values():
        loop(times // 10)  # warms the interpreter's caches
    for _ in range(rounds):
        overhead = nanoseconds(bare, times)
        for name, loop in LOOPS.items():
            figures[name].append(nanoseconds(loop, times) - overhead)
        figures["ratio"].append(figures["admit_record_ns"][-1] / figures["empty_call_ns"][-1])
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--calls", type=int, default=200_000, help="calls per measurement")
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    figures = measure(arguments.calls, arguments.rounds)
    medians = {name: round(median(values), 1) for name, values in figures.items()}
    if arguments.json:
        result = {
            **medians,
            "spread": {name: [round(min(each), 1), round(max(each), 1)] for name, each in figures.items()},
            "method": {"calls": arguments.calls, "rounds": arguments.rounds, "statistic": "median"},
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        }
        print(json.dumps(result, indent=2))
    else:
        for name, value in medians.items():
            print(f"{name:20} {value:>8.1f}   ({min(figures[name]):.1f} to {max(figures[name]):.1f})")
    sys.exit(medians["admit_record_ns"] >= MUST)


if __name__ == "__main__":
    main()
