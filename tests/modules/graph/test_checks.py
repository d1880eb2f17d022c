"""Checks of a graph: what in it cannot work is told with its place, both types and a remedy."""

from typing import Any

import pytest
from pydantic import BaseModel

import repertory as rp
from repertory.modules.graph import Graph
from repertory.modules.graph.checks import Problem
from tests.modules.graph.test_tracing import Report, program


class Item(BaseModel):
    name: str
    price: float


class Items(rp.Signature):
    text: str = rp.InputField()
    found: list[Item] = rp.OutputField()
    count: int = rp.OutputField()
    maybe: str | None = rp.OutputField()


def problems(forward: Any, use: str = "text -> answer") -> list[Problem]:
    members = {"find": rp.Predict(Items), "use": rp.Predict(use)}
    return Graph.trace(program(forward, **members)).check()


def test_a_program_that_fits_has_none() -> None:
    assert Graph.trace(Report()).check() == []


async def int_into_text(self: Any, text: str) -> Any:
    return self.use(text=self.find(text=text).count)


async def inside_of_models(self: Any, text: str) -> Any:
    return self.use(text=self.find(text=text).found[0].name)


async def misspelt_inside(self: Any, text: str) -> Any:
    return self.use(text=self.find(text=text).found[0].nam)


async def price_into_text(self: Any, text: str) -> Any:
    return self.use(text=self.find(text=text).found[0].price)


async def misspelt(self: Any, text: str) -> Any:
    return self.use(text=self.find(text=text).cuont)


async def nothing_given(self: Any, text: str) -> Any:
    return self.use()


async def something_else_given(self: Any, text: str) -> Any:
    return self.use(text=text, texts=text)


async def a_whole_prediction(self: Any, text: str) -> Any:
    return self.use(text=self.find(text=text))


async def a_list_of_links(self: Any, text: str) -> Any:
    found = self.find(text=text)
    return self.use(text=[found.count, found.maybe])


async def a_constant(self: Any, text: str) -> Any:
    return self.use(text=3)


async def made_on_the_way(self: Any, text: str) -> Any:
    return await rp.Predict("text -> answer")(text=text)


async def an_output_that_is_not_there(self: Any, text: str) -> Any:
    return rp.Prediction(answer=self.find(text=text).found["name"])


@pytest.mark.parametrize(
    ("forward", "told", "remedy"),
    [
        (
            int_into_text,
            "use.text: find.count is int, and it takes str",
            "Declare both alike: int here, or str there.",
        ),
        (price_into_text, "use.text: find.found[0].price is float, and it takes str", "Declare both alike"),
        (misspelt_inside, "use.text: find.found[0].nam: Item has no 'nam'", "Did you mean 'name'?"),
        (misspelt, "use.text: find has no 'cuont'", "Did you mean 'count'?"),
        (nothing_given, "use.text: is missing", "Give it: text=... (str)."),
        (something_else_given, "use.texts: is not an input of it", "Did you mean 'text'?"),
        (a_whole_prediction, "use.text: find is a whole prediction", "Name the field: find.found or find.count"),
        (a_list_of_links, "use.text: what is put together here is list, and it takes str", "Declare both alike"),
        (a_constant, "use.text: Input should be a valid string, got 3", "It takes: string."),
        (made_on_the_way, "Predict(Signature): the program does not hold this predictor", "Make it in __init__"),
        (an_output_that_is_not_there, "outputs.answer: find.found['name']: list[Item] has no 'name'", "See its"),
    ],
)
def test_what_cannot_work_is_told(forward: Any, told: str, remedy: str) -> None:
    (problem,) = problems(forward)
    assert str(problem) == told
    assert problem.remedy.startswith(remedy)


def test_both_types_are_told_apart() -> None:
    (problem,) = problems(int_into_text)
    assert (problem.kind, problem.node, problem.field, problem.given, problem.wanted) == (
        *("type_mismatch", "use", "text"),
        *("int", "str"),
    )


@pytest.mark.parametrize(
    ("forward", "use"),
    [
        (inside_of_models, "text -> answer"),
        (int_into_text, "text: float -> answer"),
        (a_list_of_links, "text: list[Any] -> answer"),
        (a_list_of_links, "text: list[int | str] -> answer"),
        (a_list_of_links, "text: tuple[int, str] | str -> answer"),
        (a_constant, "text: int -> answer"),
        (nothing_given, "text: str = 'a' -> answer"),
    ],
)
def test_what_may_work_is_not_told(forward: Any, use: str) -> None:
    assert problems(forward, use) == []


def test_what_is_in_a_list_must_fit_too() -> None:
    (problem,) = problems(a_list_of_links, "text: list[list[int]] -> answer")
    assert (problem.given, problem.wanted) == ("int", "list[int]")


def test_what_the_program_is_given_is_checked_as_it_is_declared() -> None:
    async def forward(self: Any, number: int) -> Any:
        return self.ask(text=number)

    (problem,) = Graph.trace(program(forward, ask=rp.Predict("text -> answer"))).check()
    assert str(problem) == "ask.text: number is int, and it takes str"
