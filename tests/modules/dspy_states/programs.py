"""The programs of make.py and make_old.py, as they are written here."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from repertory.modules import ChainOfThought, Module, Predict
from repertory.signatures import InputField, OutputField, Signature

HERE = Path(__file__).parent


class Invoice(BaseModel):
    number: str
    total: float
    lines: list[str] = []


class Typed(Signature):
    """Read the invoice."""

    letter: str = InputField()
    received: date = InputField(desc="the day it came")
    kind: Literal["bill", "reminder"] = OutputField()
    invoice: Invoice = OutputField()
    tags: list[str] = OutputField()
    due: date | None = OutputField()


class Report(Module):
    def __init__(self) -> None:
        self.facts = ChainOfThought("document -> facts: list[str]")
        self.write = Predict("facts: list[str] -> report")


class Nested(Module):
    def __init__(self) -> None:
        self.report = Report()
        self.steps = [Predict("text -> text_out"), ChainOfThought("text -> verdict: bool")]
        self.tools = {"a": Predict("x -> y"), "it's": ChainOfThought("x -> y: int")}


class Place(BaseModel):
    name: str
    population: int


class Find(Signature):
    """Find the place."""

    question: str = InputField()
    place: Place = OutputField()


class Answer(Signature):
    """Answer the question."""

    question: str = InputField()
    answer: str = OutputField(desc="one word")


class Guide(Module):
    def __init__(self) -> None:
        self.find = Predict(Find)
        self.answer = ChainOfThought(Answer)


PROGRAMS: dict[str, Callable[[], Module]] = {
    "lone_predict": lambda: Predict("question -> answer"),
    "lone_chain": lambda: ChainOfThought("question -> answer"),
    "labeled": lambda: ChainOfThought("question -> answer"),
    "bootstrapped": Report,
    "nested": Nested,
    "tuned_fields": lambda: Predict("question, kontext: list[str] -> answer"),
    "typed": lambda: Predict(Typed),
    "own_lm": Report,
    "old_2_5_5": Guide,
    "old_2_5_43": Guide,
    "old_2_6_27": Guide,
    "old_3_0_0": Guide,
}
"""By the name of the state file."""


def state_file(name: str) -> Path:
    return HERE / f"{name}.json"


def saved(name: str) -> dict[str, Any]:
    """What the state file says."""
    state: dict[str, Any] = json.loads(state_file(name).read_bytes())
    return state
