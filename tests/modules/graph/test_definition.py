"""Programs written as a graph in a file: they run like any other, and mistakes are told with their place."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import repertory as rp
from repertory.errors import ConfigError
from repertory.modules.graph import Constant, Graph, Link, Several
from repertory.modules.graph.definition import graph_program, load_graph_program
from repertory.modules.graph.written import read_value
from repertory.modules.pending import Attribute, Key
from repertory.providers.messages import LMRequest
from repertory.runtime.loading import load_program
from repertory.signatures import compile_signature
from repertory.testing import ScriptedLM

TOML = """
inputs = "document, length: int = 100"
on_failure = "threshold(2)"

[nodes.write]
signature = "facts: list[str], first, length: int, style -> report"
temperature = 0.5
inputs = { facts = "facts.facts", first = "facts.facts[0]", length = "length", style = { value = "plain" } }

[nodes.facts]
module = "chain_of_thought"
signature = "document -> facts: list[str]"
instructions = "List the facts."
demos = [{ document = "It rains.", facts = ["rain"] }]
lm = "small"
inputs = { document = "document" }

[outputs]
report = "write.report"
all = ["facts.facts[0]", "write.report"]
"""

YAML = """
inputs: document
nodes:
  ask:
    signature: document -> answer
    inputs:
      document: document
outputs:
  answer: ask.answer
"""


def written(path: Path, text: str, name: str = "report.toml") -> Path:
    path = path / name
    path.write_text(text)
    return path


def answers(request: LMRequest) -> str:
    if "reasoning" in request.messages[0].text:
        return json.dumps({"reasoning": "I read it.", "facts": ["a", "b"]})
    return json.dumps({"report": re.sub(r"\s+", " ", request.messages[-1].text)})


def test_the_definition_is_the_graph_that_its_program_traces_to(tmp_path: Path) -> None:
    program = load_graph_program(written(tmp_path, TOML))
    traced = Graph.trace(program)
    assert (traced.name, traced.nodes, traced.outputs) == ("report", program.graph.nodes, program.graph.outputs)
    assert [node.name for node in program.graph.nodes] == ["facts", "write"]
    assert program.graph.levels() == (("facts",), ("write",))
    assert program.on_failure == "threshold(2)"
    assert list(program.predictors()) == ["write", "facts"]


def test_nodes_take_what_predictors_take(tmp_path: Path) -> None:
    program = load_graph_program(written(tmp_path, TOML))
    facts, write = program.predictors()["facts"], program.predictors()["write"]
    assert isinstance(facts, rp.ChainOfThought)
    assert (facts.parameters.instructions, facts.parameters.lm) == ("List the facts.", "small")
    assert facts.parameters.demos == ({"document": "It rains.", "facts": ["rain"]},)
    assert (write.parameters.temperature, write.parameters.lm) == (0.5, "default")


async def test_it_runs_on_a_runtime(tmp_path: Path) -> None:
    program = load_program(str(written(tmp_path, TOML)))
    lm = ScriptedLM(answers)
    async with rp.Runtime(lm={"default": lm, "small": lm}, store=None) as runtime:
        deployment = await runtime.start(program)
        assert deployment.name == "report"
        prediction = await deployment(document="It is dry.")
    assert re.search(r"100 .*plain", prediction.report)
    assert prediction["all"] == ["a", prediction.report]
    assert prediction.lm_calls == 2


def test_the_definition_in_the_documentation_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/graphs.md").read_text()
    (text,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    program = load_graph_program(written(tmp_path, text))
    assert program.graph.levels() == (("facts",), ("write",))


async def test_it_runs_outside_of_one() -> None:
    definition = {
        "inputs": "question",
        "nodes": {"ask": {"signature": "question -> answer", "inputs": {"question": "question"}}},
        "outputs": {"answer": "ask.answer"},
    }
    program = graph_program(definition, source="here", name="ask it")
    program.predictors()["ask"].lm = ScriptedLM(['{"answer": "x"}'])
    assert (await program(question="y")).answer == "x"
    assert program.signature.__name__ == "ask_it"


def test_its_inputs_and_outputs_are_those_of_a_signature(tmp_path: Path) -> None:
    signature = load_graph_program(written(tmp_path, TOML)).signature
    assert str(signature) == "document: str, length: int = 100 -> report: str, all: list"
    assert compile_signature(signature).validate_inputs({"document": "a"}) == {"document": "a", "length": 100}


def test_other_calls_are_another_program(tmp_path: Path) -> None:
    one = load_graph_program(written(tmp_path, TOML))
    other = load_graph_program(written(tmp_path, TOML.replace("facts.facts[0]", "facts.facts[1]")))
    fingerprints = {compile_signature(each.signature).fingerprint for each in (one, other)}
    assert len(fingerprints) == 2
    assert "write = Predict(facts=facts.facts, first=facts.facts[0]," in one.signature.instructions


def test_yaml_says_the_same(tmp_path: Path) -> None:
    program = load_program(str(written(tmp_path, YAML, "ask.yaml")))
    assert [node.name for node in Graph.trace(program).nodes] == ["ask"]


def test_without_a_yaml_library_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError, match=r"repertory\[yaml\]"):
        load_program(str(written(tmp_path, YAML, "ask.yml")))


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (
            "facts.facts[0]",
            "fact.facts",
            "nodes.write.inputs.first: 'fact.facts' leads to neither an input nor a node",
        ),
        ('"facts.facts",', '"facts.fcts",', "nodes.write.inputs.facts = 'facts.fcts': facts has no 'fcts'"),
        ('"facts.facts",', '"facts",', "nodes.write.inputs.facts = 'facts': facts is a whole prediction"),
        ('"facts.facts",', '"facts[0]",', "nodes.write.inputs.facts: 'facts[0]' names no field of facts"),
        ('"facts.facts",', '"facts.",', "nodes.write.inputs.facts: 'facts.' is no link"),
        ('"facts.facts",', '"document",', "facts = 'document': document is str, and it takes list[str]"),
        ('first = "facts.facts[0]",', "", "nodes.write.inputs.first is missing"),
        ("first =", "last = 3, first =", "nodes.write.inputs.last = 3: is not an input of it"),
        ('{ document = "document" }', '{ document = "write.report" }', "nodes: these need each other: "),
        ("[nodes.facts]", "[nodes.document]", "nodes.document: there is an input of this name"),
        ("[nodes.facts]", "[nodes.forward]", "nodes.forward: programs have a forward of their own"),
        ("[nodes.facts]", '[nodes."a b"]', "nodes.a b is no name for a node"),
        ("temperature = 0.5", "temperature = -1", "nodes.write: Predict: temperature = -1.0"),
        ("temperature = 0.5", "temprature = 1", "nodes.write.temprature is not a known setting"),
        ('"document -> facts', '"document - facts', "nodes.facts: "),
        ('module = "chain', 'module = "chains', "nodes.facts.module = 'chains_of_thought'"),
        ("threshold(2)", "threshold(0)", "on_failure = 'threshold(0)'"),
        ("length: int = 100", "length: itn = 100", "inputs = 'document, length: itn = 100': "),
        ('report = "write.report"', 'usage = "write.report"', "outputs: `usage` cannot name an output"),
        ('report = "write.report"', 'document = "write.report"', "outputs: "),
        ('report = "write.report"', 'report = "write.text"', "outputs.report = 'write.text': write has no 'text'"),
        ("[outputs]", "[output]", "outputs is missing"),
        ("[outputs]", "[outputs", "is not TOML: "),
    ],
)
def test_a_mistake_is_told_with_file_place_value_and_remedy(tmp_path: Path, was: str, now: str, told: str) -> None:
    assert was in TOML
    path = written(tmp_path, TOML.replace(was, now, 1))
    with pytest.raises(ConfigError) as refused:
        load_graph_program(path)
    assert refused.value.message.startswith(f"{path}: ")
    assert told in str(refused.value)
    assert refused.value.hint or "TOML" in told


def test_what_nothing_needs_is_refused(tmp_path: Path) -> None:
    text = TOML.replace('"facts.facts[0]"', '"document"').replace('"facts.facts"', "[]")
    text = text.replace('["document", "write.report"]', '"write.report"')
    with pytest.raises(ConfigError, match=r"nodes.facts: nothing needs what it gives"):
        load_graph_program(written(tmp_path, text))


def test_all_that_does_not_fit_is_told_at_once(tmp_path: Path) -> None:
    text = TOML.replace('"facts.facts[0]"', '"facts.facts"', 1).replace('"write.report"', '"write.text"', 1)
    with pytest.raises(ConfigError) as refused:
        load_graph_program(written(tmp_path, text))
    assert str(refused.value).count("report.toml: ") == 2


@pytest.mark.parametrize("name", ["absent.toml", ".toml", "directory.toml"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "directory.toml").mkdir()
    with pytest.raises(ConfigError, match=re.escape(name)):
        load_program(str(tmp_path / name))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("document", Link(None, (Key("document"),))),
        ("document.title", Link(None, (Key("document"), Attribute("title")))),
        ("facts.all[0].name", Link("facts", (Key("all"), 0, Attribute("name")))),
        ("facts.all[\"a b\"]['c']", Link("facts", (Key("all"), Key("a b"), Key("c")))),
        (3, Constant(3)),
        (None, Constant(None)),
        ({"value": {"value": "document"}}, Constant({"value": "document"})),
        ([1, {"a": {"value": "document"}}], Constant([1, {"a": "document"}])),
        ([1, "document"], Several(list, ((0, Constant(1)), (1, Link(None, (Key("document"),)))))),
        ({"a": "document"}, Several(dict, (("a", Link(None, (Key("document"),))),))),
    ],
)
def test_how_values_are_written(text: Any, value: Any) -> None:
    assert read_value(text, ["facts"], ["document"]) == value


@pytest.mark.parametrize("text", ["", " document", "document.", "document[", "document[-1]", "document.0", "1a"])
def test_what_is_no_link(text: str) -> None:
    with pytest.raises(ConfigError, match="is no link"):
        read_value(text, ["facts"], ["document"])
