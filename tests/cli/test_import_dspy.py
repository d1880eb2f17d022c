"""`repertory import-dspy`: what it shows, writes and returns."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from repertory.cli.main import main
from tests.modules.dspy_states.programs import saved, state_file

PROGRAM = """
import repertory as rp

class Report(rp.Module):
    def __init__(self):
        self.facts = rp.ChainOfThought("document -> facts: list[str]")
        self.write = rp.Predict("facts: list[str] -> report")

    async def forward(self, document: str) -> rp.Prediction:
        facts = await self.facts(document=document)
        return await self.write(facts=facts.facts)

class Renamed(rp.Module):
    def __init__(self):
        self.other = rp.Predict("a -> b")
        self.write = rp.Predict("facts: list[str] -> report")
"""


@dataclass
class Command:
    path: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def call(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output and error."""
        self.monkeypatch.setattr(sys, "argv", ["repertory", "import-dspy", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = self.capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, shown.out, shown.err


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "program.py").write_text(PROGRAM)
    for name in ("bootstrapped", "own_lm"):
        (tmp_path / f"{name}.json").write_bytes(state_file(name).read_bytes())
    return Command(tmp_path, monkeypatch, capsys)


def test_each_match_is_shown_and_how_to_use_it(command: Command) -> None:
    status, out, _ = command.call("bootstrapped.json", "--program", "program.py:Report")
    assert status == 0
    rows = [[cell.strip() for cell in line.split("│")] for line in out.splitlines() if "│" in line]
    assert ["", "facts.predict", "facts", "name", "demos", "taken", "2 of 3", ""] in rows
    assert "program.load_dspy_state('bootstrapped.json')" in out


def test_check_is_silent_where_all_is_well(command: Command) -> None:
    assert command.call("bootstrapped.json", "--program", "program.py:Report", "--check") == (0, "", "")


def test_what_is_not_taken_gives_status_3(command: Command) -> None:
    status, out, _ = command.call("own_lm.json", "--program", "program.py:Report", "--check")
    assert status == 3
    assert "openai/gpt-4.1-mini" in out
    assert "lm.temperature" not in out  # which was taken
    assert "lms={'openai/gpt-4.1-mini': 'default'}" in out
    assert "load_dspy_state" not in out


def test_models_of_the_configuration_are_known(command: Command) -> None:
    config = command.path / "config.toml"
    config.write_text('[lm.default]\nmodel = "openai/x"\n[lm.big]\nmodel = "openai/gpt-4.1-mini"\n')
    _, out, _ = command.call("own_lm.json", "--program", "program.py:Report", "--config", "config.toml")
    assert "openai/gpt-4.1-mini is 'big'" in out
    assert "lms={'openai/gpt-4.1-mini': 'big'}" in out


def test_another_program_is_shown_as_far_as_it_matches(command: Command) -> None:
    status, out, _ = command.call("bootstrapped.json", "--program", "program.py:Renamed")
    assert status == 3
    assert "the program has no such predictor" in out
    assert "the state has no such predictor" in out
    assert "strict=False" in out


def test_the_state_is_written_as_it_was(command: Command) -> None:
    status, _, _ = command.call("own_lm.json", "--program", "program.py:Report", "--out", "new.json")
    assert status == 3  # its models are unknown; they are written all the same
    assert json.loads((command.path / "new.json").read_bytes()) == saved("own_lm")
    assert sorted(path.suffix for path in command.path.iterdir() if path.is_file()) == [
        ".json",
        ".json",
        ".json",
        ".py",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.json", "--program", "program.py:Report"], "none.json: no such file"),
        (["program.py", "--program", "program.py:Report"], "program.py: is not JSON"),
        (["bootstrapped.json", "--program", "program.py:None_"], "has no 'None_'"),
        (["bootstrapped.json", "--program", "program.py:Report", "--config", "none.toml"], "none.toml"),
        (
            ["bootstrapped.json", "--program", "program.py:Report", "--out", "no/new.json"],
            "--out no/new.json: No such",
        ),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(command: Command, arguments: list[str], message: str) -> None:
    status, _, err = command.call(*arguments)
    lines = err.splitlines()
    assert (status, lines[0].startswith("error: "), message in lines[0]) == (2, True, True), err
    assert lines[1:] != []
    assert all(line.startswith("  ") for line in lines[1:])


def test_a_program_must_be_named(command: Command) -> None:
    assert command.call("bootstrapped.json")[0] == 2


def test_what_a_file_says_does_not_steer_the_terminal(command: Command) -> None:
    state = saved("bootstrapped")
    state["write"]["signature"]["instructions"] = "\x1b[2J[red]x"
    state["metadata"]["dependency_versions"]["dspy"] = "[red]3"
    state["\x1b[2J[bold]"] = state["write"]
    (command.path / "evil.json").write_text(json.dumps(state))
    status, out, _ = command.call("evil.json", "--program", "program.py:Report")
    assert (status, "\x1b" in out, "[red]x" in out, "[red]3" in out) == (3, False, True, True)


@pytest.mark.parametrize("out", ["", "/dev/null/x.json", "a" * 300])
def test_a_place_that_cannot_be_written_is_named(command: Command, out: str) -> None:
    status, _, error = command.call("bootstrapped.json", "--program", "program.py:Report", "--out", out)
    assert status == 2
    assert error.startswith("error: --out ")
    assert "Name a file" in error


def test_a_file_name_that_is_too_long_is_told(command: Command) -> None:
    status, _, error = command.call("a" * 300, "--program", "program.py:Report")
    assert (status, "File name too long" in error, "Check the path" in error) == (2, True, True)
    assert len(error) < 400
