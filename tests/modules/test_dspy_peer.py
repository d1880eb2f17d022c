"""The installed DSPy reads what we write, and we read what it writes."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from repertory.modules import ChainOfThought, Predict
from repertory.modules.dspy_state.tuning import plain_prefix
from tests.modules.dspy_states.programs import PROGRAMS, Guide, Nested, saved

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # other people's imports
    dspy = pytest.importorskip("dspy", reason="needs DSPy: pip install 'repertory[bench]'", exc_type=ImportError)
    from tests.modules.dspy_states.make import STATES

pytestmark = pytest.mark.filterwarnings("ignore")


def loaded_by_dspy(name: str, state: dict[str, Any], tmp_path: Path) -> Any:
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state))
    program = STATES[name]().reset_copy()
    program.load(str(path))
    return program


@pytest.mark.parametrize("name", STATES)
def test_what_we_write_of_a_loaded_program_is_to_dspy_what_it_saved(name: str, tmp_path: Path) -> None:
    program = PROGRAMS[name]()
    program.load_dspy_state(saved(name))
    again = loaded_by_dspy(name, program.dump_dspy_state(), tmp_path)
    assert json.loads(json.dumps(again.dump_state())) == {k: v for k, v in saved(name).items() if k != "metadata"}


@pytest.mark.parametrize("name", STATES)
def test_dspy_loads_the_state_of_a_program_that_was_never_there(name: str, tmp_path: Path) -> None:
    state = PROGRAMS[name]().dump_dspy_state()
    again = loaded_by_dspy(name, state, tmp_path)
    state.pop("metadata")
    assert again.dump_state() == state


def test_what_was_declared_here_is_there(tmp_path: Path) -> None:
    demo = {"question": "¿1 + 1?", "answer": "2"}
    program = Predict("question -> answer", instructions="Do sums.", demos=[demo])
    path = tmp_path / "state.json"
    path.write_text(json.dumps(program.dump_dspy_state()))
    peer = dspy.Predict("question -> answer")
    peer.load(str(path))
    assert (peer.signature.instructions, peer.demos) == ("Do sums.", [demo])


def test_a_program_goes_there_is_tuned_and_comes_back(tmp_path: Path) -> None:
    peer = loaded_by_dspy("nested", Nested().dump_dspy_state(), tmp_path)
    peer.steps[1].predict.signature = peer.steps[1].predict.signature.with_instructions("Tuned.")
    peer.save(str(tmp_path / "tuned.json"))
    program = Nested()
    assert program.load_dspy_state(tmp_path / "tuned.json").complete
    assert program.steps[1].parameters.instructions == "Tuned."


def test_the_files_here_are_what_dspy_writes_today() -> None:
    def bare(state: Any) -> Any:
        return {
            name: entry for name, entry in json.loads(json.dumps(state, default=str)).items() if name != "metadata"
        }

    for name in ("lone_predict", "lone_chain", "nested", "tuned_fields", "typed", "own_lm"):
        assert bare(STATES[name]().dump_state()) == bare(saved(name)), name


@pytest.mark.parametrize(
    "name",
    [
        "question",
        "questionText",
        "text2number",
        "HTMLParser",
        "snake_case_text",
        "a_b",
        "x",
        "URL",
        "step_1b",
        "ünï",
    ],
)
def test_a_field_has_the_prefix_dspy_gives_it(name: str) -> None:
    from dspy.signatures.signature import infer_prefix

    assert plain_prefix(name) == f"{infer_prefix(name)}:"


def test_predictors_have_the_names_dspy_gives_them() -> None:
    peer = STATES["nested"]()
    written = list(Nested().dump_dspy_state())
    assert [name for name in written if name != "metadata"] == [name for name, _ in peer.named_parameters()]


def test_what_dspy_2_5_saved_goes_into_todays_by_way_of_us(tmp_path: Path) -> None:
    old = Guide()
    old.load_dspy_state(saved("old_2_5_5"))
    new = ChainOfThought("question -> answer")
    new.parameters = old.answer.parameters.model_copy(update={"dspy": None})
    path = tmp_path / "state.json"
    path.write_text(json.dumps(new.dump_dspy_state()))
    peer = dspy.ChainOfThought("question -> answer")
    peer.load(str(path))
    assert peer.predict.signature.instructions == "Answer in one word."
    assert peer.predict.demos == [{"question": "Who?", "reasoning": "She did.", "answer": "Ada"}]
