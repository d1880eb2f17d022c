"""CPU nanoseconds that the scheduler of steps takes of each run and of each step.

    python -m benchmarks.scheduler --json

Method: in each round every piece of work runs in a loop of its own, of whose process time the same loop around
nothing is taken off. The figures are medians over the rounds, with the lowest and the highest beside them.

``single_step_run_ns``: ``open``, ``add``, ``finish`` and ``close`` of a run of one step that need not wait; the
exit status is 1 if this is not under 3,000. ``nested_step_run_ns``: the same with a composite step around it.
``fan_out_step_ns``: a step of a run of ten, eight of which wait for the first and the last for them, with ``take``
after each that finishes. ``queued_step_ns``: a step that waits for its turn, ``add`` to ``finish``, while 100
places are taken and 1,000 runs of ten steps each have begun. ``queued_step_of_eleven_runs_ns``: the same beside
ten other runs instead of 999. ``failed_step_ns``: a step of a run of ten that goes down with the first, under the
strict policy, from ``open`` to ``close``.
"""

import argparse
import gc
import json
import os
import platform
import sys
from collections.abc import Callable
from itertools import repeat
from statistics import median
from time import process_time

from repertory.runtime.scheduler import Scheduler

MUST = 3000.0  # nanoseconds that ``single_step_run_ns`` must stay under
CAPACITY = 100
STEPS = 10  # of a run

Loop = Callable[[int], None]


def bare(times: int) -> None:
    """The loop itself."""
    for _ in repeat(None, times):
        pass


def single_step_run(times: int) -> None:
    """Runs of one step."""
    scheduler = Scheduler(CAPACITY)
    for _ in repeat(None, times):
        scheduler.open("run")
        scheduler.add("run", 0)
        scheduler.finish("run", 0)
        scheduler.close("run")


def nested_step_run(times: int) -> None:
    """Runs of one step within a composite one."""
    scheduler = Scheduler(CAPACITY)
    for _ in repeat(None, times):
        scheduler.open("run")
        scheduler.add("run", 0, composite=True)
        scheduler.add("run", 1, parent=0)
        scheduler.finish("run", 1)
        scheduler.finish("run", 0)
        scheduler.close("run")


def fan_out_step(times: int) -> None:
    """Steps of runs in which eight wait for one, and one for the eight."""
    scheduler = Scheduler(CAPACITY)
    middle = range(1, STEPS - 1)
    for _ in repeat(None, times // STEPS):
        scheduler.open("run")
        scheduler.add("run", 0)
        for step in middle:
            scheduler.add("run", step, (0,))
        scheduler.add("run", STEPS - 1, middle)
        for step in range(STEPS):
            scheduler.finish("run", step)
            scheduler.take()
        scheduler.close("run")


def queued_step(times: int, runs: int = 1000) -> None:
    """Steps that wait for their turn among those of other runs."""
    scheduler = Scheduler(CAPACITY)
    under_way: list[tuple[str, int]] = []
    for number in range(runs):
        scheduler.open(f"run {number}")
        under_way += [(f"run {number}", step) for step in range(STEPS) if scheduler.add(f"run {number}", step)]
    position = 0
    for step in range(STEPS, STEPS + times):
        run, finished = under_way[position]
        scheduler.finish(run, finished)
        scheduler.add(run, step)
        [under_way[position]] = scheduler.take()
        position = (position + 1) % len(under_way)


def queued_step_of_eleven_runs(times: int) -> None:
    """The same among few runs, which have as many steps under way."""
    queued_step(times, runs=11)  # those of ten take all places, those of the eleventh wait


def failed_step(times: int) -> None:
    """Steps of runs that fail with their first step."""
    scheduler = Scheduler(CAPACITY)
    for _ in repeat(None, times // STEPS):
        scheduler.open("run")
        for step in range(STEPS):
            scheduler.add("run", step)
        scheduler.fail("run", 0)
        scheduler.close("run")


LOOPS: dict[str, Loop] = {
    "single_step_run_ns": single_step_run,
    "nested_step_run_ns": nested_step_run,
    "fan_out_step_ns": fan_out_step,
    "queued_step_ns": queued_step,
    "queued_step_of_eleven_runs_ns": queued_step_of_eleven_runs,
    "failed_step_ns": failed_step,
}


def nanoseconds(loop: Loop, times: int) -> float:
    """CPU nanoseconds of one turn of ``loop``."""
    gc.collect()  # nobody pays for the garbage of whoever came before
    begun = process_time()
    loop(times)
    return (process_time() - begun) / times * 1e9


def measure(times: int, rounds: int) -> dict[str, list[float]]:
    """All figures of all rounds."""
    figures: dict[str, list[float]] = {name: [] for name in LOOPS}
    for loop in LOOPS.values():
        loop(times // 10)  # warms the interpreter's caches
    for _ in range(rounds):
        overhead = nanoseconds(bare, times)
        for name, loop in LOOPS.items():
            figures[name].append(nanoseconds(loop, times) - overhead)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--steps", type=int, default=100_000, help="steps or runs per measurement")
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    figures = measure(arguments.steps, arguments.rounds)
    medians = {name: round(median(values), 1) for name, values in figures.items()}
    if arguments.json:
        result = {
            **medians,
            "spread": {name: [round(min(each), 1), round(max(each), 1)] for name, each in figures.items()},
            "method": {"steps": arguments.steps, "rounds": arguments.rounds, "statistic": "median"},
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        }
        print(json.dumps(result, indent=2))
    else:
        for name, value in medians.items():
            print(f"{name:31} {value:>8.1f}   ({min(figures[name]):.1f} to {max(figures[name]):.1f})")
    sys.exit(medians["single_step_run_ns"] >= MUST)


if __name__ == "__main__":
    main()
