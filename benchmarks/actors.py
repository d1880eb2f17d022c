"""The figures of the actor kernel: messages, memory, lives, durability; on asyncio's loop and on uvloop.

    pip install 'repertory[bench,fast]'
    python -m benchmarks.actors --json

Method: in each round every figure is taken on the one loop and then on the other; the median over the rounds is
reported with its spread. In a ratio both sides take turns in the same process on the same loop, in CPU time, and
the ratio is taken round by round. benchmarks/README.md tells how each figure is taken. The exit status is 1 if a
figure misses what it must reach.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.actors_durable import durable_tells_per_s
from benchmarks.actors_figures import FIGURES
from benchmarks.actors_lives import one_for_all_100_ms, restart_us, spawn_us
from benchmarks.actors_memory import bytes_per_actor
from benchmarks.actors_messages import ask_ratios, tell_ratio
from benchmarks.actors_peers import not_installed, pykka_ratio, xoscar_ratio
from benchmarks.figures import Group, missed, rows, summarise
from benchmarks.timing import Sample, loop_factories

ROUNDS = 11
QUICK_ROUNDS = 3
QUICK_SCALE = 10
MEMORY_ROUNDS = 1  # resident memory varies little, and each takes a minute
METHOD = {
    "statistic": "median over the rounds",
    "ratios": "the other's time / ours, both sides in turns, CPU time (pykka, xoscar: elapsed time)",
    "gc": "gc.collect() before each timed part, the collector on during it",
}


GROUPS = (
    Group(("tell_ratio",), tell_ratio),
    Group(("ask_ratio", "ask_deadline_ratio", "ask64_ratio"), ask_ratios),
    Group(("pykka_ratio",), pykka_ratio, missing=partial(not_installed, "pykka")),
    Group(("xoscar_ratio",), xoscar_ratio, missing=partial(not_installed, "xoscar")),
    Group(
        ("idle_bytes", "passivated_bytes"),
        bytes_per_actor,
        at_most=MEMORY_ROUNDS,
    ),
    Group(("spawn_us",), spawn_us),
    Group(("restart_p50_us", "restart_p99_us"), restart_us),
    Group(("one_for_all_100_ms",), one_for_all_100_ms),
    Group(("durable_tells_per_s",), durable_tells_per_s),
)


def measure(only: Sequence[str], rounds: int, scale: int) -> dict[str, dict[str, Any]]:
    """The figures named in ``only``, by loop and key."""
    groups = [group for group in GROUPS if set(group.keys) & set(only)]
    results: dict[str, dict[str, Any]] = {}
    samples: dict[tuple[str, Group], list[Sample]] = {}
    with ExitStack() as stack:
        runners = {
            name: stack.enter_context(asyncio.Runner(loop_factory=factory))
            for name, factory in loop_factories().items()
        }
        for number in range(rounds):
            for group in groups:
                if number >= (group.at_most or rounds) or group.missing():
                    continue
                for name, runner in runners.items():
                    samples.setdefault((name, group), []).append(_run(runner, group, scale))
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for name in runners:
            figures = results[name] = {}
            for group in groups:
                for key in [key for key in group.keys if key in only]:
                    if (name, group) in samples:
                        figures[key] = summarise(FIGURES[key], samples[name, group])
                    else:
                        figures[key] = {"skipped": group.missing()}
    return results


def _run(runner: asyncio.Runner, group: Group, scale: int) -> Sample:
    async def sample() -> Sample:
        return await group.sample(scale)

    return runner.run(sample())


def versions() -> dict[str, str | None]:
    """Of the interpreter and of what is measured against; None: not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("repertory", "uvloop", "pykka", "xoscar"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def main() -> None:
    """Measure, print, and fail if a figure misses what it must reach."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, with --quick {QUICK_ROUNDS}")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of all: to see that it runs, not to judge (implies --report)"
    )
    parser.add_argument("--only", nargs="+", metavar="KEY", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--report", action="store_true", help="exit with 0 even if a figure is missed")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    results = measure(arguments.only, rounds, QUICK_SCALE if arguments.quick else 1)
    failing = [f"{loop}: {key}" for loop, figures in results.items() for key in missed(figures)]
    if arguments.json:
        method = {**METHOD, "rounds": rounds, "quick": arguments.quick}
        machine = {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "versions": versions()}
        print(json.dumps({**results, "ok": not failing, "method": method, "machine": machine}, indent=2))
    else:
        for loop, figures in results.items():
            print("", *rows(loop, figures, FIGURES), sep="\n")
    if failing and not (arguments.report or arguments.quick):
        print(f"missed: {', '.join(failing)}", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
