"""The figures of the provider pipeline: calls and streams beside raw aiohttp, memory, and what faults do to it.

    python -m benchmarks.http --json
    python -m benchmarks.http --peers --peer-python litellm=/venvs/litellm/bin/python   # extra `bench`

Method: a mock endpoint in a process of its own, every stage of the pipeline on except the cache. In a ratio both
sides take turns in the same process, and the ratio is taken round by round; the median over the rounds is reported
with its spread. benchmarks/README.md tells how each figure is taken. The exit status is 1 if a figure misses what
it must reach.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from benchmarks.figures import Figure, Group, cost, machine, missed, ratio, rows, take
from benchmarks.http_calls import calls_100, calls_400, calls_1000
from benchmarks.http_faults import budgets, lost_or_doubled, retry_amplification, single_flight
from benchmarks.http_memory import kb_per_call
from benchmarks.http_peers import PEERS, beside_peers
from benchmarks.http_streams import stream_ratio

ROUNDS = 7
QUICK_ROUNDS = 1
QUICK_SCALE = 10
METHOD = {
    "statistic": "median over the rounds",
    "ratios": "the other's time / ours, both sides in turns; elapsed time, for stream_ratio CPU time",
    "endpoint": "a process of its own, every stage of the pipeline on except the cache",
    "gc": "gc.collect() before each timed part, the collector on during it",
}
FIGURES: dict[str, Figure] = {
    figure.key: figure
    for figure in (
        ratio("lm_ratio_100", "calls/s, 100 in flight, 0 ms endpoint / raw aiohttp", 0.50, 0.75),
        ratio("lm_ratio_1000_50ms", "the same, 1,000 in flight, 50 ms endpoint", 0.60, 0.85),
        cost("cpu_ms_per_call", "client's CPU ms a call, 100 in flight", 0.35, 0.25),
        ratio("stream_ratio", "tokens/s of 100 streams / raw aiohttp, nothing parsed", 0.50, 0.80),
        cost("calls_400_at_5s", "seconds for 400 calls on a 5 s endpoint", 5.5, 5.2),
        cost("kb_per_call_in_flight", "RSS of a call in flight, kB", 22, 17),
        cost("single_flight_requests", "requests for 50 identical calls, cache on", 1, 1),
        cost("lost_or_doubled", "of 10,000 calls, 10 % faults, fallback on", 0, 0),
        cost("budget_overshoot_cents", "billed beyond any of five limits, cents", 0, 0),
        ratio("budget_utilisation", "share of a limit billed before the first refusal", 0.97, 0.99),
        cost("reservations_left", "after the run", 0, 0),
        cost("retry_amplification", "requests / calls in a total outage", 1.2, 1.1),
    )
}
GROUPS = (
    Group(("lm_ratio_100", "cpu_ms_per_call"), calls_100),
    Group(("lm_ratio_1000_50ms",), calls_1000),
    Group(("stream_ratio",), stream_ratio, at_most=5),
    Group(("calls_400_at_5s",), calls_400, at_most=3),
    Group(("kb_per_call_in_flight",), kb_per_call, at_most=3),
    Group(("single_flight_requests",), single_flight, at_most=1),
    Group(("lost_or_doubled",), lost_or_doubled, at_most=1),
    Group(("budget_overshoot_cents", "budget_utilisation", "reservations_left"), budgets, at_most=1),
    Group(("retry_amplification",), retry_amplification, at_most=1),
)


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
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="measure other clients too: all, or those named")
    parser.add_argument(
        "--peer-python",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        type=_interpreter,
        help="the interpreter of a peer's own environment; this one if not said",
    )
    arguments = parser.parse_args()
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    scale = QUICK_SCALE if arguments.quick else 1
    figures = take(FIGURES, GROUPS, arguments.only, rounds, scale)
    peers = {}
    if arguments.peers is not None:
        pythons = dict(arguments.peer_python)
        wanted = {name: pythons.get(name, sys.executable) for name in arguments.peers or PEERS}
        peers = asyncio.run(beside_peers(wanted, rounds, scale))
    failing = missed(figures)
    if arguments.json:
        report = {**figures, "peers": peers} if peers else figures
        method = {**METHOD, "rounds": rounds, "quick": arguments.quick}
        print(json.dumps({**report, "ok": not failing, "method": method, "machine": machine()}, indent=2))
    else:
        print(*rows("http", figures, FIGURES), sep="\n")
        for name, each in peers.items():
            print(f"{name:24}{json.dumps(each)}")
    if failing and not (arguments.report or arguments.quick):
        print(f"missed: {', '.join(failing)}", file=sys.stderr)
        raise SystemExit(1)


def _interpreter(said: str) -> tuple[str, str]:
    name, _, path = said.partition("=")
    if name not in PEERS or not Path(path).is_file():
        raise argparse.ArgumentTypeError(
            f"{said}: expected NAME=PATH, NAME one of {', '.join(PEERS)} and PATH an interpreter"
        )
    return name, path


if __name__ == "__main__":
    main()
