"""Writes the states beside this file with the installed DSPy; needs the extra ``bench``. No model is asked.

Run from the repository's root: ``python -m tests.modules.dspy_states.make``. Older formats: see ``make_old.py``.
"""

from datetime import date
from pathlib import Path
from typing import Literal

import dspy
from dspy.teleprompt import BootstrapFewShot, LabeledFewShot
from dspy.utils import DummyLM
from pydantic import BaseModel

HERE = Path(__file__).parent


class Invoice(BaseModel):
    number: str
    total: float
    lines: list[str] = []


class Typed(dspy.Signature):  # type: ignore[misc]  # dspy ships no types
    """Read the invoice."""

    letter: str = dspy.InputField()
    received: date = dspy.InputField(desc="the day it came")
    kind: Literal["bill", "reminder"] = dspy.OutputField()
    invoice: Invoice = dspy.OutputField()
    tags: list[str] = dspy.OutputField()
    due: date | None = dspy.OutputField()


class Report(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    def __init__(self) -> None:
        super().__init__()
        self.facts = dspy.ChainOfThought("document -> facts: list[str]")
        self.write = dspy.Predict("facts: list[str] -> report")

    def forward(self, document: str) -> dspy.Prediction:
        facts = self.facts(document=document)
        return self.write(facts=facts.facts)


class Nested(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    def __init__(self) -> None:
        super().__init__()
        self.report = Report()
        self.steps = [dspy.Predict("text -> text_out"), dspy.ChainOfThought("text -> verdict: bool")]
        self.tools = {"a": dspy.Predict("x -> y"), "it's": dspy.ChainOfThought("x -> y: int")}

    def forward(self, text: str) -> dspy.Prediction:
        return self.steps[0](text=text)


def lone_predict() -> dspy.Module:
    """As declared, nothing tuned."""
    return dspy.Predict("question -> answer")


def lone_chain() -> dspy.Module:
    program = dspy.ChainOfThought("question -> answer")
    program.predict.demos = [dspy.Example(question="1 + 1?", reasoning="Count.", answer="2", augmented=True)]
    return program


def labeled() -> dspy.Module:
    """LabeledFewShot: demonstrations without a reasoning, with keys of the data set."""
    trainset = [
        dspy.Example(question=f"{n} + {n}?", answer=str(2 * n), source="table", page=n).with_inputs("question")
        for n in range(6)
    ]
    return LabeledFewShot(k=3).compile(dspy.ChainOfThought("question -> answer"), trainset=trainset)


def bootstrapped() -> dspy.Module:
    """BootstrapFewShot over a program of two predictors."""
    answers = [
        {"reasoning": "It says so.", "facts": '["Rain fell", "Roads closed"]'},
        {"report": "Rain closed the roads."},
        {"reasoning": "It is there.", "facts": '["A bank cut rates"]'},
        {"report": "Rates were cut."},
    ]
    trainset = [
        dspy.Example(document="Heavy rain closed roads.", report="Rain closed the roads.").with_inputs("document"),
        dspy.Example(document="The bank cut its rates.", report="Rates were cut.").with_inputs("document"),
        dspy.Example(document="A band plays on.", report="Music goes on.").with_inputs("document"),
    ]
    optimizer = BootstrapFewShot(
        metric=lambda example, prediction, trace=None: example.report == prediction.report,
        max_bootstrapped_demos=2,
        max_labeled_demos=3,
    )
    with dspy.context(lm=DummyLM(answers)):
        return optimizer.compile(Report(), trainset=trainset)


def nested() -> dspy.Module:
    program = Nested()
    program.report.write.demos = [dspy.Example(facts=["a", "b"], report="a and b")]
    program.steps[1].predict.signature = program.steps[1].predict.signature.with_instructions("Judge the text.")
    program.tools["it's"].predict.demos = [dspy.Example(x="two", y=2, reasoning="It is two.")]
    return program


def tuned_fields() -> dspy.Module:
    """Instructions, prefixes and descriptions as COPRO and MIPRO change them; text beyond ASCII."""
    program = dspy.Predict("question: str, kontext: list[str] -> answer: str")
    signature = program.signature.with_instructions(
        "Antworte präzise.\n\nStütze dich auf den Kontext – 日本語 🎻."
    )
    signature = signature.with_updated_fields("kontext", desc="Fundstellen, die beste zuerst")
    program.signature = signature.with_updated_fields(
        "answer", prefix="Die Antwort lautet:", desc="höchstens ein Satz"
    )
    program.demos = [{"question": "¿Qué?", "kontext": ["«así»"], "answer": "ça – 答え 🎻"}]
    return program


def typed() -> dspy.Module:
    program = dspy.Predict(Typed)
    program.demos = [
        dspy.Example(
            letter="Please pay.",
            received=date(2024, 2, 29),
            kind="bill",
            invoice=Invoice(number="A-1", total=12.5, lines=["paper"]),
            tags=["office", "paper"],
            due=date(2024, 3, 31),
            augmented=True,
        ),
        dspy.Example(
            letter="Again.",
            received=date(2024, 4, 1),
            kind="reminder",
            invoice={"number": "A-1", "total": 12.5},
            due=None,
        ),
    ]
    return program


def own_lm() -> dspy.Module:
    program = Report()
    program.facts.set_lm(dspy.LM("openai/gpt-4.1-mini", temperature=0.7, max_tokens=2000, api_key="never saved"))
    program.write.lm = dspy.LM("anthropic/claude-haiku", temperature=0.0, top_p=0.9, num_retries=1)
    return program


STATES = {
    make.__name__: make
    for make in (
        lone_predict,
        lone_chain,
        labeled,
        bootstrapped,
        nested,
        tuned_fields,
        typed,
        own_lm,
    )
}


def main() -> None:
    for name, make in STATES.items():
        make().save(str(HERE / f"{name}.json"))


if __name__ == "__main__":
    main()
