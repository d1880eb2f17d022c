"""``repertory graph``: which calls a program makes and what they need, without a model."""

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.command import REPERTORY, workplace

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "examples/report.toml"
PROGRAM = """
import repertory as rp

class Good(rp.Module):
    def __init__(self):
        self.first = rp.Predict("text -> words: list[str], count: int")
        self.second = rp.Predict("word -> answer")

    async def forward(self, text: str) -> rp.Prediction:
        return await self.second(word=self.first(text=text).words[0])

class Bad(Good):
    async def forward(self, text: str) -> rp.Prediction:
        return await self.second(word=self.first(text=text).count)

class Dynamic(Good):
    async def forward(self, text: str) -> rp.Prediction:
        for word in (await self.first(text=text)).words:
            answer = await self.second(word=word)
        return answer
"""
DEFINITION = """
inputs = "text"
[nodes.ask]
signature = "text -> answer"
inputs = { text = "text" }
[outputs]
answer = "ask.answer"
"""


def graph(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([REPERTORY, "graph", *arguments], capture_output=True, text=True, check=False)


def program(tmp_path: Path, name: str) -> str:
    (tmp_path / "program.py").write_text(PROGRAM)
    return f"{tmp_path / 'program.py'}:{name}"


def test_levels_the_critical_path_and_the_check_are_listed() -> None:
    ended = graph(REPORT)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (
        "report: document -> report\n"
        "level 1\n"
        "  facts: ChainOfThought(document=document)\n"
        "  risks: Predict(document=document)\n"
        "level 2\n"
        "  write: Predict(facts=facts.facts, risks=risks.risks, style='plain and short')\n"
        "critical path: facts -> write\n"
        "check: nothing wrong was found\n"
    )


def test_what_cannot_work_is_shown_and_is_the_exit_status(tmp_path: Path) -> None:
    ended = graph(program(tmp_path, "Bad"))
    assert ended.returncode == 3
    assert ended.stdout.endswith(
        "check: 1 problem\n"
        "! second.word: first.count is int, and it takes str\n"
        "    Declare both alike: int here, or str there.\n"
    )


def test_the_same_as_data(tmp_path: Path) -> None:
    ended = graph(program(tmp_path, "Bad"), "--format", "json")
    data = json.loads(ended.stdout)
    assert data["levels"] == [["first"], ["second"]]
    assert data["edges"][1] == {
        "source": "first.count",
        "node": "first",
        "target": "second",
        "input": "word",
    }
    assert [(each["kind"], each["given"], each["wanted"]) for each in data["problems"]] == [
        ("type_mismatch", "int", "str")
    ]


def test_it_is_drawn(tmp_path: Path) -> None:
    assert graph(program(tmp_path, "Good"), "--format", "mermaid").stdout.startswith("flowchart TD\n")
    out = tmp_path / "graph.svg"
    ended = graph(REPORT, "--format", "svg", "--out", out)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ElementTree.parse(out).getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("absent.toml",), "absent.toml: no such file"),
        ((REPORT, "--out", "absent/graph.txt"), "--out absent/graph.txt"),
        ((REPORT, "--format", "png"), "png"),
    ],
)
def test_what_cannot_be_done_is_told(tmp_path: Path, arguments: tuple[str | Path, ...], told: str) -> None:
    ended = graph(*arguments)
    assert ended.returncode == 2
    assert told in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr


def test_a_program_that_decides_by_values_is_told_where(tmp_path: Path) -> None:
    ended = graph(program(tmp_path, "Dynamic"))
    assert ended.returncode == 2
    assert "Dynamic cannot be traced: " in ended.stderr
    assert "program.py:18 uses the value of first.words" in ended.stderr


async def test_rows_are_answered_by_a_program_in_a_file(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        (tmp_path / "graph.toml").write_text(DEFINITION)
        place.write_rows([{"text": f"row {number}"} for number in range(3)])
        ended = await place.run(program="graph.toml")
        assert ended.status == 0, ended.stderr
        assert [row["outputs"] for row in place.results()] == [{"answer": f"row {number}"} for number in range(3)]
