"""``kill -9`` of ``repertory run`` in mid-run: the same command goes on, and nothing is lost or paid for twice."""

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

import pyarrow
import pyarrow.parquet
import pytest

from tests.cli.command import Workplace, kill, lines_in, until, workplace
from tests.endpoint import Delay, Reply, Seen, Step

WORKERS = 4
ROWS = 60


def slow_enough(seen: Seen) -> Step:
    """A few milliseconds each, some more than others: rows end in another order than they began in."""
    text = seen.last_message.partition(": ")[2]
    return Delay(0.004 * (1 + int(text.split()[1]) % 5), Reply(f'{{"answer": "{text}"}}'))


async def kill_at(place: Workplace, lines: int, command: list[str]) -> int:
    """Start the command, kill it when so many lines are there; return how many were."""
    results = place.out / "results.jsonl"
    results.unlink(missing_ok=True)
    process = await place.start(*command)
    await until(lambda: lines_in(results) >= lines, process)
    await kill(process)
    assert process.returncode == -9
    return lines_in(results)


@pytest.mark.parametrize("seed", [1, 2])
async def test_finished_rows_are_not_asked_again(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    async with workplace(tmp_path, slow_enough) as place:
        rows = [f"row {number}" for number in range(ROWS)]
        place.write_rows({"text": row} for row in rows)
        kills = sorted(rng.sample(range(1, ROWS - 10), 3))
        finished: dict[str, int] = {}  # how many requests there had been when the row was found finished
        for moment in kills:
            await kill_at(place, moment, place.arguments("--workers", str(WORKERS)))
            done = [line["outputs"]["answer"] for line in place.results()]
            assert done == rows[: len(done)]
            for row in done:
                finished.setdefault(row, len(place.asked))
        ended = await place.run("--workers", str(WORKERS))
        assert ended.status == 0, ended.stderr
        assert [line["outputs"]["answer"] for line in place.results()] == rows
        assert [line["line"] for line in place.results()] == list(range(1, ROWS + 1))
        assert len({line["id"] for line in place.results()}) == ROWS
        assert [row for row, requests in finished.items() if row in place.asked[requests:]] == []
        times = Counter(place.asked)
        assert set(times) == set(rows)
        assert sum(times.values()) - ROWS <= WORKERS * len(kills)
        summary = place.summary()
        assert (summary["rows"], summary["ok"]) == (ROWS, ROWS)
        assert summary["resumed"] >= len(finished)


@pytest.mark.parametrize("format", ["csv", "parquet"])
async def test_equal_rows_are_each_answered_once_and_bad_ones_told_once(tmp_path: Path, format: str) -> None:
    """Three rows of each text, every seventh row unfit: the count of equal rows is right whatever was done."""
    texts = [None if number % 7 == 6 else f"row {number % 25}" for number in range(75)]
    good = [text for text in texts if text is not None]
    async with workplace(tmp_path, slow_enough) as place:
        data = write_table(tmp_path / f"data.{format}", texts)
        command = place.arguments("--workers", str(WORKERS), data=data.name)
        await kill_at(place, Random(format).randrange(1, len(good) - 10), command)
        recorded = Counter(line["outputs"]["answer"] for line in place.results())
        before = len(place.asked)
        ended = await place.call(*command)
        assert ended.status == 3, ended.stderr
        results, rejects = place.results(), place.rejects()
        assert [line["outputs"]["answer"] for line in results] == good
        assert len({line["id"] for line in results}) == len(good)
        first = 2 if format == "csv" else 1  # a header comes before
        assert [line["line"] for line in results] == [n for n, text in enumerate(texts, first) if text is not None]
        assert [line["line"] for line in rejects] == [n for n, text in enumerate(texts, first) if text is None]
        assert Counter(place.asked[before:]) <= Counter(good) - recorded  # nothing recorded is asked again
        assert len(place.asked) - len(good) <= WORKERS
        assert place.summary()["resumed"] >= recorded.total()


def write_table(path: Path, texts: list[str | None]) -> Path:
    """One column ``text``; None is a row that is unfit to ask."""
    match path.suffix:
        case ".csv":
            path.write_text("text\n" + "".join("a,b\n" if text is None else f"{text}\n" for text in texts))
        case ".parquet":
            pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path, row_group_size=20)
    return path


async def test_rows_of_two_steps_resume_at_the_second(tmp_path: Path) -> None:
    """Killed between the steps of a row: the first one is read from the journal."""
    hold = asyncio.Event()

    def script(seen: Seen) -> Step:
        label, _, text = seen.last_message.partition(": ")
        if label == "text":
            return Reply(f'{{"middle": "m{text}"}}')
        return Reply(f'{{"answer": "a{text}"}}') if hold.is_set() else Delay(60)

    async with workplace(tmp_path, script) as place:
        place.write_rows({"text": str(number)} for number in range(WORKERS))
        command = place.arguments("--workers", str(WORKERS), program="program.py:Two")
        process = await place.start(*command)
        await until(lambda: len(place.server.requests) == 2 * WORKERS, process)
        await until(lambda: steps_in(place.out / "journal.db") == WORKERS, process)
        await kill(process)
        hold.set()
        first_life = len(place.server.requests)
        ended = await place.call(*command)
        assert ended.status == 0, ended.stderr
        labels = [seen.last_message.partition(": ")[0] for seen in place.server.requests[first_life:]]
        assert labels == ["middle"] * WORKERS
        assert [line["outputs"]["answer"] for line in place.results()] == [f"am{n}" for n in range(WORKERS)]
        assert {line["lm_calls"] for line in place.results()} == {2}


async def test_a_kill_before_the_first_answer_loses_nothing(tmp_path: Path) -> None:
    answering = asyncio.Event()

    def script(seen: Seen) -> Step:
        return Reply('{"answer": "x"}') if answering.is_set() else Delay(60)

    async with workplace(tmp_path, script) as place:
        place.write_rows({"text": str(number)} for number in range(3))
        process = await place.start(*place.arguments())
        await until(lambda: len(place.server.requests) == 3, process)
        await kill(process)
        answering.set()
        ended = await place.run()
        assert (ended.status, len(place.results()), len(place.asked)) == (0, 3, 6)


def steps_in(store: Path) -> int:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        return int(connection.execute("select count(*) from run_events where kind = 'step'").fetchone()[0])
