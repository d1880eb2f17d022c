"""Ctrl-C and SIGTERM: a clean end, a status that says which, no orphan, and the same command goes on."""

import signal
from pathlib import Path

import pytest

from tests.cli.command import kill, lines_in, until, workplace
from tests.endpoint import Hang, Reply, Seen, Step


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_it_ends_at_once_and_goes_on_later(tmp_path: Path, number: int, status: int) -> None:
    stuck = True

    def script(seen: Seen) -> Step:
        return Hang() if stuck and seen.last_message > "text: 3" else Reply('{"answer": "x"}')

    async with workplace(tmp_path, script) as place:
        place.write_rows({"text": str(text)} for text in range(8))
        process = await place.start(*place.arguments("--workers", "2"))
        await until(lambda: lines_in(place.out / "results.jsonl") == 4, process)
        await until(lambda: len(place.asked) == 6, process)
        ended = await kill(process, number)
        assert ended.status == status
        assert "Interrupted. What was answered is kept in out. The same command goes on" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert not (place.out / "summary.json").exists()
        await place.server.client_left.wait()  # cancelled down to the socket
        stuck = False
        again = await place.run("--workers", "2")
        assert (again.status, len(place.results()), place.summary()["resumed"]) == (0, 8, 4)
        assert sorted(place.asked) == sorted([*"01234567", *"45"])


async def test_the_second_ctrl_c_and_term_do_not_make_it_worse(tmp_path: Path) -> None:
    async with workplace(tmp_path, lambda _: Hang()) as place:
        place.write_rows([{"text": "a"}])
        process = await place.start(*place.arguments())
        await until(lambda: len(place.asked) == 1, process)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert (await kill(process, signal.SIGTERM)).status == 143


async def test_without_resume_it_does_not_promise_to_go_on(tmp_path: Path) -> None:
    async with workplace(tmp_path, lambda _: Hang()) as place:
        place.write_rows([{"text": "a"}])
        process = await place.start(*place.arguments("--no-resume"))
        await until(lambda: len(place.asked) == 1, process)
        ended = await kill(process, signal.SIGINT)
        assert ended.status == 130
        assert "goes on" not in ended.stderr


async def test_a_worker_made_to_crash_is_restarted_and_no_row_is_lost(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        rows = [f"row {number}" for number in range(30)]
        place.write_rows({"text": row} for row in rows)
        ended = await place.run("--inject-crash", "7", "--workers", "3")
        assert ended.status == 0, ended.stderr
        assert [line["outputs"]["answer"] for line in place.results()] == rows
        assert place.summary()["restarts"] >= 1
        assert "crashed (life 1): InjectedCrash: on purpose, after 7 rows" in ended.stderr
        assert "restarted (life 2)" in ended.stderr
        assert len(place.asked) - len(rows) <= 1  # the one the worker was at
        again = await place.run("--inject-crash", "7", "--workers", "3")
        assert again.status == 0
        assert (place.summary()["restarts"], len(place.results())) == (0, 30)
