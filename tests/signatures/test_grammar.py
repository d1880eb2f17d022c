"""The string form of a signature."""

from datetime import date, datetime
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.errors import SignatureError
from repertory.signatures import Signature


class Person:
    pass


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("str", str),
        ("None", type(None)),
        ("Any", Any),
        ("datetime", datetime),
        ("list[str]", list[str]),
        ("List[date]", list[date]),
        ("dict[str, list[int]]", dict[str, list[int]]),
        ("tuple[int, ...]", tuple[int, ...]),
        ("tuple[int, str]", tuple[int, str]),
        ("Optional[int]", Optional[int]),  # noqa: UP045  # what a user may write
        ("Union[int, str, None]", int | str | None),
        ("int | list[str] | None", int | list[str] | None),
        (
            "Literal['a, b', \"->\", ':', '=', ']', -1, True, None]",
            Literal["a, b", "->", ":", "=", "]", -1, True, None],
        ),
        ("Literal['it\\'s']", Literal["it's"]),
        ("Person", Person),
        ("list[people.Person]", list[Person]),
    ],
)
def test_reads_a_type(text: str, annotation: object) -> None:
    signature = Signature.parse(f"x: {text}, y -> z: {text}", types={"Person": Person, "people.Person": Person})
    assert [field.annotation for field in signature.inputs] == [annotation, str]
    assert [field.annotation for field in signature.outputs] == [annotation]


def test_reads_defaults_and_takes_an_ellipsis_for_none() -> None:
    signature = Signature.parse("a: int = 3, b: list[str] = ['x', 'y=1'], c = 'p -> q', d: int = ... -> e")
    assert str(signature) == "a: int = 3, b: list[str] = ['x', 'y=1'], c: str = 'p -> q', d: int -> e: str"


def test_line_breaks_are_spaces() -> None:
    assert str(Signature.parse("a,\n  b: list[\n int]\n->\tc")) == "a: str, b: list[int] -> c: str"


def test_own_types_come_before_the_built_in_ones() -> None:
    assert Signature.parse("a: date -> b", types={"date": Person}).inputs[0].annotation is Person


# In each text, the character after the marker is the one the caret must stand under.
@pytest.mark.parametrize(
    ("marked", "problem", "hint"),
    [
        ("a: ¦strng -> b", "the type of `a`: `strng` is not a known type", "Did you mean `str`?"),
        ("a: list[¦Persn] -> b", "`Persn` is not a known type", 'types={"Persn": Persn}'),
        ("é: str, b: Literal['日', 3] -> c: ¦intt", "the type of `c`: `intt`", "Did you mean `int`?"),
        ("a: ¦'str' -> b", "the type of `a`: `'str'` is not a type", "Literal"),
        ("a: list[¦...] -> b", "`...` is not a type", "Write a type's name"),
        ("a: ¦list[int, int] -> b", "`list[int, int]` has 2 arguments", "exactly 1"),
        ("a: ¦int[str] -> b", "`int[str]` takes no arguments", "Remove the brackets"),
        ("a: ¦Literal -> b", "`Literal` needs its arguments", "Literal[...]"),
        ("a: Literal['x', ¦1.5] -> b", "`1.5` cannot be a Literal's value", "whole numbers"),
        ("a: Literal[¦f()] -> b", "`f()` cannot be a Literal's value", "whole numbers"),
        ("a: ¦__import__('os') -> b", "is not a type", "Write a type's name"),
        ("a: str ¦str -> b", "the type of `a` cannot be read", "`list[int]`"),
        ("a: ¦-> b", "the type of `a` is missing", "Write `a: str`"),
        ("a -> b: list¦[str", "`[` is never closed", "Add `]`"),
        ("a: int ¦) -> b", "`)` closes nothing", "Remove it"),
        ("a: list[int¦} -> b", "`}` closes nothing", "Remove it"),
        ("a: Literal[¦'x] -> b", "this quote is never closed", "Add '"),
        ("a, ¦-> b", "the name of an input is missing", "one input between"),
        ("¦-> b", "the name of an input is missing", "at least one"),
        ("a ->¦", "the name of an output is missing", "at least one"),
        ("a¦", "there is no `->`", "Write `inputs -> outputs`"),
        ("a -> b ¦-> c", "there is a second `->`", "after the first"),
        ("a, ¦a -> b", "`a` is declared twice", "another name"),
        ("a -> ¦a", "`a` is an input and an output", "`new_a`"),
        ("x, ¦a b -> c", "`a b` cannot name a field", "Separate fields with commas"),
        ("¦demos -> c", "`demos` cannot name an input", "given_demos"),
        ("¦class -> c", "`class` cannot name a field", "no Python keyword"),
        ("¦2nd -> c", "`2nd` cannot name a field", "not starting with a digit"),
        ("a -> ¦_b", "`_b` cannot name a field", "Call it `b`"),
        ("a -> b ¦= 3", "output `b` has a default", "Remove it"),
        ("a = ¦open('x') -> b", "the default of `a` cannot be read", "plain Python value"),
    ],
)
def test_an_error_shows_the_column_and_the_remedy(marked: str, problem: str, hint: str) -> None:
    text = marked.replace("¦", "")
    with pytest.raises(SignatureError) as error:
        Signature.parse(text)
    told, shown, caret = error.value.message.split("\n")
    assert problem in told
    assert shown == f"  {text}"
    assert caret == " " * (2 + marked.index("¦")) + "^"
    assert hint in (error.value.hint or "")


def test_the_caret_stands_right_in_a_long_text_cut_to_its_surroundings() -> None:
    text = "a, " * 50_000 + "b: strng -> c, " + "d, " * 50_000 + "e"
    with pytest.raises(SignatureError) as error:
        Signature.parse(text.replace("a, ", "", 49_000).replace("a, ", "x" * 300 + ", ", 1))
    assert "`a` is declared twice" in error.value.message
    _, shown, caret = error.value.message.split("\n")
    assert len(shown) < 140
    assert shown[caret.index("^")] == "a"


@pytest.mark.parametrize(
    "text", ["a: " + "list[" * 5000 + "int" + "]" * 5000 + " -> b", "a: \ud800 -> b", "a: \0 -> b"]
)
def test_what_python_s_parser_cannot_take_is_told_as_any_other_mistake(text: str) -> None:
    with pytest.raises(SignatureError, match="the type of `a` cannot be read") as error:
        Signature.parse(text)
    assert "Write a type such as" in (error.value.hint or "")


names = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True).filter(lambda name: name.isidentifier())
literals = st.lists(st.text() | st.integers() | st.booleans(), min_size=1, max_size=4)
types: st.SearchStrategy[str] = st.recursive(
    st.sampled_from(["str", "int", "float", "bool", "Any", "date", "datetime", "list", "dict"])
    | literals.map(lambda values: f"Literal[{', '.join(map(repr, values))}]"),
    lambda inner: st.one_of(
        inner.map("list[{}]".format),
        inner.map("dict[str, {}]".format),
        inner.map("Optional[{}]".format),
        st.tuples(inner, inner).map(" | ".join),
        inner.map("tuple[{}, ...]".format),
    ),
    max_leaves=4,
)


@given(
    fields=st.lists(st.tuples(names, types), min_size=2, max_size=6, unique_by=lambda field: field[0]),
    data=st.data(),
)
def test_the_text_of_a_signature_reads_as_the_same_signature(
    fields: list[tuple[str, str]], data: st.DataObject
) -> None:
    split = data.draw(st.integers(1, len(fields) - 1))
    sides = [", ".join(f"in_{name}: {text}" for name, text in side) for side in (fields[:split], fields[split:])]
    signature = Signature.parse(" -> ".join(sides))
    again = Signature.parse(str(signature))
    assert [field.name for field in signature.inputs + signature.outputs] == [f"in_{name}" for name, _ in fields]
    assert again.inputs == signature.inputs
    assert again.outputs == signature.outputs


@given(st.text(alphabet="ab:,->[]()'\"=| \\1.\n", max_size=40))
def test_any_text_is_read_or_refused_with_a_remedy(text: str) -> None:
    read: list[type[Signature]] = []
    refused: list[SignatureError] = []
    try:
        read.append(Signature.parse(text))
    except SignatureError as error:
        refused.append(error)
    assert all(signature.inputs and signature.outputs for signature in read)
    assert all(error.hint and error.message.endswith("^") for error in refused)
