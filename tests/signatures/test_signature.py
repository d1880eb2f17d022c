"""The class form of a signature and what a signature can do."""

from __future__ import annotations

from datetime import date
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from repertory.errors import SignatureError
from repertory.signatures import InputField, OutputField, Signature, compile_signature
from repertory.signatures.signature import SignatureType


class Topic(Signature):
    """Assign the news article
    to its topic.
    """

    article: str = InputField(desc="the article's opening words")
    topic: Literal["business", "sports"] = OutputField()


def test_a_class_declares_inputs_and_outputs_in_order() -> None:
    assert str(Topic) == "article: str -> topic: Literal['business', 'sports']"
    assert repr(Topic) == f"<signature Topic: {Topic}>"


def test_the_docstring_is_the_instructions_without_its_indentation() -> None:
    assert Topic.instructions == "Assign the news article\nto its topic."


def test_instructions_default_to_a_sentence_of_field_names() -> None:
    assert Signature.parse("a, b, c -> d, e").instructions == "Given `a`, `b` and `c`, produce `d` and `e`."


def test_a_subclass_inherits_fields_and_instructions_and_may_redefine_a_type() -> None:
    class Narrower(Topic):
        why: str = OutputField()
        topic: Literal["sports"] = OutputField()

    assert str(Narrower) == "article: str -> topic: Literal['sports'], why: str"
    assert Narrower.instructions == Topic.instructions
    assert compile_signature(Narrower) is not compile_signature(Topic)


def test_a_field_may_have_the_name_of_its_type_or_of_a_signature_s_method() -> None:
    class Odd(Signature):
        date: date = InputField()
        parse: str = InputField()
        instructions: str = OutputField()

    assert str(Odd) == "date: date, parse: str -> instructions: str"
    assert Odd.instructions == "Given `date` and `parse`, produce `instructions`."


def test_types_made_in_the_enclosing_function_or_the_class_body_are_found() -> None:
    class Outer(Enum):
        A = "a"

    class Local(Signature):
        class Inner(Enum):
            B = "b"

        outer: Outer = InputField()
        inner: Inner = OutputField()

    assert compile_signature(Local).choices("inner") == tuple(Local.Inner)
    assert compile_signature(Local).validate_inputs({"outer": "a"}) == {"outer": Outer.A}


def test_a_field_without_annotation_is_a_string() -> None:
    class Plain(Signature):
        question = InputField()
        answer = OutputField()

    assert str(Plain) == "question: str -> answer: str"


def test_an_annotated_type_keeps_its_own_constraints() -> None:
    class Bounded(Signature):
        n: Annotated[int, Field(ge=2)] = InputField(le=5)
        out: str = OutputField()

    assert compile_signature(Bounded).input_schema["properties"]["n"] == {
        "type": "integer",
        "minimum": 2,
        "maximum": 5,
    }


def test_with_instructions_changes_only_the_instructions() -> None:
    other = Topic.with_instructions("  Sort it.")
    assert (other.instructions, str(other), other.__name__) == ("  Sort it.", str(Topic), "Topic")
    assert Topic.instructions.startswith("Assign")


def test_prepend_leads_the_outputs_and_leaves_the_original() -> None:
    other = Topic.prepend("reasoning", OutputField(desc="step by step"))
    assert [(field.name, field.mark.desc) for field in other.outputs] == [
        ("reasoning", "step by step"),
        ("topic", ""),
    ]
    assert str(Topic) == "article: str -> topic: Literal['business', 'sports']"
    assert other.instructions == Topic.instructions


def test_instructions_made_of_field_names_follow_a_prepended_output() -> None:
    assert Signature.parse("a -> b").prepend("r", OutputField()).instructions == "Given `a`, produce `r` and `b`."


def fails(error: pytest.ExceptionInfo[SignatureError], message: str, hint: str) -> None:
    assert message in error.value.message
    assert error.value.hint is not None
    assert hint in error.value.hint


def test_prepending_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(SignatureError) as error:
        Topic.prepend("article", OutputField())
    fails(error, "Topic already has a field `article`", "Choose another name")


def test_an_annotated_attribute_that_is_no_field_is_refused() -> None:
    with pytest.raises(SignatureError) as error:

        class Bad(Signature):
            a: str = InputField()
            limit: int = 3
            b: str = OutputField()

    fails(error, "Bad.limit is neither an input nor an output", "`limit: ... = InputField()`")


def test_a_signature_without_outputs_is_refused() -> None:
    with pytest.raises(SignatureError) as error:

        class Bad(Signature):
            a: str = InputField()

    fails(error, "Bad has no output", "OutputField()")


def test_a_signature_without_inputs_is_refused() -> None:
    with pytest.raises(SignatureError) as error:

        class Bad(Signature):
            a: str = OutputField()

    fails(error, "Bad has no input", "InputField()")


def test_a_name_declared_as_input_and_output_is_refused() -> None:
    with pytest.raises(SignatureError) as error:

        class Bad(Signature):
            a: str = InputField()
            a: str = OutputField()  # type: ignore[no-redef]  # the mistake under test

    fails(error, "`a` is declared twice: as input and as output", "another name")


def test_a_role_changed_by_a_subclass_is_refused() -> None:
    with pytest.raises(SignatureError) as error:

        class Bad(Topic):
            article: str = OutputField()

    fails(error, "Bad.article is an input above and an output here", "another name")


def test_a_type_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SignatureError) as error:

        class Bad(Signature):
            a: Nowhere = InputField()  # type: ignore[name-defined]  # noqa: F821 - the mistake under test
            b: str = OutputField()

    fails(error, "the type of Bad.a cannot be resolved: name 'Nowhere' is not defined", "above the signature")


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("demos", "`demos` cannot name an input", "given_demos"),
        ("_a", "`_a` cannot name a field: it starts with an underscore", "Call it `a`"),
    ],
)
def test_a_name_a_predictor_could_not_take_is_refused(name: str, message: str, hint: str) -> None:
    def declare() -> None:
        namespace = SignatureType.__prepare__("Bad", (Signature,))
        namespace[name] = InputField()
        namespace["b"] = OutputField()
        SignatureType("Bad", (Signature,), namespace)

    with pytest.raises(SignatureError) as error:
        declare()
    fails(error, message, hint)


def test_an_output_may_be_called_demos() -> None:
    assert str(Signature.parse("a -> demos")) == "a: str -> demos: str"


@pytest.mark.parametrize(("signature", "hint"), [(Topic, "Predict(Topic)"), (Signature, "Signature.parse(")])
def test_a_signature_has_no_instances(signature: Any, hint: str) -> None:
    with pytest.raises(SignatureError) as error:
        signature("a -> b")
    fails(error, f"{signature.__name__} is a signature", hint)


def test_class_variables_private_names_and_methods_are_no_fields() -> None:
    class Holding(Signature):
        limit: ClassVar[int] = 3
        _secret: str = "x"
        question: str = InputField()
        answer: str = OutputField()

        @staticmethod
        def doubled(n: int) -> int:
            return 2 * n

    assert str(Holding) == "question: str -> answer: str"
    assert (Holding.limit, Holding._secret, Holding.doubled(2)) == (3, "x", 4)


def test_an_output_may_have_a_default_and_each_field_examples() -> None:
    class Shown(Signature):
        a: str = InputField(examples=["x", "y"])
        b: int = OutputField(default=3, examples=(1,))

    assert Shown.inputs[0].mark.examples == ("x", "y")
    assert (Shown.outputs[0].mark.default, Shown.outputs[0].mark.examples) == (3, (1,))


@pytest.mark.parametrize("mark", [InputField, OutputField])
def test_examples_that_are_no_list_are_refused(mark: Any) -> None:
    with pytest.raises(SignatureError) as error:
        mark(examples="xy")
    fails(error, "examples are a list of values, got str", "examples=[...]")


def test_half_a_character_is_refused_wherever_it_is_written() -> None:
    with pytest.raises(SignatureError, match=r"the instructions of .* holds U\+D800"):
        Signature.parse("question -> answer", "Say \ud800")
    with pytest.raises(SignatureError, match=r"the description of Signature\.answer holds U\+DC00"):
        Signature.parse("question -> answer").with_fields(answer=OutputField(desc="\udc00"))
    with pytest.raises(SignatureError, match=r"the docstring of Half holds U\+D800, half of a surrogate pair"):
        exec('class Half(Signature):\n    "x\\ud800"', {"Signature": Signature})
