"""Tracing: the calls a program would make, found by running its code without a model."""

import asyncio
import contextvars
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import repertory as rp
from repertory.errors import ProgramError
from repertory.modules.graph import Constant, Graph, Link, Several
from repertory.modules.pending import Attribute, Key, Pending
from repertory.testing import ScriptedLM

Forward = Callable[..., Awaitable[Any]]


class Report(rp.Module):
    def __init__(self) -> None:
        self.facts = rp.ChainOfThought("document -> facts: list[str]")
        self.risks = rp.Predict("document -> risks: list[str]")
        self.write = rp.Predict("facts: list[str], risks: list[str] -> report: str")

    async def forward(self, document: str) -> rp.Prediction:
        facts = self.facts(document=document)
        risks = self.risks(document=document)
        return await self.write(facts=facts.facts, risks=risks.risks)


def program(forward: Forward, **members: Any) -> rp.Module:
    """A program with these members and this forward."""
    kind = type("Program", (rp.Module,), {"forward": forward})
    made: rp.Module = kind()
    vars(made).update(members or {"ask": rp.Predict("text -> answer, parts: list[str]")})
    return made


def edges(graph: Graph) -> list[str]:
    return [f"{edge.source} -> {edge.target or 'out'}.{edge.input}" for edge in graph.edges()]


REPORT = [
    "document -> facts.document",
    "document -> risks.document",
    "facts.facts -> write.facts",
    "risks.risks -> write.risks",
    "write.report -> out.report",
]


def test_straight_line_code_is_a_graph() -> None:
    graph = Graph.trace(Report())
    assert graph.name == "Report"
    assert edges(graph) == REPORT
    assert [(node.path, node.module) for node in graph.nodes] == [
        ("facts", "ChainOfThought"),
        ("risks", "Predict"),
        ("write", "Predict"),
    ]
    assert graph.levels() == (("facts", "risks"), ("write",))
    assert graph.critical_path() == ("facts", "write")
    assert graph.critical_path({"risks": 2.5}) == ("risks", "write")


@pytest.mark.parametrize("weights", [{"fact": 1.0}, {"facts": -1.0}, {"facts": float("nan")}])
def test_weights_are_of_nodes_there_are(weights: dict[str, float]) -> None:
    with pytest.raises(ProgramError, match="critical_path"):
        Graph.trace(Report()).critical_path(weights)


async def one_after_the_other(self: Any, document: str) -> rp.Prediction:
    facts = await self.facts(document=document)
    risks = await self.risks(document=document)
    written: rp.Prediction = await self.write(facts=facts.facts, risks=await risks_of(risks))
    return rp.Prediction(report=written.report)


async def risks_of(prediction: Any) -> Any:
    return prediction["risks"]


async def gathered(self: Any, document: str) -> Any:
    facts, risks = await asyncio.gather(self.facts(document=document), self.risks(document=document))
    return self.write(facts=facts.facts, risks=risks.risks)


async def gathered_here(self: Any, document: str) -> Any:
    facts = self.facts(document=document)
    found, risks = await rp.gather(facts.facts, self.risks(document=document))
    return self.write(facts=found, risks=risks.risks)


async def in_a_task_group(self: Any, document: str) -> Any:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        facts = group.create_task(self.facts(document=document))
        risks = group.create_task(self.risks(document=document))
    await asyncio.sleep(0)
    return self.write(facts=facts.result().facts, risks=risks.result().risks)


@pytest.mark.parametrize("forward", [one_after_the_other, gathered, gathered_here, in_a_task_group])
def test_however_it_waits_for_them_the_graph_is_the_same(forward: Forward) -> None:
    assert edges(Graph.trace(program(forward, **vars(Report())))) == REPORT


def test_modules_with_a_forward_of_their_own_are_expanded() -> None:
    async def forward(self: Any, text: str) -> rp.Prediction:
        report = self.inner(document=text)
        first = await report
        title = self.title(report=report.report)
        return rp.Prediction(title=title.title, report=first.report)

    graph = Graph.trace(program(forward, inner=Report(), title=rp.Predict("report -> title")))
    assert [node.name for node in graph.nodes] == ["inner.facts", "inner.risks", "inner.write", "title"]
    assert edges(graph)[-3:] == [
        "inner.write.report -> title.report",
        "title.title -> out.title",
        "inner.write.report -> out.report",
    ]
    assert graph.levels() == (("inner.facts", "inner.risks"), ("inner.write",), ("title",))


def test_a_predictor_called_again_is_another_node() -> None:
    async def forward(self: Any, text: str) -> Any:
        for _ in range(3):
            text = self.ask(text=text).answer
        return rp.Prediction(answer=text)

    graph = Graph.trace(program(forward))
    assert [(node.name, node.path) for node in graph.nodes] == [
        ("ask", "ask"),
        ("ask#2", "ask"),
        ("ask#3", "ask"),
    ]
    assert graph.critical_path({"ask": 2}) == ("ask", "ask#2", "ask#3")


def test_lists_of_modules_and_of_references() -> None:
    async def forward(self: Any, text: str) -> Any:
        answers = [step(text=text) for step in self.steps]
        return self.join(texts=[each.answer for each in answers], how={"by": text, "n": 3})

    steps = [rp.Predict("text -> answer"), rp.Predict("text -> answer")]
    join = rp.Predict("texts: list[str], how: dict -> answer")
    graph = Graph.trace(program(forward, steps=steps, join=join))
    assert graph["join"].inputs == {
        "texts": Several(list, ((0, Link("steps[0]", (Key("answer"),))), (1, Link("steps[1]", (Key("answer"),))))),
        "how": Several(dict, (("by", Link(None, (Key("text"),))), ("n", Constant(3)))),
    }


def test_what_is_inside_of_a_field_is_told_by_its_path() -> None:
    async def forward(self: Any, text: Any) -> Any:
        return rp.Prediction(first=self.ask(text=text.title["de"]).thing[0].name)

    graph = Graph.trace(program(forward, ask=rp.Predict("text -> thing: Any")))
    assert graph["ask"].inputs["text"] == Link(None, (Key("text"), Attribute("title"), Key("de")))
    assert edges(graph) == ["text.title['de'] -> ask.text", "ask.thing[0].name -> out.first"]


def test_a_predictor_alone_is_a_graph_of_one_node() -> None:
    graph = Graph.trace(rp.Predict("a, b: int -> c"))
    assert edges(graph) == ["a -> self.a", "b -> self.b", "self.c -> out.c"]


def test_inputs_by_which_a_program_decides_can_be_given() -> None:
    async def forward(self: Any, text: str, times: int = 1) -> Any:
        for _ in range(times):
            text = self.ask(text=text).answer
        return rp.Prediction(answer=text)

    with pytest.raises(ProgramError, match=r"test_tracing.py:\d+ uses the value of its input 'times'") as refused:
        Graph.trace(program(forward))
    assert "Graph.trace(program, times=...)" in str(refused.value)
    assert len(Graph.trace(program(forward), times=4).nodes) == 4
    with pytest.raises(ProgramError, match="has no input 'time'"):
        Graph.trace(program(forward), time=4)


async def decides(self: Any, text: str) -> Any:
    if self.ask(text=text).answer == "yes":  # here
        return self.ask(text=text)


async def decides_after_awaiting(self: Any, text: str) -> Any:
    answer = await self.ask(text=text)
    for item in answer.parts:  # here
        text = self.ask(text=item).answer


async def sleeps(self: Any, text: str) -> Any:
    await asyncio.gather(self.ask(text=text), asyncio.sleep(0.001))  # here


async def waits_in_a_thread(self: Any, text: str) -> Any:
    await asyncio.to_thread(len, text)  # here


async def connects(self: Any, text: str) -> Any:
    await asyncio.open_connection("127.0.0.1", 9)  # here


async def waits_for_nothing(self: Any, text: str) -> Any:
    await asyncio.Event().wait()  # here


async def calculates(self: Any, text: str) -> Any:
    return self.ask(text=1 - self.ask(text=text).answer)  # here


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (decides, "uses the value of ask.answer"),
        (decides_after_awaiting, "uses the value of ask.parts"),
        (sleeps, "waits for something that no module gives"),
        (waits_in_a_thread, "waits for what is outside (run_in_executor)"),
        (connects, "waits for what is outside (create_connection)"),
        (waits_for_nothing, "waits for something that no module gives"),
        (calculates, "uses the value of ask.answer"),
    ],
)
def test_what_cannot_be_traced_is_told_with_its_place(forward: Forward, reason: str) -> None:
    with pytest.raises(ProgramError) as refused:
        Graph.trace(program(forward))
    assert reason in refused.value.message
    assert refused.value.hint
    found = re.search(r"(\S+\.py):(\d+) ", refused.value.message)
    assert found is not None
    assert "# here" in Path(found[1]).read_text().splitlines()[int(found[2]) - 1]


async def never_ends(self: Any, text: str) -> Any:
    while True:
        text = (await self.ask(text=text)).answer


async def never_ends_quietly(self: Any, text: str) -> Any:
    while True:  # noqa: ASYNC110  # the mistake in question
        await asyncio.sleep(0)


@pytest.mark.parametrize("forward", [never_ends, never_ends_quietly])
def test_a_program_that_does_not_end_is_given_up(forward: Forward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repertory.modules.graph.tracing.MOST_NODES", 100)
    monkeypatch.setattr("repertory.modules.graph.still_loop.MOST_TURNS", 1000)
    with pytest.raises(ProgramError, match="it has not ended after"):
        Graph.trace(program(forward))


def test_what_forward_returns_must_be_a_prediction() -> None:
    async def forward(self: Any, text: str) -> Any:
        return {"answer": self.ask(text=text).answer}

    with pytest.raises(ProgramError, match="forward returned dict"):
        Graph.trace(program(forward))


def test_a_prediction_of_before_is_no_part_of_the_graph() -> None:
    before = rp.Predict("text -> answer")(text="a")

    async def forward(self: Any, text: str) -> Any:
        return self.ask(text=before.answer)

    with pytest.raises(ProgramError, match="asked before the program was traced"):
        Graph.trace(program(forward))
    before.close()


async def test_tracing_leaves_the_loop_and_the_context_it_is_called_in_alone() -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    graph = Graph.trace(Report())
    assert len(graph.nodes) == 3
    assert (asyncio.get_running_loop(), asyncio.current_task()) == (loop, task)
    facts = rp.Predict("a -> b", lm=ScriptedLM(lambda _: '{"b": "x"}'))(a="y")
    assert (await facts).b == "x"


def test_context_variables_are_seen_and_what_is_set_stays_inside() -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    async def forward(self: Any, text: str) -> Any:
        seen = variable.get()
        variable.set("inside")
        return self.ask(text=[text, seen])

    variable.set("given")
    graph = Graph.trace(program(forward))
    assert graph["ask"].inputs["text"] == Several(list, ((0, Link(None, (Key("text"),))), (1, Constant("given"))))
    assert variable.get() == "given"


def test_tasks_that_forward_leaves_behind_end_with_the_trace() -> None:
    ended = []

    async def forward(self: Any, text: str) -> Any:
        async def lingers() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)

        self.left = asyncio.ensure_future(lingers())
        return await self.ask(text=text)

    Graph.trace(program(forward))
    assert ended == [True]


def test_a_whole_prediction_handed_on_is_seen() -> None:
    async def forward(self: Any, text: str) -> Any:
        first: Pending = self.ask(text=text)
        return self.ask(text=first)

    graph = Graph.trace(program(forward))
    assert graph["ask#2"].inputs["text"] == Link("ask", ())
