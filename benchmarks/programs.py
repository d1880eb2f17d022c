"""The figures of programs: predictions beside raw aiohttp, runs of many steps, what kills and a long life cost.

    python -m benchmarks.programs --json
    python -m benchmarks.programs --only overhead_us fanout_speedup

Method: a mock endpoint in a process of its own, or a model in memory; actors, scheduler and the whole pipeline on
except the cache. In a ratio both sides take turns in the same process, and the ratio is taken round by round; the
median over the rounds is reported with its spread. benchmarks/README.md tells how each figure is taken. The exit
status is 1 if a figure misses what it must reach.
"""

import argparse
import json
import sys

from benchmarks.figures import Figure, Group, cost, machine, missed, ratio, rows, take
from benchmarks.program_calls import overhead, ratios_100, ratios_1000
from benchmarks.program_kills import sample as kills
from benchmarks.program_runs import fanout, run_of_many_steps, soak
from benchmarks.rows import sample as stream_rows

ROUNDS = 5
QUICK_SCALE = 10
METHOD = {
    "statistic": "median over the rounds",
    "ratios": "raw aiohttp's elapsed time / ours, both sides in turns",
    "endpoint": "a process of its own, or a model in memory; the whole pipeline on except the cache",
    "gc": "as in the daemon, for both sides: its threshold, and gc.freeze() when all has started; "
    "gc.collect() before each timed part",
}
FIGURES: dict[str, Figure] = {
    figure.key: figure
    for figure in (
        ratio("predict_ratio_100", "predictions/s, 100 in flight, 0 ms endpoint / raw aiohttp", 0.40, 0.60),
        ratio("predict_ratio_1000_50ms", "the same, 1,000 in flight, 50 ms endpoint", 0.50, 0.70),
        ratio("journaled_ratio_100", "as predict_ratio_100, every run in the journal", 0.30, 0.50),
        ratio("journaled_ratio_1000_50ms", "as predict_ratio_1000_50ms, every run in the journal", 0.30, 0.50),
        cost("overhead_us", "CPU us of a prediction whose model costs nothing, no journal", 60, 30),
        ratio("fanout_speedup", "8 independent steps of 200 ms, against one after the other", 7.5, 7.9),
        cost("run_1000_steps_overhead_ms", "a durable step after the other, each, ms", 1.0, 0.3),
        cost("kill_lost", "runs of 1,000 that 50 kill -9 lost, of five steps each", 0, 0),
        cost("kill_doubled", "outcomes recorded twice", 0, 0),
        cost("kill_reasked", "recorded steps asked again", 0, 0),
        cost("kill_unlisted", "calls bought again that the ledger does not list as uncertain", 0, 0),
        cost("bill_difference", "nano-dollars between the endpoint's bill and our ledger", 0, 0),
        cost("stream_rows_rss_mb", "RSS growth over 1,000,000 rows through `repertory run`, MB", 60, 30),
        cost("soak_rss_growth_mb", "RSS growth over 200,000 journaled predictions, MB", 20, 5),
    )
}
GROUPS = (
    Group(("predict_ratio_100", "journaled_ratio_100"), ratios_100),
    Group(("predict_ratio_1000_50ms", "journaled_ratio_1000_50ms"), ratios_1000),
    Group(("overhead_us",), overhead),
    Group(("fanout_speedup",), fanout),
    Group(("run_1000_steps_overhead_ms",), run_of_many_steps),
    Group(("kill_lost", "kill_doubled", "kill_reasked", "kill_unlisted", "bill_difference"), kills, at_most=1),
    Group(("stream_rows_rss_mb",), stream_rows, at_most=1),
    Group(("soak_rss_growth_mb",), soak, at_most=1),
)


def main() -> None:
    """Measure, print, and fail if a figure misses what it must reach."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of all: to see that it runs, not to judge (implies --report)"
    )
    parser.add_argument("--only", nargs="+", metavar="KEY", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--report", action="store_true", help="exit with 0 even if a figure is missed")
    arguments = parser.parse_args()
    rounds, scale = (1, QUICK_SCALE) if arguments.quick else (arguments.rounds, 1)
    figures = take(FIGURES, GROUPS, arguments.only, rounds, scale)
    failing = missed(figures)
    if arguments.json:
        method = {**METHOD, "rounds": rounds, "quick": arguments.quick}
        print(json.dumps({**figures, "ok": not failing, "method": method, "machine": machine()}, indent=2))
    else:
        print(*rows("programs", figures, FIGURES), sep="\n")
    if failing and not (arguments.report or arguments.quick):
        print(f"missed: {', '.join(failing)}", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
