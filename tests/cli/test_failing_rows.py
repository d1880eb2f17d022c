"""Rows the endpoint fails: written as failed with a code, asked again by the same command, never for ever."""

from pathlib import Path

from tests.cli.command import asked, echo, workplace
from tests.endpoint import CutConnection, Raw, Reply, Seen, Status, Step


async def test_failed_rows_and_only_these_are_asked_again(tmp_path: Path) -> None:
    well = False

    def script(seen: Seen) -> Step:
        if well:
            return echo(seen)
        match asked(seen):
            case "refused":
                return Status(400, "context too long")
            case "garbled":
                return Reply("no JSON at all")
            case "cut":
                return Reply('{"answer": "c', finish_reason="length")
            case "flaky" if place.asked.count("flaky") < 2:
                return Status(503)
            case _:
                return echo(seen)

    async with workplace(tmp_path, script) as place:
        place.write_rows(
            {"text": text, "id": f"#{text}"} for text in ("a", "refused", "garbled", "flaky", "cut", "b")
        )
        ended = await place.run()
        assert ended.status == 4
        assert "Traceback" not in ended.stderr
        lines = place.results()
        assert [line["status"] for line in lines] == ["ok", "failed", "failed", "ok", "failed", "ok"]
        codes = {line["input_id"]: line["error"]["code"] for line in lines if line["status"] == "failed"}
        assert codes == {
            "#refused": "lm_request_rejected",
            "#garbled": "reply_unparsable",
            "#cut": "reply_unparsable",
        }
        assert "context too long" in lines[1]["error"]["message"]
        assert (place.summary()["ok"], place.summary()["failed"]) == (3, 3)
        well, before = True, len(place.asked)
        ids = [line["id"] for line in lines]
        again = await place.run()
        assert again.status == 0
        assert sorted(place.asked[before:]) == ["cut", "garbled", "refused"]
        assert [line["id"] for line in place.results()] == ids


async def test_rejected_and_failed_rows_together_count_as_unanswered(tmp_path: Path) -> None:
    async with workplace(tmp_path, lambda _: Status(400)) as place:
        (tmp_path / "data.jsonl").write_text('{"text": "a"}\nbad\n')
        assert (await place.run()).status == 4


async def test_an_endpoint_that_is_down_fails_each_row_after_its_time(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        url = place.server.url
    (tmp_path / "config.toml").write_text(f'[lm.default]\nmodel="openai/x"\nbase_url="{url}"\napi_key_env=""\n')
    place.write_rows({"text": str(number)} for number in range(6))
    ended = await place.run("--timeout", "2", "--workers", "6")
    assert ended.status == 4
    assert "Traceback" not in ended.stderr
    assert "circuit of default: closed → open" in ended.stderr
    errors = [line["error"] for line in place.results()]
    assert {error["code"] for error in errors} == {"lm_unreachable"}  # not only that the circuit was open
    assert all("the connection failed: " in error["message"] for error in errors)


async def test_retries_are_bounded(tmp_path: Path) -> None:
    async with workplace(tmp_path, lambda _: CutConnection(), settings="attempts = 2\n") as place:
        place.write_rows([{"text": "a"}])
        ended = await place.run("--timeout", "1.5")
        assert ended.status == 4
        assert 2 <= len(place.asked) < 60
        assert place.results()[0]["error"]["code"] == "lm_unreachable"


async def test_refused_credentials_end_the_batch_in_one_line(tmp_path: Path) -> None:
    async with workplace(tmp_path, lambda _: Status(401, "bad key")) as place:
        place.write_rows({"text": str(number)} for number in range(50))
        ended = await place.run("--workers", "2")
        assert ended.status == 1
        assert ended.stderr.count("error: default: answered 401: bad key") == 1
        assert "Traceback" not in ended.stderr
        assert len(place.asked) <= 2
        assert not (place.out / "summary.json").exists()


async def test_the_programs_own_error_fails_its_row_alone(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        (tmp_path / "own.py").write_text(
            "import repertory as rp\n"
            "class Own(rp.Module):\n"
            "    def __init__(self):\n"
            "        self.ask = rp.Predict('text -> answer')\n"
            "    async def forward(self, text: str):\n"
            "        if text == 'b':\n"
            "            return {}['missing']\n"
            "        if text == 'c':\n"
            "            return 'no prediction'\n"
            "        if text == 'd':\n"
            "            return rp.Prediction(thing=object())\n"
            "        return await self.ask(text=text)\n"
        )
        place.write_rows({"text": text} for text in "abcde")
        ended = await place.run(program="own.py:Own")
        assert (ended.status, [line["status"] for line in place.results()]) == (
            4,
            ["ok", "failed", "failed", "failed", "ok"],
        )
        errors = [line["error"] for line in place.results()[1:4]]
        assert {error["code"] for error in errors} == {"program_invalid"}
        assert errors[0]["message"] == "Own: its code raised KeyError: 'missing'"
        assert errors[1]["message"] == "Own: forward returned str, not a Prediction"


async def test_answers_of_a_strange_shape_are_failures_too(tmp_path: Path) -> None:
    bodies = {
        "html": b"<html>",
        "null": b"null",
        "none": b'{"choices": []}',
        "error": b'{"error": {"message": "e"}}',
    }

    def script(seen: Seen) -> Step:
        return Raw(bodies[asked(seen)])

    async with workplace(tmp_path, script, settings="attempts = 1\n") as place:
        place.write_rows({"text": text} for text in bodies)
        ended = await place.run("--timeout", "0.5", "--workers", "4")
        assert (ended.status, len(place.results())) == (4, 4)
        assert {line["error"]["code"] for line in place.results()} <= {"lm_reply_malformed", "lm_server_error"}
