"""Which rows are asked, and which are read back: equal rows, changed programs, limits, standard input."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.cli.command import end_of, lines_in, until, workplace
from tests.endpoint import Reply


async def test_equal_rows_are_each_answered_once(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        place.write_rows({"text": text, "id": number} for number, text in enumerate("abaab"))
        assert (await place.run()).status == 0
        assert sorted(place.asked) == ["a", "a", "a", "b", "b"]
        assert [line["input_id"] for line in place.results()] == [0, 1, 2, 3, 4]
        assert len({line["id"] for line in place.results()}) == 5
        assert (await place.run()).status == 0
        assert len(place.asked) == 5
        assert place.summary()["resumed"] == 5
        assert place.summary()["lm_calls"] == 0


async def test_rows_may_move_and_new_ones_come(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        place.write_rows({"text": text} for text in "abc")
        assert (await place.run()).status == 0
        place.write_rows({"text": text} for text in "xcbaa")
        assert (await place.run()).status == 0
        assert sorted(place.asked[3:]) == ["a", "x"]
        assert [line["outputs"]["answer"] for line in place.results()] == list("xcbaa")


CHANGES = {
    "instructions": 'echo = rp.Predict("text -> answer", instructions="Otherwise.")',
    "demos": 'echo = rp.Predict("text -> answer", demos=[{"text": "a", "answer": "b"}])',
    "temperature": 'echo = rp.Predict("text -> answer", temperature=1)',
    "signature": 'echo = rp.Predict("text -> answer: str, more: str | None")',
    "module": 'echo = rp.ChainOfThought("text -> answer")',
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_program_asks_again(tmp_path: Path, change: str) -> None:
    answers = Reply('{"answer": "x", "more": null, "reasoning": "r"}')
    async with workplace(tmp_path, lambda _: answers) as place:
        place.write_rows({"text": text} for text in "ab")
        assert (await place.run()).status == 0
        (tmp_path / "program.py").write_text(f"import repertory as rp\n{CHANGES[change]}\n")
        assert (await place.run()).status == 0
        assert (len(place.asked), place.summary()["resumed"]) == (4, 0)


async def test_another_model_is_asked_again(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        place.write_rows({"text": text} for text in "ab")
        assert (await place.run()).status == 0
        config = place.path / "config.toml"
        config.write_text(config.read_text().replace("openai/x", "openai/y"))
        assert (await place.run()).status == 0
        assert [seen.body["model"] for seen in place.server.requests] == ["x", "x", "y", "y"]


async def test_no_resume_asks_again_and_leaves_the_journal_usable(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        place.write_rows({"text": text} for text in "ab")
        for arguments, requests in ((), 2), (("--no-resume",), 4), (("--no-resume",), 6), ((), 6):
            assert (await place.run(*arguments)).status == 0
            assert (len(place.asked), len(place.results())) == (requests, 2)


async def test_limit_counts_rows(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        (tmp_path / "data.jsonl").write_text('{"text": "a"}\nbad\n{"text": "b"}\n{"text": "c"}\n')
        assert (await place.run("--limit", "3", "--workers", "1")).status == 3
        assert place.asked == ["a", "b"]
        assert (await place.run("--limit", "900", "--workers", "1")).status == 3
        assert place.asked == ["a", "b", "c"]


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
async def test_no_rows_are_no_fault(tmp_path: Path, data: bytes) -> None:
    async with workplace(tmp_path) as place:
        (tmp_path / "data.csv").write_bytes(data)
        for arguments in (place.arguments(data="data.csv"), place.arguments(data="-")):
            ended = await place.call(*arguments, stdin=asyncio.subprocess.DEVNULL)
            assert ended.status == (0 if data == b"" or arguments[2] == "-" else 3), ended.stderr
            assert place.summary()["accuracy"] is None
        assert place.results() == []


async def test_a_pipe_is_answered_as_it_comes(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        process = await place.start(*place.arguments(data="-"), stdin=asyncio.subprocess.PIPE)
        assert process.stdin is not None
        for number, text in enumerate("abc", start=1):
            process.stdin.write(json.dumps({"text": text}).encode() + b"\n")
            await process.stdin.drain()
            await until(lambda lines=number: lines_in(place.out / "results.jsonl") == lines, process)  # type: ignore[misc]  # bound now
        process.stdin.write(b'{"text": "no line break"}')
        process.stdin.close()
        assert (await end_of(process)).status == 0
        assert [line["outputs"]["answer"] for line in place.results()] == ["a", "b", "c", "no line break"]


async def test_a_file_as_standard_input(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        data = place.write_rows({"text": str(number)} for number in range(500))
        with data.open("rb") as stdin:
            ended = await place.call(*place.arguments("--workers", "16", data="-"), stdin=stdin)
        assert (ended.status, len(place.results())) == (0, 500)


async def test_a_named_pipe_is_answered_as_it_comes(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        os.mkfifo(tmp_path / "rows.jsonl")
        process = await place.start(*place.arguments(data="rows.jsonl"))
        await until(lambda: (place.out / "results.jsonl").exists(), process)
        with (tmp_path / "rows.jsonl").open("wb", buffering=0) as rows:
            rows.write(b'{"text": "a"}\n')
            await until(lambda: lines_in(place.out / "results.jsonl") == 1, process)
        assert (await end_of(process)).status == 0


async def test_a_waiting_pipe_can_be_interrupted(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        process = await place.start(*place.arguments(data="-"), stdin=asyncio.subprocess.PIPE)
        await until(lambda: (place.out / "results.jsonl").exists(), process)
        process.send_signal(2)
        assert await asyncio.wait_for(process.wait(), 60) == 130
        assert process.stdin is not None
        process.stdin.close()
        await end_of(process)


async def test_standard_input_closed(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        command = [str(argument) for argument in ("run", "program.py:echo", "-", "--config", "config.toml")]
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", 'exec "$0" "$@" <&-', str(_script()), *command),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        ended = await end_of(process)
        assert (ended.status, "error: standard input is closed" in ended.stderr) == (2, True)
        assert place.asked == []


def _script() -> Path:
    from tests.cli.command import REPERTORY

    return REPERTORY


async def test_the_baseline_answers_the_first_rows(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        place.write_rows({"text": text, "answer": "a"} for text in "abab")
        more = ("--expect", "answer", "--baseline", "program.py:Two", "--baseline-limit", "2")
        ended = await place.run(*more)
        assert ended.status == 0, ended.stderr
        summary = place.summary()
        assert (summary["rows"], summary["accuracy"], summary["chance"]) == (4, 0.5, None)
        assert summary["accuracy_low"] < 0.5 < summary["accuracy_high"]
        assert (summary["baseline"]["program"], summary["baseline"]["rows"]) == ("Two", 2)
        assert summary["baseline"]["failed"] == 2  # the echo gives no `middle`


async def test_names_that_look_like_markup(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        place.write_rows([{"text": "[/red] [bold]", "id": "[/x]"}])
        ended = await place.run("--out", "out[/dim]")
        assert ended.status == 0, ended.stderr
        assert "Results are in out[/dim]." in ended.stderr
        assert "[/red] [bold]" in ended.stderr


async def test_integers_of_any_size_are_kept_exactly(tmp_path: Path) -> None:
    number = 10**40 + 1
    async with workplace(tmp_path, lambda _: Reply(f'{{"answer": {number}}}')) as place:
        place.write_rows([{"text": "x", "n": number}])
        for requests in (1, 1):
            ended = await place.run(program="program.py:count")
            assert ended.status == 0, ended.stderr
            assert place.results()[0]["outputs"] == {"answer": number}
            assert len(place.asked) == requests
        assert f"n: {number}" in place.server.requests[0].last_message
