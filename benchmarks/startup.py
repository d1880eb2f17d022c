"""CPU seconds that `import repertory` and `repertory --help` take, beside a bare interpreter.

    python -m benchmarks.startup --json

Method: each command runs as a process of its own, with cached bytecode, in turn with ``python -c pass``; the
figure is user plus system time from the operating system, the median over the rounds.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

COMMANDS = {
    "python_s": [sys.executable, "-c", "pass"],
    "import_s": [sys.executable, "-c", "import repertory"],
    "import_runtime_s": [sys.executable, "-c", "from repertory import Runtime"],
    "help_s": [str(Path(sys.executable).with_name("repertory")), "--help"],
}


def cpu_seconds(command: list[str]) -> float:
    """User and system time of one run of ``command``."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    for command in COMMANDS.values():
        cpu_seconds(command)  # writes the bytecode
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(arguments.rounds):
        for name, command in COMMANDS.items():
            seconds[name].append(cpu_seconds(command))
    figures = {name: round(median(values), 3) for name, values in seconds.items()}
    if arguments.json:
        print(json.dumps({**figures, "method": {"rounds": arguments.rounds, "statistic": "median"}}, indent=2))
        return
    for name, value in figures.items():
        print(f"{name:20} {value:.3f}")


if __name__ == "__main__":
    main()
