"""The string form of a signature."""

import collections.abc
import datetime as dt
import sys
import types as modules
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar
from uuid import UUID

import annotated_types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, StringConstraints

from repertory.errors import SignatureError
from repertory.signatures import Signature, compile_signature
from repertory.signatures.content import frozen_type
from repertory.signatures.type_registry import TypeMark, TypeRegistry

T = TypeVar("T")


class Person:
    class Address:
        pass

    name = "not a type"


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Box(BaseModel, Generic[T]):
    inside: T


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> TypeRegistry:
    """An empty registry in place of the process's own."""
    own = TypeRegistry()
    monkeypatch.setattr("repertory.signatures.scope.TYPES", own)
    monkeypatch.setattr("repertory.signatures.signature.TYPES", own)
    monkeypatch.setattr("repertory.signatures.type_writer.TYPES", own)
    return own


def read(text: str, **types: Any) -> Any:
    return Signature.parse(f"x: {text} -> y", types=types).inputs[0].annotation


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("str", str),
        ("None", type(None)),
        ("Any", Any),
        ("object", object),
        ("datetime", datetime),
        ("time", time),
        ("timedelta", timedelta),
        ("Decimal", Decimal),
        ("UUID", UUID),
        ("bytes", bytes),
        ("list", list),
        ("dict", dict),
        ("list[str]", list[str]),
        ("List[date]", list[date]),
        ("dict[str, list[int]]", dict[str, list[int]]),
        ("frozenset[int]", frozenset[int]),
        ("Sequence[int]", Sequence[int]),
        ("Mapping[str, int]", Mapping[str, int]),
        ("tuple[int, ...]", tuple[int, ...]),
        ("tuple[int, str]", tuple[int, str]),
        ("tuple[()]", tuple[()]),
        ("Optional[int]", Optional[int]),  # noqa: UP045  # what a user may write
        ("Union[int, str, None]", int | str | None),
        ("int | list[str] | None", int | list[str] | None),
        ("list[int | list[str | None]]", list[int | list[str | None]]),
        (
            "Literal['a, b', \"->\", ':', '=', ']', -1, True, None]",
            Literal["a, b", "->", ":", "=", "]", -1, True, None],
        ),
        ("Literal['it\\'s']", Literal["it's"]),
        ("Literal[r'\\d', 'one\ttab', '全角　空白']", Literal["\\d", "one\ttab", "全角　空白"]),
        ("Literal[Mood.GOOD, 'x']", Literal[Mood.GOOD, "x"]),
        ("Literal[Literal['a'], 'b']", Literal["a", "b"]),
        ("Person", Person),
        ("list[people.Person]", list[Person]),
        ("Person.Address", Person.Address),
        ("list['Person']", list[Person]),
        ("'Person' | None", Person | None),
        ("Box[int]", Box[int]),
        ("Box[Mood]", Box[Mood]),
    ],
)
def test_reads_a_type(text: str, annotation: object) -> None:
    own = {"Person": Person, "people.Person": Person, "Mood": Mood, "Box": Box}
    signature = Signature.parse(f"x: {text}, y -> z: {text}", types=own)
    assert [frozen_type(field.annotation) for field in signature.inputs] == [
        frozen_type(annotation),
        frozen_type(str),
    ]
    assert [frozen_type(field.annotation) for field in signature.outputs] == [frozen_type(annotation)]


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("Annotated[int, Field(ge=0, le=10)]", Annotated[int, Field(ge=0, le=10)]),
        (
            "Annotated[str, Field(pattern=r'^a+$', max_length=3)]",
            Annotated[str, Field(pattern="^a+$", max_length=3)],
        ),
        (
            "Annotated[str, Field(description='what', examples=['a'])]",
            Annotated[str, Field(description="what", examples=["a"])],
        ),
        ("Annotated[int, Field(ge=-1)] | None", Annotated[int, Field(ge=-1)] | None),
        ("Annotated[Decimal, Field(gt=Decimal('0.10'))]", Annotated[Decimal, Field(gt=Decimal("0.10"))]),
        ("Annotated[date, Field(ge=date(2020, 1, 31))]", Annotated[date, Field(ge=date(2020, 1, 31))]),
        ("Annotated[timedelta, Field(lt=timedelta(hours=1))]", Annotated[timedelta, Field(lt=timedelta(hours=1))]),
        (
            "Annotated[Person | Mood, Field(discriminator='kind')]",
            Annotated[Person | Mood, Field(discriminator="kind")],
        ),
        (
            "Annotated[int, Ge(1), Interval(lt=9)]",
            Annotated[int, annotated_types.Ge(1), annotated_types.Interval(lt=9)],
        ),
        ("Annotated[str, StringConstraints(to_lower=True)]", Annotated[str, StringConstraints(to_lower=True)]),
        ("Annotated[int, None, 'a note']", Annotated[int, None, "a note"]),
        ("Annotated[int, pydantic.Field(ge=1)]", Annotated[int, Field(ge=1)]),
    ],
)
def test_reads_constraints(text: str, annotation: object) -> None:
    assert frozen_type(read(text, Person=Person, Mood=Mood)) == frozen_type(annotation)


def test_constraints_in_the_text_are_enforced() -> None:
    compiled = compile_signature(Signature.parse("n: Annotated[int, Field(ge=0, le=10)] -> b"))
    assert compiled.input_schema["properties"]["n"] == {"type": "integer", "minimum": 0, "maximum": 10}


# What DSPy 3.4.1 (dspy/signatures/signature.py) reads, with the types it makes of it.
@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("int", int),
        ("float", float),
        ("bool", bool),
        ("tuple", tuple),
        ("set", set),
        ("frozenset", frozenset),
        ("NoneType", type(None)),
        ("List", list),
        ("Dict[str, list[int]]", dict[str, list[int]]),
        ("Tuple[int, ...]", tuple[int, ...]),
        ("Set[str]", set[str]),
        ("FrozenSet[int]", frozenset[int]),
        ("Text", str),
        ("None | str", None | str),
        ("dict[str, Optional[int]]", dict[str, int | None]),
        ("list[Literal['x', 'y']]", list[Literal["x", "y"]]),
        ("typing.List[str]", list[str]),
        ("typing.Optional[int]", int | None),
        ("typing.Literal['a']", Literal["a"]),
        ("typing.Union[int, str]", int | str),
        ("typing.Dict[str, typing.Any]", dict[str, Any]),
        ("typing.Annotated[int, Field(gt=0)]", Annotated[int, Field(gt=0)]),
        ("datetime.date", date),
        ("datetime.datetime", datetime),
        ("list[datetime.timedelta]", list[timedelta]),
        ("decimal.Decimal", Decimal),
        ("uuid.UUID", UUID),
        ("types.NoneType", type(None)),
        ("collections.abc.Mapping[str, int]", collections.abc.Mapping[str, int]),
        ("Annotated[str, 'note']", Annotated[str, "note"]),
    ],
)
def test_reads_what_dspy_reads_as_the_same_type(text: str, annotation: object) -> None:
    assert frozen_type(read(text)) == frozen_type(annotation)


def test_reads_defaults_and_takes_an_ellipsis_for_none() -> None:
    signature = Signature.parse("a: int = 3, b: list[str] = ['x', 'y=1'], c = 'p -> q', d: int = ... -> e")
    assert str(signature) == "a: int = 3, b: list[str] = ['x', 'y=1'], c: str = 'p -> q', d: int -> e: str"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("date(2020, 1, 31)", date(2020, 1, 31)),
        ("date('2020-01-31')", date(2020, 1, 31)),
        ("datetime.date(2020, 1, 31)", date(2020, 1, 31)),
        ("datetime('2020-01-31T12:00:00+00:00')", datetime(2020, 1, 31, 12, tzinfo=dt.UTC)),
        ("time(12, minute=30)", time(12, 30)),
        ("timedelta(days=1, seconds=-2)", timedelta(days=1, seconds=-2)),
        ("[Decimal('1.50'), None, (1,), {'a': -1.5}]", [Decimal("1.50"), None, (1,), {"a": -1.5}]),
        ("UUID('12345678123456781234567812345678')", UUID("12345678123456781234567812345678")),
        ("set()", set()),
        ("frozenset({1, 2})", frozenset({1, 2})),
        ("b'x'", b"x"),
        ("Mood.BAD", Mood.BAD),
    ],
)
def test_reads_a_default_that_is_more_than_a_literal(text: str, value: object) -> None:
    signature = Signature.parse(f"a: Any = {text} -> b", types={"Mood": Mood})
    assert signature.inputs[0].mark.default == value
    again = Signature.parse(str(signature), types={"Mood": Mood})
    assert again.equals(signature)


def test_an_output_may_have_a_default() -> None:
    assert Signature.parse("a -> b, c: int = 3").outputs[1].mark.default == 3


def test_line_breaks_are_spaces() -> None:
    assert str(Signature.parse("a,\n  b: list[\n int]\n->\tc")) == "a: str, b: list[int] -> c: str"


def test_names_are_normalised_as_python_does() -> None:
    assert [field.name for field in Signature.parse("ﬁeld -> b").inputs] == ["field"]


def test_own_types_come_before_the_built_in_ones() -> None:
    assert read("date", date=Person) is Person
    assert read("Literal", Literal=Person) is Person


def test_registered_types_come_after_the_built_in_ones(registry: TypeRegistry) -> None:
    confidence = registry.register("Confidence", Annotated[float, Field(ge=0, le=1)])
    registry.register("date", str)
    assert read("Confidence") == confidence
    assert read("date") is date
    assert read("list[Confidence | None]", Confidence=Person) == list[Person | None]


def test_a_type_registered_anew_is_read_anew(registry: TypeRegistry) -> None:
    registry.register("Money", float)
    before = Signature.parse("a -> b: Money")
    registry.register("Money", Decimal, replace=True)
    assert before.outputs[0].annotation == Annotated[float, TypeMark("Money")]
    assert Signature.parse("a -> b: Money").outputs[0].annotation == Annotated[Decimal, TypeMark("Money")]


def test_a_registered_type_takes_values_as_arguments(registry: TypeRegistry) -> None:
    class Code(str):
        language = ""

        def __class_getitem__(cls, language: object) -> type:
            if not isinstance(language, str):
                raise SignatureError("Code takes a language", hint='Write Code["python"].')
            return type("Code", (cls,), {"language": language})

    registry.register("Code", Code)
    made = read("Code['python'] | None")
    assert made.__args__[0].__metadata__ == (TypeMark("Code"),)
    assert made.__args__[0].__origin__.language == "python"
    with pytest.raises(SignatureError, match="`Code\\[3\\]` is refused: Code takes a language") as error:
        read("Code[3]")
    assert error.value.hint == 'Write Code["python"].'


def test_a_type_gets_several_values_in_one_tuple() -> None:
    class Label:
        def __class_getitem__(cls, names: object) -> Any:
            return Literal[names]

    assert read("Label['a', -1]", Label=Label) == Literal["a", -1]


def module(name: str, **contents: object) -> modules.ModuleType:
    made = modules.ModuleType(name)
    made.__dict__.update(contents)
    return made


def test_a_module_that_was_passed_stands_for_the_types_in_it() -> None:
    shop = module("shop", Order=Person, parts=module("shop.parts", Part=Mood), sys=sys, _Secret=Person, limit=3)
    assert read("list[shop.Order]", shop=shop) == list[Person]
    assert read("shop.parts.Part", shop=shop) is Mood
    assert read("shop.Order.Address", shop=shop) is Person.Address
    for outside in ("shop.sys.exit", "shop._Secret", "shop.limit", "shop.parts", "shop.Order.name", "other.Order"):
        with pytest.raises(SignatureError, match=f"`{outside}` is not a known type"):
            read(outside, shop=shop)
    with pytest.raises(SignatureError, match="`shop` is a module") as error:
        read("shop", shop=shop)
    assert "shop.Plan" in (error.value.hint or "")


# In each text, the character after the marker is the one the caret must stand under.
@pytest.mark.parametrize(
    ("marked", "problem", "hint"),
    [
        ("a: ¦strng -> b", "the type of `a`: `strng` is not a known type", "Did you mean `str`?"),
        ("a: list[¦Persn] -> b", "`Persn` is not a known type", 'types={"Persn": Persn}'),
        ("a: ¦os.system -> b", "`os.system` is not a known type", "Pass your own types"),
        ("a: ¦Iterable[int] -> b", "`Iterable` is not a known type", "Write `list[...]`"),
        ("a: ¦complex -> b", "`complex` is not a known type", "Write `float`"),
        ("a: ¦'str or int' -> b", "the type of `a`: `'str or int'` is not a type", "Literal"),
        ("a: 'str' | ¦'no' -> b", "`'no'` is not a type", "Literal"),
        ("a: list[¦...] -> b", "`...` is not a type", "Write a type's name"),
        ("a: ¦list[int, int] -> b", "`list[int, int]` has 2 arguments", "exactly 1"),
        ("a: ¦Mapping[int] -> b", "`Mapping[int]` has 1 arguments", "exactly 2"),
        ("a: ¦Optional[int, str] -> b", "`Optional[int, str]` has 2 arguments", "exactly 1"),
        ("a: ¦int[str] -> b", "`int[str]` takes no arguments", "Remove the brackets"),
        ("a: ¦Literal -> b", "`Literal` needs its arguments", "Literal[...]"),
        ("a: Literal['x', ¦1.5] -> b", "`1.5` cannot be a Literal's value", "whole numbers"),
        ("a: Literal[¦f()] -> b", "`f()` cannot be a Literal's value", "whole numbers"),
        ("a: Literal[¦'\\ud800'] -> b", "it holds U+D800, half of a surrogate pair", "text in quotes"),
        ("a: ¦Annotated[int] -> b", "`Annotated[int]` has no metadata", "Field(ge=0)"),
        ("a: Annotated[int, ¦print(1)] -> b", "`print(1)` is no metadata", "register the annotated type"),
        ("a: Annotated[int, ¦ge] -> b", "`ge` is no metadata", "Field(ge=0, le=10)"),
        ("a: Annotated[int, Field(¦3)] -> b", "`3` has no name", "as a keyword"),
        ("a: Annotated[int, Field(gee=¦3)] -> b", "for `gee`, which cannot stand here", "Did you mean `ge`?"),
        ("a: Annotated[int, Field(default=¦3)] -> b", "for `default`", "`n: int = 3`"),
        ("a: Annotated[int, Field(**¦x)] -> b", "for `None`", "Use gt, ge"),
        ("a: Annotated[int, Field(ge=¦open('x'))] -> b", "`open('x')` is not a plain value", "date(2020"),
        ("a: Annotated[int, ¦Ge(1, 2)] -> b", "`Ge(1, 2)` is refused", "Correct its arguments"),
        ("a: ¦__import__('os') -> b", "is not a type", "Write a type's name"),
        ("a: str ¦str -> b", "the type of `a` cannot be read", "`list[int]`"),
        ("a: ¦-> b", "the type of `a` is missing", "Write `a: str`"),
        ("a -> b: list¦[str", "`[` is never closed", "Add `]`"),
        ("a: int ¦) -> b", "`)` closes nothing", "Remove it"),
        ("a: list[int¦} -> b", "`}` closes nothing", "Remove it"),
        ("a: Literal[¦'x] -> b", "this quote is never closed", "Add '"),
        ("a: Literal['¦\\d'] -> b", "`\\d` is not an escape", "Write `\\\\d`"),
        ("a: int ¦# how many -> b", "`#` starts no comment", "Remove the comment"),
        ("a, ¦-> b", "the name of an input is missing", "one input between"),
        ("¦-> b", "the name of an input is missing", "at least one"),
        ("¦->", "the name of an input is missing", "at least one"),
        ("a ->¦", "the name of an output is missing", "at least one"),
        ("a¦", "there is no `->`", "Write `inputs -> outputs`"),
        ("¦", "the text is empty: there is no `->`", "Write `inputs -> outputs`"),
        ("a -> b ¦-> c", "there is a second `->`", "after the first"),
        ("a, ¦a -> b", "`a` is declared twice", "another name"),
        ("a -> ¦a", "`a` is an input and an output", "`new_a`"),
        ("x, ¦a b -> c", "`a b` cannot name a field", "Separate fields with commas"),
        ("¦demos -> c", "`demos` cannot name an input", "given_demos"),
        ("¦class -> c", "`class` cannot name a field", "no Python keyword"),
        ("¦2nd -> c", "`2nd` cannot name a field", "not starting with a digit"),
        ("a -> ¦_b", "`_b` cannot name a field", "Call it `b`"),
        ("a = ¦open('x') -> b", "the default of `a` cannot be read", "plain Python value"),
        ("a = [1, ¦x] -> b", "`x` is not a plain value", "plain Python value"),
        ("a = ¦date(2020, 13, 1) -> b", "makes no value: month must be in 1..12", "plain Python value"),
        ("a = ¦{[]} -> b", "makes no value: unhashable", "plain Python value"),
        ("a = ¦-> b", "the default of `a` cannot be read", "plain Python value"),
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


@pytest.mark.parametrize(
    ("text", "shown", "before"),
    [
        ("é: str, b: Literal['日', 3] -> c: intt", "é: str, b: Literal['日', 3] -> c: intt", 34),
        ("日本語, b: intt -> c", "日本語, b: intt -> c", 11),
        ("e\u0301, b: intt -> c", "e\u0301, b: intt -> c", 6),
        ("a,\n\tb:\tintt -> c\n", " b: intt -> c", 4),
        ("a: Literal['x\ty'], b: intt -> c", "a: Literal['x y'], b: intt -> c", 22),
        ("a,\r\n  b: \u2028intt\r\n -> c", "  b:  intt ", 6),
    ],
)
def test_the_caret_stands_right_under_wide_characters_and_in_several_lines(
    text: str, shown: str, before: int
) -> None:
    """``before`` counts columns of a terminal."""
    with pytest.raises(SignatureError, match="`intt` is not a known type") as error:
        Signature.parse(text)
    told, line, caret = error.value.message.split("\n")
    assert (line, caret) == (f"  {shown}", " " * (2 + before) + "^")
    assert ("(line 2)" in told) == ("\n" in text)


def test_the_caret_stands_right_in_a_long_text_cut_to_its_surroundings() -> None:
    text = ", ".join(f"x{number}" for number in range(10_000)) + ", x9 -> b, " + "c, " * 10_000 + "d"
    with pytest.raises(SignatureError, match="`x9` is declared twice") as error:
        Signature.parse(text)
    _, shown, caret = error.value.message.split("\n")
    assert len(shown) < 140
    assert shown[caret.index("^") :].startswith("x9 -> b")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: " + "list[" * 10_000 + "int" + "]" * 10_000 + " -> b", "brackets are nested more than 64 deep"),
        ("a: " + "|".join(["int"] * 20_000) + " -> b", "the type of `a` cannot be read"),
        ("a: int" + "[int]" * 20_000 + " -> b", "the type of `a` cannot be read"),
        ("a: " + ".".join(["x"] * 50_000) + " -> b", "the type of `a` cannot be read"),
        ("a = " + "-" * 50_000 + "1 -> b", "the default of `a` cannot be read"),
        ("a: " + "x" * 100_000 + " -> b", "is not a known type"),
        ("x y" * 30_000 + " -> b", "cannot name a field"),
        ("a" * 1_000_000, "the text has 1,000,000 characters, more than 200,000"),
        ("a: \ud800 -> b", "the text holds U+D800, half of a surrogate pair"),
        ("a: Literal['\udfff'] -> b", "the text holds U+DFFF, half of a surrogate pair"),
        ("a: \0 -> b", "the text holds NUL"),
    ],
)
def test_a_hostile_text_is_refused_in_few_words_that_can_be_printed(text: str, problem: str) -> None:
    with pytest.raises(SignatureError) as error:
        Signature.parse(text)
    assert problem in error.value.message
    assert len(str(error.value).encode()) < 2_000
    assert error.value.message.endswith("^")


def test_a_text_of_ten_thousand_fields_is_read() -> None:
    text = ", ".join(f"f{number}: int" for number in range(10_000)) + " -> b"
    assert len(Signature.parse(text).inputs) == 10_000


@pytest.mark.parametrize("text", [3, None, b"a -> b", ["a -> b"]])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(SignatureError, match="is text, got"):
        Signature.parse(text)


names = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True).filter(lambda name: name.isidentifier())
literals = st.lists(st.text() | st.integers() | st.booleans(), min_size=1, max_size=4)
plain = [
    "str",
    "int",
    "float",
    "bool",
    "Any",
    "date",
    "datetime",
    "list",
    "dict",
    "Decimal",
    "UUID",
    "bytes",
    "None",
]
types: st.SearchStrategy[str] = st.recursive(
    st.sampled_from(plain)
    | literals.map(lambda values: f"Literal[{', '.join(map(repr, values))}]")
    | st.integers().map(lambda least: f"Annotated[int, Field(ge={least})]")
    | st.text().map(lambda text: f"Annotated[str, Field(description={text!r}), MaxLen(9)]"),
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
    assert again.equals(signature)


def parse_error(text: str) -> SignatureError | None:
    try:
        Signature.parse(text)
    except SignatureError as error:
        return error
    return None


@given(st.text(alphabet="ab:,->[]()'\"=| \\1.\n#\tLiteralFd日\ud800", max_size=60))
def test_any_text_is_read_or_refused_with_a_remedy(text: str) -> None:
    error = parse_error(text)
    if error is None:
        assert Signature.parse(text).inputs
    else:
        assert error.hint
        assert error.message.endswith("^")
        assert str(error).encode()
