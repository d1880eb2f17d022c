"""Compilation: the compiled form, its fingerprint, and what cannot be compiled."""

import subprocess
import sys
from collections.abc import Callable
from datetime import date
from enum import Enum
from typing import Any, Literal

import pytest

from repertory.errors import SignatureError
from repertory.signatures import InputField, OutputField, Signature, compile_signature


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


def with_input(annotation: Any, **arguments: Any) -> type[Signature]:
    class Probe(Signature):
        given: annotation = InputField(**arguments)
        answer: str = OutputField()

    return Probe


def with_output(annotation: Any, **arguments: Any) -> type[Signature]:
    class Probe(Signature):
        given: str = InputField()
        answer: annotation = OutputField(**arguments)

    return Probe


def test_is_made_once_and_kept() -> None:
    signature = with_input(str)
    assert compile_signature(signature) is compile_signature(signature)


def test_tells_each_field() -> None:
    compiled = compile_signature(with_input(int, desc="how many", default=2, ge=1))
    (given,) = compiled.inputs
    (answer,) = compiled.outputs
    assert (given.name, given.annotation, given.desc, given.required) == ("given", int, "how many", False)
    assert given.type_hint == "integer, at least 1"
    assert (answer.name, answer.desc, answer.required, answer.type_hint) == ("answer", "", True, "string")


@pytest.mark.parametrize(
    ("annotation", "choices"),
    [
        (Literal["a", "b"], ("a", "b")),
        (Mood, (Mood.GOOD, Mood.BAD)),
        (bool, (False, True)),
        (Mood | None, (Mood.GOOD, Mood.BAD, None)),
        (Literal["a", "b"] | Literal["b", "c"], ("a", "b", "c")),
        (Literal[0, 1] | bool, (0, 1, False, True)),
        (str, None),
        (Literal["a"] | int, None),
        (list[bool], None),
    ],
)
def test_choices_are_the_values_a_type_lists(annotation: Any, choices: tuple[object, ...] | None) -> None:
    assert compile_signature(with_output(annotation)).choices("answer") == choices


def test_choices_of_an_unknown_output_are_an_error() -> None:
    with pytest.raises(SignatureError, match="Probe has no output `anser`") as error:
        compile_signature(with_output(str)).choices("anser")
    assert error.value.hint == "Its outputs: answer."


BASE = with_input(int, desc="d", ge=1, default=2)


@pytest.mark.parametrize(
    "other",
    [
        with_input(float, desc="d", ge=1, default=2),
        with_input(int, desc="e", ge=1, default=2),
        with_input(int, desc="d", ge=0, default=2),
        with_input(int, desc="d", ge=1, default=3),
        with_input(int, desc="d", ge=1),
        BASE.with_instructions("Other."),
        BASE.prepend("more", OutputField()),
    ],
)
def test_the_fingerprint_tells_different_questions_apart(other: type[Signature]) -> None:
    assert compile_signature(other).fingerprint != compile_signature(BASE).fingerprint


def test_the_fingerprint_is_that_of_the_content() -> None:
    again = compile_signature(with_input(int, desc="d", ge=1, default=2))
    assert again.fingerprint == compile_signature(BASE).fingerprint


def test_the_fingerprint_counts_the_order_of_fields() -> None:
    one, other = Signature.parse("a, b -> c"), Signature.parse("b, a -> c")
    same = [signature.with_instructions("Do.") for signature in (one, other)]
    assert len({compile_signature(signature).fingerprint for signature in same}) == 2


def test_the_fingerprint_counts_a_constraint_no_schema_can_hold() -> None:
    one, other = (with_input(date, ge=date(year, 1, 1)) for year in (2020, 2021))
    assert compile_signature(one).fingerprint != compile_signature(other).fingerprint


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    text = "a: set[str] = {'one', 'two', 'three', 'four'} -> b: Literal['x', 'y'], c: dict[str, int]"
    code = (
        "from repertory.signatures import Signature, compile_signature\n"
        f"print(compile_signature(Signature.parse({text!r})).fingerprint)"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert found == [compile_signature(Signature.parse(text)).fingerprint] * 2


class Opaque:
    pass


@pytest.mark.parametrize(
    ("annotation", "arguments", "message", "hint"),
    [
        (Opaque, {}, "Probe.given: Opaque: no JSON schema can be made", "Use a pydantic model"),
        (Callable[[int], str], {}, "Probe.given: Callable[[int], str]: no JSON schema", "Use a pydantic model"),
        (
            int | Callable[[int], str],
            {},
            "Probe.given: int | Callable[[int], str]: no JSON",
            "Use a pydantic model",
        ),
        (list["Nowhere"], {}, "Probe.given", "above the signature"),  # type: ignore[name-defined]  # noqa: F821
        (str, {"gt": 3}, "Probe.given: gt means nothing for str", "Remove it"),
        (bool, {"multiple_of": 3}, "Probe.given: multiple_of means nothing for bool", "Remove it"),
        (int, {"pattern": "a"}, "Probe.given: pattern means nothing for int", "Remove it"),
        (date, {"min_length": 1}, "Probe.given: min_length means nothing for date", "Remove it"),
        (Mood, {"max_length": 1}, "Probe.given: max_length means nothing for Mood", "Remove it"),
        (int | str, {"max_length": 1}, "Probe.given: max_length means nothing for int | str", "Annotated[int"),
        (str, {"pattern": "("}, "Probe.given: str: pattern='(' cannot be used", "Correct or remove"),
        (str, {"min_length": -1}, "Probe.given: str: min_length=-1 cannot be used", "Correct or remove"),
        (int, {"default": "x"}, "Probe.given: the default does not fit int", "Change the default"),
        (int, {"default": None}, "Probe.given: the default does not fit int", "`int | None`"),
        (int, {"default": 0, "ge": 1}, "Probe.given: the default does not fit int", "Change the default"),
        (
            Any,
            {"default": Opaque()},
            "Probe.given: the default does not fit Any: JSON cannot",
            "Change the default",
        ),
    ],
)
def test_what_cannot_be_compiled_is_told_with_field_and_remedy(
    annotation: Any, arguments: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(SignatureError) as error:
        compile_signature(with_input(annotation, **arguments))
    assert message in error.value.message
    assert hint in (error.value.hint or "")


def test_a_default_that_contains_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(SignatureError, match=r"Probe.given: the default does not fit list\[Any\]"):
        compile_signature(with_input(list[Any], default=endless))


@pytest.mark.parametrize(
    ("annotation", "constraints"),
    [
        (int | None, {"gt": 1}),
        (list[int], {"min_length": 1}),
        (list[int] | None, {"max_length": 1}),
        (dict[str, int], {"min_length": 1}),
        (str | None, {"pattern": "a", "max_length": 3}),
        (date, {"lt": date(2020, 1, 1)}),
        (float, {"multiple_of": 0.5, "le": 3}),
    ],
)
def test_constraints_that_apply_are_taken(annotation: Any, constraints: dict[str, Any]) -> None:
    assert compile_signature(with_input(annotation, **constraints)).inputs[0].name == "given"


def test_signature_itself_cannot_be_compiled() -> None:
    with pytest.raises(SignatureError, match="Signature has no fields") as error:
        compile_signature(Signature)
    assert "Signature.parse" in (error.value.hint or "")
