"""What the terminal says of rows without an answer, and what it refuses to say."""

import json
from pathlib import Path

from repertory.cli.printable import printable
from tests.cli.command import workplace
from tests.endpoint import Reply

MISTAKES = """
import asyncio
import repertory as rp

class Forgets(rp.Module):
    def __init__(self):
        self.ask = rp.Predict("text -> answer")

class Await(Forgets):
    async def forward(self, text: str):
        return rp.Prediction(answer=self.ask(text=text).answer + "!")

class Return(Forgets):
    async def forward(self, text: str):
        return {"answer": text}

class Cancelled(Forgets):
    async def forward(self, text: str):
        raise asyncio.CancelledError

class Deep(Forgets):
    async def forward(self, text: str):
        value = text
        for _ in range(240):
            value = [value]
        return rp.Prediction(value=value)
"""


async def test_the_reasons_of_failed_rows_are_told_with_their_remedies(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        (tmp_path / "mistakes.py").write_text(MISTAKES)
        place.write_rows([{"text": "a"}, {"text": "b"}, {"txt": "c"}])
        for program, reason, remedy in (
            ("Await", "ask.answer is not there yet, and its value is needed", "Put `await` before it"),
            ("Return", "Return: forward returned dict, not a Prediction", "Return what a predictor gave, or "),
            ("Cancelled", "Cancelled: its code raised CancelledError", ""),
        ):
            ended = await place.run(program=f"mistakes.py:{program}")
            assert ended.status == 4, ended.stderr
            assert f"2 x program_invalid: {reason}" in ended.stderr
            assert remedy in ended.stderr
            assert "1 x txt: is not an input" in ended.stderr
            assert "Did you mean `text`?" in ended.stderr
            assert [result["error"].get("hint", "")[: len(remedy)] for result in place.results()] == [remedy] * 2
            assert [reject["hint"] for reject in place.rejects()] == ["Did you mean `text`?"]


async def test_an_answer_nested_deeply_is_read_back(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        (tmp_path / "mistakes.py").write_text(MISTAKES)
        place.write_rows([{"text": "a"}])
        for resumed in (0, 1):
            ended = await place.run(program="mistakes.py:Deep")
            assert ended.status == 0, ended.stderr
            assert place.summary()["resumed"] == resumed


async def test_a_baseline_needs_something_to_compare_with(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        place.write_rows([{"text": "a"}])
        ended = await place.run("--baseline", "program.py:echo")
        assert (ended.status, place.asked) == (2, [])
        assert "Name their column: --expect COLUMN." in ended.stderr


async def test_nothing_from_outside_steers_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b[2J\x1b]0;title\x07"
    async with workplace(tmp_path, lambda _: Reply(json.dumps({"answer": evil}))) as place:
        place.write_rows([{"id": evil, "text": evil}])
        ended = await place.run()
        assert ended.status == 0, ended.stderr
        assert "\x1b" not in ended.stderr
        assert place.results()[0]["outputs"] == {"answer": evil}  # the file has it as it is


def test_what_has_no_glyph_is_made_visible() -> None:
    assert printable("ok\n\x1b[31mé\x00") == "ok\n\N{REPLACEMENT CHARACTER}[31mé\N{REPLACEMENT CHARACTER}"
