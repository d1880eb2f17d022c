"""``repertory inspect``: signatures, prompts, schemas and advice of a program, without a model."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import REPERTORY

PROGRAM = """
import repertory as rp

class Two(rp.Module):
    def __init__(self):
        self.facts = rp.ChainOfThought("document -> facts: list[str]", instructions="List the facts.")
        self.report = rp.Predict(
            "facts: list[str] -> report, score: float",
            adapter="xml",
            demos=[{"facts": ["a\\x1b[31m"], "report": "b", "score": 1.0}],
        )

    async def forward(self, document: str) -> rp.Prediction:
        return await self.report(facts=(await self.facts(document=document)).facts)
"""


def inspect(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "two.py"
    program.write_text(PROGRAM)
    return subprocess.run(
        [REPERTORY, "inspect", f"{program}:Two", *options], capture_output=True, text=True, check=False
    )


def test_every_predictor_is_shown_with_its_prompt_and_advice(tmp_path: Path) -> None:
    ended = inspect(tmp_path)
    assert ended.returncode == 0
    facts, _, report = ended.stdout.partition("\nreport: Predict, adapter xml\n")
    assert facts.startswith(
        "facts: ChainOfThought, adapter chat\n  document: str -> reasoning: str, facts: list[str]\n"
    )
    assert "[[ ## document ## ]]\n<document>\n" in facts
    assert "!" not in facts.partition("---")[0]
    assert report.startswith("  facts: list[str] -> report: str, score: float\n! nobody said what to do")
    assert "! score: the scale is open: one reply says 0.9, the next 90, the next 9 (open-scale)\n" in report
    assert "    Give it ge= and le=, such as ge=0, le=1.\n" in report
    assert "<report>\nb\n</report>" in report
    assert "\x1b" not in ended.stdout


def test_the_same_as_json_for_an_endpoint_that_constrains(tmp_path: Path) -> None:
    ended = inspect(tmp_path, "--json", "--dialect", "llama_cpp")
    facts, report = json.loads(ended.stdout)
    assert (facts["path"], facts["adapter"], facts["advice"]) == ("facts", "json", [])
    assert facts["response_schema"]["required"] == ["reasoning", "facts"]
    assert [message["role"] for message in report["prompt"]] == ["system", "user", "assistant", "user"]
    assert report["response_schema"] is None
    assert facts["obstacles"] == report["dropped"] == []
    assert [advice["code"] for advice in report["advice"]] == ["no-instructions", "open-scale"]


@pytest.mark.parametrize("adapter", ["auto", "chat", "json", "baml", "xml", "two_step"])
def test_another_adapter_can_be_asked_for(tmp_path: Path, adapter: str) -> None:
    ended = inspect(tmp_path, "--json", "--adapter", adapter)
    expected = "chat" if adapter == "auto" else adapter
    assert [each["adapter"] for each in json.loads(ended.stdout)] == [expected, expected]


@pytest.mark.parametrize("options", [("--adapter", "yaml"), ("--dialect", "cobol")])
def test_an_unknown_adapter_or_dialect_is_refused(tmp_path: Path, options: tuple[str, str]) -> None:
    ended = inspect(tmp_path, *options)
    assert ended.returncode == 2
    assert options[1] in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr
