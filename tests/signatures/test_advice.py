"""Advice on signatures: each kind is given where it belongs, and nowhere else."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from repertory.signatures import InputField, OutputField, Signature, advise


def codes(signature: type[Signature] | str) -> list[tuple[str, str]]:
    if isinstance(signature, str):
        signature = Signature.parse(signature, "Do it.")
    return [(advice.code, advice.field) for advice in advise(signature)]


class Leaf(BaseModel):
    kind: Literal["leaf"]
    value: int


class Sum(BaseModel):
    kind: Literal["sum"]
    parts: list["Tree"]


class Product(BaseModel):
    kind: Literal["product"]
    parts: list["Tree"]


class Tree(BaseModel):
    root: Leaf | Sum | Product


class TaggedTree(BaseModel):
    root: Annotated["Leaf | TaggedSum | TaggedProduct", Field(discriminator="kind")]


class TaggedSum(BaseModel):
    kind: Literal["sum"]
    parts: list[TaggedTree]


class TaggedProduct(BaseModel):
    kind: Literal["product"]
    parts: list[TaggedTree]


class Chain(BaseModel):
    following: "Chain | None"


class Good(Signature):
    """Judge the claim by its sources, in {{braces}} that mean nothing."""

    claim: str = InputField()
    id: int = InputField(desc="of the claim")
    reasoning: str = OutputField()
    verdict: Literal["true", "false"] = OutputField()
    confidence: float = OutputField(ge=0, le=1)
    revised_claim: str = OutputField()
    leaf: Leaf | Chain = OutputField()
    tree: TaggedTree = OutputField()


def test_a_good_signature_gets_none() -> None:
    assert [each for each in codes(Good) if each[0] != "unconstrained"] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("question -> question_out", ("echo", "question_out")),
        ("text: list[str] -> new_text: list[str]", ("echo", "new_text")),
        ("question -> ok", ("terse-name", "ok")),
        ("question -> answer, reasoning", ("late-reasoning", "reasoning")),
        ("question -> answer, confidence: float", ("open-scale", "confidence")),
        ("question -> answer: Literal['yes']", ("no-choice", "answer")),
        (f"question -> answer: Literal[{', '.join(map(str, range(101)))}]", ("many-choices", "answer")),
    ],
)
def test_each_kind_is_told_with_its_field(text: str, expected: tuple[str, str]) -> None:
    assert codes(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "text -> text_length: int",
        "text: list[str] -> new_text: str",
        "question -> reasoning, answer",
        "question -> answer, score: Literal[1, 2, 3]",
        f"question -> answer: Literal[{', '.join(map(str, range(100)))}]",
        "question -> answer: bool",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert codes(text) == []


def test_a_type_that_strict_modes_cannot_say_is_told_once() -> None:
    signature = Signature.parse("review -> scores: dict[str, int]", "Score it.")
    (advice,) = advise(signature)
    assert (advice.code, advice.field) == ("unconstrained", "scores")
    assert advice.message == (
        "endpoints of openai_strict, anthropic cannot be held to its type: "
        "strict mode has no objects with free keys"
    )
    assert advice.remedy.startswith("Use a list of {key, value} models; or leave it")
    assert codes("question -> answer: Any") == [("any-value", "answer"), ("unconstrained", "answer")]


def test_missing_instructions_are_told_with_what_stands_in_for_them() -> None:
    (advice,) = advise(Signature.parse("question -> answer"))
    assert str(advice) == (
        'nobody said what to do; the model is told "Given `question`, produce `answer`." (no-instructions)'
    )
    assert advice.remedy.startswith("Write a docstring")
    (empty,) = advise(Signature.parse("question -> answer", " "))
    assert empty.code == "no-instructions"


def test_a_placeholder_is_told_once() -> None:
    signature = Signature.parse("question -> answer", "Answer {question} about {topic}, {topic} only.")
    assert codes(signature) == [("placeholder", "question"), ("placeholder", "")]


def test_a_recursive_union_without_a_tag_is_told() -> None:
    signature: Any = Signature.parse("text -> tree: Tree", "Read it.", types={"Tree": Tree})
    assert codes(signature) == [("ambiguous-recursion", "tree"), ("unconstrained", "tree")]
