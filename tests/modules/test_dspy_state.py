"""DSPy states: what is taken over, what is kept, what is refused, and that it all comes back."""

import copy
import json
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.errors import ConfigError, SignatureError
from repertory.modules import ChainOfThought, JSONAdapter, Module, Parameters, Predict
from repertory.modules.dspy_state.report import DspyMatch, DspyReport
from repertory.runtime.predictor import VersionedParameters
from repertory.runtime.runtime import Runtime
from repertory.signatures import OutputField, Signature
from repertory.testing import ScriptedLM
from tests.modules.dspy_states.programs import PROGRAMS, Guide, Nested, Report, saved, state_file


def without_keys(state: Any, *names: str) -> Any:
    if isinstance(state, dict):
        return {key: without_keys(value, *names) for key, value in state.items() if key not in names}
    return [without_keys(each, *names) for each in state] if isinstance(state, list) else state


def changes(report: DspyReport, effect: str) -> list[str]:
    return [f"{m.path}.{c.where}: {c.detail}" for m in report.matches for c in m.changes if c.effect == effect]


def lone_state(**values: Any) -> dict[str, Any]:
    """A state of `question -> answer` by DSPy, with some entries exchanged."""
    return {**saved("lone_predict"), **values}


# --- there and back ---


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_state_comes_back_as_it_was(name: str) -> None:
    program = PROGRAMS[name]()
    program.load_dspy_state(state_file(name))
    assert program.dump_dspy_state() == without_keys(saved(name), "api_key")


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_comes_back_can_be_loaded_again_to_the_same_effect(name: str) -> None:
    first, second = PROGRAMS[name](), PROGRAMS[name]()
    first.load_dspy_state(state_file(name))
    second.load_dspy_state(json.loads(json.dumps(first.dump_dspy_state())))
    assert [p.parameters for p in first.predictors().values()] == [
        p.parameters for p in second.predictors().values()
    ]
    assert [p.compiled.fingerprint for p in first.predictors().values()] == [
        p.compiled.fingerprint for p in second.predictors().values()
    ]


@pytest.mark.parametrize("name", PROGRAMS)
def test_parameters_that_went_through_the_store_still_give_the_state(name: str) -> None:
    program = PROGRAMS[name]()
    program.load_dspy_state(state_file(name))
    for predict in program.predictors().values():
        stored = VersionedParameters(parameters=predict.parameters).model_dump_json()
        predict.parameters = VersionedParameters.model_validate_json(stored).parameters
    assert program.dump_dspy_state() == without_keys(saved(name), "api_key")


def test_the_order_of_the_file_is_kept() -> None:
    program = Nested()
    program.load_dspy_state(state_file("nested"))
    assert list(program.dump_dspy_state()) == list(saved("nested"))


def test_a_program_never_in_dspy_gives_a_state_that_changes_nothing() -> None:
    state = Nested().dump_dspy_state()
    assert list(state) == [
        "metadata",
        "report.facts.predict",
        "report.write",
        "steps[0]",
        "steps[1].predict",
        "tools['a']",
        "tools['it's'].predict",
    ]
    report = Nested().load_dspy_state(state)
    assert (report.complete, changes(report, "taken")) == (True, [])


def test_typed_demonstrations_are_written_as_json() -> None:
    predict = Predict(
        Signature.parse("day: date -> count: int", types={"date": date}),
        demos=[{"day": date(2024, 1, 2), "count": 3}],
    )
    assert predict.dump_dspy_state()["demos"] == [{"day": "2024-01-02", "count": 3}]


def test_what_json_cannot_hold_is_refused_on_the_way_out() -> None:
    predict = Predict("a -> b", demos=[{"a": "x", "b": "y", "more": object()}])
    with pytest.raises(ConfigError, match="self: a demonstration cannot be written as JSON"):
        predict.dump_dspy_state()


def test_a_predictor_called_metadata_has_no_name_in_dspy() -> None:
    class Program(Module):
        def __init__(self) -> None:
            self.metadata = Predict("a -> b")

    with pytest.raises(ConfigError, match="can have only one entry 'metadata'"):
        Program().dump_dspy_state()


def test_keys_that_dspy_writes_alike_are_refused() -> None:
    class Program(Module):
        def __init__(self) -> None:
            self.tools = {1: Predict("a -> b"), "1": Predict("a -> b")}

    with pytest.raises(ConfigError, match=r"only one entry \"tools\['1'\]\""):
        Program().dump_dspy_state()


# --- changes after loading ---


def changed(program: Predict, **values: Any) -> dict[str, Any]:
    program.parameters = program.parameters.model_copy(update=values)
    return program.dump_dspy_state()


def test_changed_parameters_are_written_over_what_was_saved() -> None:
    program = ChainOfThought("question -> answer")
    program.load_dspy_state(state_file("labeled"))
    demos = program.parameters.demos
    new = {"question": "3?", "answer": "3"}
    state = changed(program, instructions="Do sums.", demos=(new, demos[2]))
    old = saved("labeled")["predict"]
    assert state["predict"]["signature"] == {**old["signature"], "instructions": "Do sums."}
    assert state["predict"]["demos"] == [new, old["demos"][2]]  # with its `source` and `page`


def test_equal_demonstrations_each_come_back_once() -> None:
    program = Predict("question -> answer")
    demos = [{"question": "1", "answer": "1", "n": n} for n in range(3)]
    program.load_dspy_state(lone_state(demos=demos))
    assert changed(program, demos=program.parameters.demos[:2])["demos"] == demos[:2]


def test_a_changed_temperature_goes_into_the_saved_model() -> None:
    program = Report()
    program.load_dspy_state(state_file("own_lm"))
    program.facts.parameters = program.facts.parameters.model_copy(update={"temperature": 0.2})
    assert program.dump_dspy_state()["facts.predict"]["lm"] == {
        **saved("own_lm")["facts.predict"]["lm"],
        "temperature": 0.2,
    }


def test_parameters_made_anew_keep_what_only_dspy_knows() -> None:
    program = Report()
    program.load_dspy_state(state_file("own_lm"))
    program.write.parameters = Parameters(instructions="Write.", temperature=0.0)
    written = program.dump_dspy_state()["write"]
    assert written["signature"]["instructions"] == "Write."
    assert written["lm"] == saved("own_lm")["write"]["lm"]


# --- what is taken ---


async def test_all_that_was_tuned_reaches_the_prompt() -> None:
    lm = ScriptedLM(['{"answer": "x"}'])
    program = Predict("question, kontext: list[str] -> answer", lm=lm)
    report = program.load_dspy_state(state_file("tuned_fields"))
    await program(question="Warum?", kontext=["Darum"])
    system, question, answer, _ = lm.requests[0].messages
    assert "日本語 🎻" in system.text
    assert "höchstens ein Satz" in system.text
    assert "«así»" in question.content
    assert "答え 🎻" in answer.content
    assert program.compiled.inputs[1].desc == "Fundstellen, die beste zuerst"
    assert changes(report, "kept") == ["self.signature.fields[2].prefix: answer: 'Die Antwort lautet:'"]


async def test_typed_demonstrations_are_shown_as_typed() -> None:
    program = PROGRAMS["typed"]()
    report = program.load_dspy_state(state_file("typed"))
    assert isinstance(program, Predict)
    assert report.complete
    assert program.parameters.demos[1] == {
        "letter": "Again.",
        "received": "2024-04-01",
        "kind": "reminder",
        "invoice": {"number": "A-1", "total": 12.5, "lines": []},
        "due": None,
    }
    _, question, answer, *_ = JSONAdapter().preamble(program.compiled, program.parameters.demos)
    assert "received: 2024-02-29" in question.content
    assert '"due":"2024-03-31"' in answer.content


def test_models_that_old_releases_wrote_as_text_are_read() -> None:
    program = Guide()
    program.load_dspy_state(state_file("old_2_5_43"))
    assert program.find.parameters.demos[0]["place"] == {"name": "Łódź", "population": 670642}


def test_what_dspy_says_of_itself_means_nothing_was_said() -> None:
    program = Predict(Signature.parse("question -> answer", "Be brief."))
    report = program.load_dspy_state(state_file("lone_predict"))
    assert program.parameters.instructions is None
    assert (changes(report, "taken"), report.complete, report.version) == ([], True, "3.4.1")


def test_a_chain_of_thoughts_own_words_stay() -> None:
    program = Guide()
    program.load_dspy_state(state_file("old_2_5_43"))
    assert [field.desc for field in program.answer.compiled.outputs] == ["think step by step", "one word"]
    assert program.answer.parameters.instructions == "Answer in one word."


def test_the_instructions_of_the_file_replace_others() -> None:
    program = Predict(Signature.parse("question -> answer", "Signature's."), instructions="Declared.")
    fields = saved("lone_predict")["signature"]["fields"]
    program.load_dspy_state(lone_state(signature={"instructions": "Signature's.", "fields": fields}))
    assert program.parameters.instructions == "Signature's."


def test_a_demonstration_without_inputs_is_kept_but_not_shown() -> None:
    program = Report()
    report = program.load_dspy_state(state_file("bootstrapped"))
    assert [len(each.parameters.demos) for each in program.predictors().values()] == [2, 2]
    assert "write.demos[2]: shows none of the inputs" in changes(report, "kept")
    assert report.complete  # DSPy does not show it either


def test_null_where_nothing_may_be_missing_is_not_supplied() -> None:
    program = Predict("question, hint -> answer")
    fields = [{"prefix": "A:", "description": "a"}] * 3
    state = lone_state(
        demos=[{"question": "q", "hint": None, "answer": "a"}], signature={"instructions": "I", "fields": fields}
    )
    program.load_dspy_state(state)
    assert program.parameters.demos == ({"question": "q", "answer": "a"},)


def test_a_model_is_taken_by_the_name_it_has_here() -> None:
    program = Report()
    report = program.load_dspy_state(state_file("own_lm"), lms={"openai/gpt-4.1-mini": "big"})
    assert program.facts.parameters.lm == "big"
    assert (program.facts.parameters.temperature, program.facts.parameters.max_tokens) == (0.7, 2000)
    assert program.write.parameters.lm == "default"
    assert changes(report, "left") == ["write.lm.model: anthropic/claude-haiku", "write.lm.top_p: 0.9"]
    assert not report.complete


@pytest.mark.parametrize("name", ["old_2_6_27", "old_3_0_0"])
def test_secrets_are_not_read(name: str) -> None:
    assert saved(name)["find"]["lm"]["api_key"]
    program = Guide()
    report = program.load_dspy_state(state_file(name))
    assert "sk-not-a-key" not in repr([p.parameters for p in program.predictors().values()])
    assert "sk-not-a-key" not in str(report) + str(program.dump_dspy_state())
    assert "find.lm.api_key: a secret: not read from a file" in changes(report, "left")


def test_a_demonstration_may_have_a_field_that_is_called_like_a_secret() -> None:
    program = Predict("token -> password")
    fields = [
        {"prefix": "Token:", "description": "${token}"},
        {"prefix": "Password:", "description": "${password}"},
    ]
    demo = {"token": "t", "password": "p"}
    program.load_dspy_state(lone_state(demos=[demo], signature={"instructions": "I", "fields": fields}))
    assert program.parameters.demos == (demo,)


def test_settings_of_decisions_are_reported() -> None:
    report = Predict("question -> answer").load_dspy_state(lone_state(fields={"answer": {"threshold": 0.4}}))
    assert changes(report, "left") == ["self.fields: {'answer': {'threshold': 0.4}}"]


def test_a_second_state_undoes_the_first() -> None:
    program = Predict("question -> answer", temperature=0.5)
    declared = program.compiled.fingerprint
    signature = {
        "instructions": "First.",
        "fields": [{"prefix": "Q:", "description": "a question"}, {"prefix": "A:", "description": "an answer"}],
    }
    lm = {"model": "openai/x", "temperature": 1.0, "max_tokens": 9}
    program.load_dspy_state(lone_state(signature=signature, lm=lm))
    assert program.compiled.fingerprint != declared
    program.load_dspy_state(state_file("lone_predict"))
    assert program.compiled.fingerprint == declared
    assert program.parameters == Parameters(temperature=0.5, dspy=without_keys(saved("lone_predict"), "metadata"))


# --- matching ---


def by(report: DspyReport) -> list[tuple[str, str, str]]:
    return [(match.dspy_path, match.path, match.how) for match in report.matches]


def test_predictors_are_matched_by_name() -> None:
    assert by(Nested().load_dspy_state(state_file("nested"))) == [
        ("report.facts.predict", "report.facts", "name"),
        ("report.write", "report.write", "name"),
        ("steps[0]", "steps[0]", "name"),
        ("steps[1].predict", "steps[1]", "name"),
        ("tools['a']", "tools['a']", "name"),
        ("tools['it's'].predict", 'tools["it\'s"]', "name"),
    ]
    assert by(Guide().load_dspy_state(state_file("old_2_5_43"))) == [
        ("find", "find", "name"),
        ("answer", "answer", "name"),
    ]


class Renamed(Module):
    def __init__(self, first: str = "document -> facts: list[str]") -> None:
        self.collect = ChainOfThought(first)
        self.write = Predict("facts: list[str] -> report")


def test_a_renamed_predictor_is_matched_by_position() -> None:
    program = Renamed()
    report = program.load_dspy_state(state_file("bootstrapped"))
    assert by(report) == [("facts.predict", "collect", "position"), ("write", "write", "name")]
    assert program.dump_dspy_state() == saved("bootstrapped")


def test_a_lone_predict_fits_the_one_predictor_of_a_program() -> None:
    class Program(Module):
        def __init__(self) -> None:
            self.ask = Predict("question -> answer")

    program = Program()
    assert by(program.load_dspy_state(state_file("lone_predict"))) == [("self", "ask", "position")]
    assert program.dump_dspy_state() == saved("lone_predict")


@pytest.mark.parametrize("first", ["letter -> facts: list[str]", "document, more -> facts"])
def test_position_is_not_enough_where_the_fields_differ(first: str) -> None:
    with pytest.raises(ConfigError, match=r"facts\.predict: not in the program"):
        Renamed(first).load_dspy_state(state_file("bootstrapped"))


def test_unmatched_predictors_are_reported_and_come_back() -> None:
    program = Renamed("letter -> facts: list[str]")
    declared = program.collect.parameters
    report = program.load_dspy_state(state_file("bootstrapped"), strict=False)
    assert (report.unmatched_dspy, report.unmatched, report.complete) == (("facts.predict",), ("collect",), False)
    assert program.collect.parameters is declared
    state = program.dump_dspy_state()
    assert state.pop("collect.predict")["demos"] == []
    assert state == saved("bootstrapped")


def test_a_program_with_more_predictors_is_refused() -> None:
    class Program(Report):
        def __init__(self) -> None:
            super().__init__()
            self.check = Predict("report -> verdict")

    with pytest.raises(ConfigError, match=r"check: not in the state, which has facts\.predict, write"):
        Program().load_dspy_state(state_file("bootstrapped"))


def test_a_state_of_another_program_is_refused_even_leniently() -> None:
    with pytest.raises(
        ConfigError, match=r"none of its predictors \(facts.predict, write\) is in the program \(self\)"
    ):
        Predict("a -> b").load_dspy_state(state_file("bootstrapped"), strict=False)


def test_a_predict_is_no_chain_of_thought() -> None:
    program = Predict("question -> answer")
    with pytest.raises(ConfigError, match=r"self\.signature\.fields \(for self\): 1 fields") as refused:
        program.load_dspy_state(
            lone_state(signature={"instructions": "I", "fields": [{"prefix": "a", "description": "b"}]})
        )
    assert "same fields" in str(refused.value.hint)


# --- refusals ---


def test_a_demonstration_of_the_wrong_type_is_refused_and_nothing_is_applied() -> None:
    program = Nested()
    before = {path: predict.parameters for path, predict in program.predictors().items()}
    state = saved("nested")
    state["tools['it's'].predict"]["demos"][0]["y"] = "two"
    with pytest.raises(ConfigError) as refused:
        program.load_dspy_state(state)
    assert "tools['it's'].predict.demos[0].y" in refused.value.message
    assert "'two'" in refused.value.message
    assert "strict=False" in str(refused.value.hint)
    assert all(predict.parameters is before[path] for path, predict in program.predictors().items())
    assert program.dump_dspy_state()["metadata"] == {"dependency_versions": {}}


def test_a_refused_state_leaves_the_one_before_in_effect() -> None:
    program = Predict("question, kontext: list[str] -> answer")
    program.load_dspy_state(state_file("tuned_fields"))
    fingerprint, parameters = program.compiled.fingerprint, program.parameters
    with pytest.raises(ConfigError):
        program.load_dspy_state(state_file("nested"))
    assert (program.compiled.fingerprint, program.parameters) == (fingerprint, parameters)
    assert program.dump_dspy_state() == saved("tuned_fields")


def test_leniently_a_wrong_demonstration_is_skipped_and_comes_back() -> None:
    program = Nested()
    state = saved("nested")
    demos = state["tools['it's'].predict"]["demos"]
    demos.append({"x": "three", "y": "three", "reasoning": "It is three."})
    report = program.load_dspy_state(state, strict=False)
    assert [demo["y"] for demo in program.tools["it's"].parameters.demos] == [2]
    (skipped,) = changes(report, "skipped")
    assert "demos[1].y: does not fit int" in skipped
    assert not report.complete
    assert program.dump_dspy_state() == state


WRONG: dict[str, tuple[Mapping[str, Any], str]] = {
    "demos no list": ({"x": lone_state(demos={"a": 1})}, r"x\.demos = \{'a': 1\}"),
    "demo no object": (lone_state(demos=["x"]), r"demos\[0\] = 'x'"),
    "demo as pairs": (lone_state(demos=[[["question", "q"]]]), r"demos\[0\] = \[\["),
    "instructions a number": (
        lone_state(signature={"instructions": 3, "fields": []}),
        r"signature\.instructions = 3: ",
    ),
    "instructions missing": (lone_state(signature={"fields": []}), r"signature\.instructions"),
    "fields no list": (lone_state(signature={"instructions": "I", "fields": "f"}), r"signature\.fields = 'f'"),
    "description a list": (
        lone_state(signature={"instructions": "I", "fields": [{"prefix": "p", "description": []}]}),
        r"signature\.fields\[0\]\.description = \[\]",
    ),
    "lm a name": (lone_state(lm="openai/x"), "lm = 'openai/x'"),
    "lm without model": (lone_state(lm={"temperature": 1}), r"lm\.model"),
    "temperature in words": (lone_state(lm={"model": "m", "temperature": "hot"}), r"lm\.temperature = 'hot'"),
    "temperature below 0": (lone_state(lm={"model": "m", "temperature": -1}), r"lm\.temperature = -1"),
    "no tokens": (lone_state(lm={"model": "m", "max_tokens": 0}), r"lm\.max_tokens = 0"),
    "traces no list": (lone_state(traces=1), "traces = 1"),
    "not finite": (lone_state(lm={"model": "m", "temperature": float("inf")}), r"lm\.temperature = inf"),
    "surrogate": (lone_state(demos=[{"question": "\ud800", "answer": "a"}]), r"demos\[0\]\.question = "),
    "surrogate in a key": (lone_state(demos=[{"\ud800": "a"}]), r"demos\[0\] = "),
    "key no text": ({1: {}}, "state = 1: expected text"),  # type: ignore[dict-item]  # the mistake under test
    "not JSON": (
        lone_state(demos=[{"question": {1, 2}, "answer": "a"}]),
        r"demos\[0\]\.question = \{1, 2\}: .* set",
    ),
    "entry no object": ({"a": 3}, "state: a = 3"),
    "no signature": ({"a": {"demos": []}}, "a has no `signature`"),
    "metadata no object": (lone_state(metadata=[]), r"metadata = \[\]"),
    "version a number": (
        lone_state(metadata={"dependency_versions": {"dspy": 3}}),
        r"metadata\.dependency_versions\.dspy = 3",
    ),
    "nothing": ({}, "has no predictor"),
    "metadata alone": ({"metadata": saved("lone_predict")["metadata"]}, "has no predictor"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_state_that_is_none_is_refused(case: str) -> None:
    state, message = WRONG[case]
    with pytest.raises(ConfigError, match=message) as refused:
        Predict("question -> answer").load_dspy_state(state)
    assert refused.value.hint
    str(refused.value).encode()  # can be shown


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not JSON"),
    "cut off": (b'{"demos": [', "is not JSON"),
    "a list": (b"[]", r"= \[\]: expected an object"),
    "a number": (b"3", "= 3: expected an object"),
    "NaN": (b'{"demos": NaN}', "NaN is no number"),
    "too large a number": (b'{"a": {"lm": 1e999}}', r"a\.lm = inf"),
    "not UTF-8": (b'{"a": "\xff"}', "is not JSON: 'utf-8'"),
    "a pickle": (b"\x80\x04\x95\x0b\x00", "is not JSON"),
    "a surrogate": (b'{"a": {"demos": [{"x": "\\ud800"}]}}', r"a\.demos\[0\]\.x = .*surrogate"),
    "deep": (b'{"a":' + b"[" * 150 + b"]" * 150 + b"}", "nested deeper than 100 levels"),
    "very deep": (b"[" * 200_000, "nested too deeply"),
    "a very long number": (b'{"a": ' + b"1" * 5000 + b"}", "is not JSON: Exceeds the limit"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_state_is_refused(case: str, tmp_path: Path) -> None:
    content, message = FILES[case]
    path = tmp_path / "state.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as refused:
        Report().load_dspy_state(path)
    assert str(path) in refused.value.message
    assert refused.value.hint


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    def refused(path: str | Path) -> str:
        with pytest.raises(ConfigError) as error:
            Report().load_dspy_state(path)
        return str(error.value)

    assert "no such file" in refused(tmp_path / "none.json")
    pickled = tmp_path / "state.pkl"
    pickled.write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    assert "none is ever loaded" in refused(str(pickled))
    assert "no pickle is ever loaded" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe.json")
    assert "no such file" in refused(tmp_path / "pipe.json")


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    with pytest.raises(ConfigError, match="has more than 64 MiB"):
        Report().load_dspy_state(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
PLACES = st.sampled_from(
    [
        ("demos",),
        ("demos", 0),
        ("demos", 0, "question"),
        ("signature",),
        ("signature", "instructions"),
        ("signature", "fields"),
        ("signature", "fields", 0),
        ("signature", "fields", 1, "description"),
        ("lm",),
        ("lm", "model"),
        ("lm", "temperature"),
        ("lm", "stop"),
        ("traces",),
        ("metadata",),
        ("extended_signature",),
        ("fields",),
    ]
)


@given(place=PLACES, value=JSON, strict=st.booleans())
def test_whatever_stands_anywhere_is_taken_losslessly_or_refused(
    place: tuple[str | int, ...], value: Any, strict: bool
) -> None:
    state: Any = lone_state(demos=[{"question": "q", "answer": "a"}], lm={"model": "openai/x"})
    state = copy.deepcopy(state)
    holder: Any = state
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value
    program = Predict("question -> answer")
    parameters = program.parameters
    try:
        report = program.load_dspy_state(state, strict=strict)
    except ConfigError:
        assert program.parameters is parameters
        return
    assert str(report)
    assert program.dump_dspy_state() == without_keys(state, "api_key", "token", "secret")
    assert JSONAdapter().preamble(program.compiled, program.parameters.demos)
    Parameters.model_validate_json(program.parameters.model_dump_json())


# --- on a runtime ---


async def test_a_runtime_asks_with_what_was_loaded_where_it_had_stored_what_was_declared(tmp_path: Path) -> None:
    async def asked(program: Predict) -> tuple[str, int]:
        """The system message, and the version of the parameters."""
        lm = ScriptedLM(['{"answer": "x"}'])
        async with Runtime(lm=lm, store=tmp_path / "store.db") as runtime:
            deployment = await runtime.start(program, name="qa")
            prediction = await deployment(question="Warum?", kontext=[])
            return lm.requests[0].messages[0].text, prediction.parameters_version

    plain, tuned = (Predict("question, kontext: list[str] -> answer") for _ in range(2))
    tuned.load_dspy_state(state_file("tuned_fields"))
    before, after, again = await asked(plain), await asked(tuned), await asked(tuned)
    assert ("höchstens ein Satz" in before[0], before[1]) == (False, 1)
    assert ("höchstens ein Satz" in after[0], "Antworte präzise." in after[0], after[1]) == (True, True, 2)
    assert again == after


def test_the_report_reads_as_text() -> None:
    report = DspyReport("x.json", None, (DspyMatch("a.predict", "a", "name", ()),), ("b",), ("c",))
    assert str(report).splitlines() == [
        "x.json, written by DSPy of an unknown version",
        "a.predict -> a (by name)",
        "b: the program has no such predictor",
        "c: not in the state",
    ]


def test_a_reasoning_by_its_old_name_is_one() -> None:
    program = ChainOfThought("question -> answer")
    fields = [
        {"prefix": "Question:", "description": "${question}"},
        {"prefix": "Reasoning: Let's think step by step in order to", "description": "${rationale}"},
        {"prefix": "Answer:", "description": "${answer}"},
    ]
    state = {"self": {"demos": [], "signature": {"instructions": "I", "fields": fields}}}
    assert program.load_dspy_state(state).complete
    assert program.dump_dspy_state() == state


def test_a_predictor_is_redefined_as_a_whole_or_not_at_all() -> None:
    program = Predict("question -> answer", demos=[{"question": "q", "answer": "a"}])
    before, parameters = program.messages({"question": "x"}), program.parameters
    with pytest.raises(SignatureError):
        program.redefine(program.signature.append("bad", OutputField(ge=3), str))
    assert program.messages({"question": "x"}) == before
    program.redefine(program.signature.append("score", OutputField(), float))
    assert "score" in program.messages({"question": "x"})[0].content
    assert program.parameters is parameters


@pytest.mark.parametrize("digits", [30, 400, 5000])
def test_integers_that_dspy_cannot_write_are_refused(digits: int) -> None:
    state = lone_state(lm={"model": "openai/x", "max_tokens": 10**digits})
    with pytest.raises(ConfigError, match=r"lm\.max_tokens.*an integer of \d+ bits: DSPy writes up to 64"):
        Predict("question -> answer").load_dspy_state(state)


def test_names_from_a_file_are_shown_cut() -> None:
    long = "n" * 1_000_000
    demos = [{"question": "q", "answer": "a", long: 1}]
    state = lone_state(demos=demos, lm={"model": long, long: 1}, **{long: [1]})
    program = Predict("question -> answer")
    assert len(str(program.load_dspy_state(state))) < 2_000
    assert program.dump_dspy_state() == state
    for unfit in (
        {long: {"demos": 3}},
        {long: lone_state(), "self": {}},
        {f"{long}{n}": lone_state() for n in range(9)},
    ):
        with pytest.raises(ConfigError) as refused:
            program.load_dspy_state(unfit)
        assert len(str(refused.value)) < 2_000


def test_many_demonstrations_with_keys_of_their_own_are_counted_once() -> None:
    demos = [{"question": "q", "answer": "a", f"key_{number}": 1} for number in range(3_000)]
    report = Predict("question -> answer").load_dspy_state(lone_state(demos=demos))
    assert sum(change.where.startswith("demos[].key_") for change in report.matches[0].changes) == 3_000
