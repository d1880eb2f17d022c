"""What a batch of a million rows leaves in memory, and how fast it goes, through the real `repertory run`.

    python -m benchmarks.rows --json --rows 1000000

Method: the command runs as a process of its own, journal and all, with JSON lines piped into it as they are made
(``--format`` names a file instead), on a program whose model answers from memory. ``stream_rows_rss_mb`` is the
most resident memory (``VmRSS``, looked at every 50 ms) that the process has above what it had with 2,000 rows
answered; ``in_first_half_mb`` is that of the first half of the time. One row in a hundred equals an earlier one,
one in a thousand is not fit to ask. ``--again`` then gives the same command the same rows once more, all of which
it reads from its journal.

The exit status is 1 if the figure misses what it must reach.
"""

import argparse
import asyncio
import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import IO

from benchmarks.figures import cost, missed, rows, summarise
from benchmarks.timing import Sample

RSS = cost("stream_rows_rss_mb", "growth of resident memory over all rows, MB", 60, 30)
ROWS = 1_000_000
WARM = 2_000  # rows answered when memory is at its base
EVERY = 0.05  # seconds between two looks at it
WORKERS = 32
PROGRAM = """
import repertory as rp
from repertory.testing import ScriptedLM

label = rp.Predict("text -> label", lm=ScriptedLM(lambda request: '{"label": "x"}', keep=0))
"""
CONFIG = '[lm.default]\nmodel = "openai/never-asked"\nbase_url = "http://127.0.0.1:9/v1"\napi_key_env = ""\n'


def lines(count: int) -> Iterator[bytes]:
    """Rows as JSON lines."""
    for number in range(count):
        if number % 1000 == 999:
            yield b'{"id": %d, "text": null}\n' % number
            continue
        text = f"row {number // 100 if number % 100 == 50 else number}: {'a few words more ' * 6}"
        yield json.dumps({"id": number, "text": text}).encode() + b"\n"


def write_csv(path: Path, count: int) -> None:
    """The rows as CSV; a bad one has one cell too few."""
    with path.open("wb") as file:
        file.write(b"id,text\n")
        for line in lines(count):
            id, text = json.loads(line).values()
            file.write(f"{id},{text}\n".encode() if text is not None else b"%d\n" % id)


def write_gzip(path: Path, count: int) -> None:
    """The rows as packed JSON lines."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.writelines(lines(count))


def write_parquet(path: Path, count: int) -> None:
    """The rows as Parquet, all in one row group."""
    import pyarrow
    from pyarrow.parquet import write_table

    table = pyarrow.Table.from_pylist([json.loads(line) for line in lines(count)])
    write_table(table, path, row_group_size=count)


FILES: dict[str, Callable[[Path, int], None]] = {
    "csv": write_csv,
    "jsonl.gz": write_gzip,
    "parquet": write_parquet,
}


def run(directory: Path, data: str, count: int) -> Sample:
    """Run the command in ``directory`` and watch it."""
    script = Path(sys.executable).with_name("repertory")
    command = [str(script), "run", "program.py:label", data, "--config", "config.toml", "--workers", str(WORKERS)]
    out, told = directory / "out", directory / "stderr"
    started = perf_counter()
    with told.open("wb") as stderr:
        stdin = subprocess.PIPE if data == "-" else subprocess.DEVNULL
        process = subprocess.Popen(command, cwd=directory, stdin=stdin, stderr=stderr)
    if process.stdin is not None:
        threading.Thread(target=_feed, args=(process.stdin, count), daemon=True).start()
    seen = _watch(process, out / "results.jsonl")
    seconds = perf_counter() - started
    if process.returncode not in (0, 3):  # 3: some rows were rejected
        raise RuntimeError(f"the command ended with {process.returncode}: {told.read_text()}")
    if (came := _lines_in(out / "results.jsonl") + _lines_in(out / "rejects.jsonl")) != count:
        raise RuntimeError(f"{count} rows went in, {came} came out")
    return {
        "rss_mb": max(seen) - seen[0],
        "base_mb": seen[0],
        "in_first_half_mb": max(seen[: len(seen) // 2 + 1]) - seen[0],
        "rows_per_s": count / seconds,
        "seconds": seconds,
    }


def _feed(pipe: IO[bytes], count: int) -> None:
    with suppress(BrokenPipeError), pipe:  # a command that ended early tells why by itself
        pipe.writelines(lines(count))


def _watch(process: "subprocess.Popen[bytes]", results: Path) -> list[float]:
    """Megabytes the process had, from when `WARM` rows were answered until it ended."""
    seen: list[float] = []
    while process.poll() is None:
        resident = _resident(process.pid)
        if resident > 0 and (seen or _lines_in(results) >= WARM):
            seen.append(resident)
        sleep(EVERY)
    if not seen:
        raise RuntimeError(f"it ended before {WARM} rows were seen; take more --rows")
    return seen


def _lines_in(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0  # it has just ended


def measured(count: int, format: str, again: bool) -> Sample:
    """The figure and its details."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "program.py").write_text(PROGRAM)
        (directory / "config.toml").write_text(CONFIG)
        data = "-" if format == "pipe" else f"data.{format}"
        if format != "pipe":
            FILES[format](directory / data, count)
        seen = run(directory, data, count)
        sample = {RSS.key: seen.pop("rss_mb")} | {f"{RSS.key}.{name}": value for name, value in seen.items()}
        if again:
            (directory / "out" / "results.jsonl").unlink()  # or the lines of the first run would be counted
            sample |= {f"{RSS.key}.again_{name}": value for name, value in run(directory, data, count).items()}
        return sample


async def sample(scale: int) -> Sample:
    """One round for `benchmarks.programs`."""
    return await asyncio.to_thread(measured, ROWS // scale, "pipe", again=False)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--format", choices=["pipe", *FILES], default="pipe")
    parser.add_argument("--again", action="store_true", help="run the same command a second time")
    arguments = parser.parse_args()
    figures = {RSS.key: summarise(RSS, [measured(arguments.rows, arguments.format, arguments.again)])}
    if arguments.json:
        method = {"rows": arguments.rows, "format": arguments.format, "workers": WORKERS, "warm": WARM}
        print(json.dumps({"figures": figures, "method": method}, indent=2))
    else:
        print(*rows("batch", figures, {RSS.key: RSS}), sep="\n")
    sys.exit(1 if any(missed(figures)) else 0)


if __name__ == "__main__":
    main()
