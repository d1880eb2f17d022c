"""Drawings of graphs: whole, escaped, and without anything from elsewhere."""

import re
from typing import Any
from xml.etree import ElementTree

import repertory as rp
from repertory.modules.graph import Graph
from repertory.modules.graph.drawing import LONGEST, cut
from tests.modules.graph.test_tracing import Report, program

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '<script>alert("x")</script>&\x1b[31m'


def hostile() -> Graph:
    async def forward(self: Any, text: str) -> Any:
        return rp.Prediction(answer=self.by_name[HOSTILE](text=text).answer)

    return Graph.trace(program(forward, by_name={HOSTILE: rp.Predict("text -> answer")}))


def test_a_mermaid_flowchart() -> None:
    assert Graph.trace(Report()).mermaid() == (
        "flowchart TD\n"
        '    i0(["document"])\n'
        '    n1["facts<br/>ChainOfThought"]\n'
        '    n2["risks<br/>Predict"]\n'
        '    n3["write<br/>Predict"]\n'
        '    o4(["report"])\n'
        "    i0 --> n1\n"
        "    i0 --> n2\n"
        '    n1 -->|"facts"| n3\n'
        '    n2 -->|"risks"| n3\n'
        "    n3 --> o4\n"
    )


def test_what_means_something_to_mermaid_is_escaped() -> None:
    drawn = hostile().mermaid()
    for text in re.findall(r'"([^\n]*)"', drawn.replace("<br/>", "")):
        assert not set(text) & set('<>"&`\x1b')


def test_an_svg_has_a_title_and_a_description_and_every_name() -> None:
    root = ElementTree.fromstring(Graph.trace(Report()).svg())
    assert root.findtext(f"{SVG}title") == "Report"
    assert root.findtext(f"{SVG}desc") == "3 calls. facts, risks; then write."
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert {"document", "facts", "risks", "write", "report", "ChainOfThought"} <= set(texts)
    assert len(root.findall(f"{SVG}path")) == 5


def test_an_svg_refers_to_nothing_elsewhere_and_runs_nothing() -> None:
    drawn = hostile().svg()
    root = ElementTree.fromstring(drawn)
    assert not [each for each in root.iter() if each.tag in (f"{SVG}script", f"{SVG}image", f"{SVG}a")]
    assert re.findall(r"https?://[^\"]*", drawn) == ["http://www.w3.org/2000/svg"]
    assert "\x1b" not in drawn


def test_what_is_drawn_is_within_the_picture() -> None:
    root = ElementTree.fromstring(Graph.trace(Report()).svg())
    width, height = (float(root.attrib[each]) for each in ("width", "height"))
    for box in root.iter(f"{SVG}rect"):
        if "class" in box.attrib:
            x, y, wide, high = (float(box.attrib[each]) for each in ("x", "y", "width", "height"))
            assert 0 <= x <= width - wide
            assert 0 <= y <= height - high


def test_long_labels_are_cut_in_the_middle() -> None:
    assert cut("steps[0].write") == "steps[0].write"
    shorter = cut("a_very_long_name_of_a_module.with_another_long_name")
    assert len(shorter) == LONGEST
    assert shorter == "a_very_long_name_of_a…_long_name"
    assert cut("two\nlines") == "two lines"


def test_values_between_the_same_two_go_along_one_line() -> None:
    async def forward(self: Any, text: str) -> Any:
        first = self.first(text=text)
        return self.second(a=first.a, other=first.b)

    members = {"first": rp.Predict("text -> a, b"), "second": rp.Predict("a, other -> answer")}
    assert '-->|"a, b as other"|' in Graph.trace(program(forward, **members)).mermaid()
