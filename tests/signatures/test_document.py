"""Signatures as JSON documents."""

import datetime as dt
import json
import subprocess
import sys
import typing
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar
from uuid import UUID

import annotated_types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, conint

from repertory.errors import SignatureError
from repertory.signatures import InputField, OutputField, Signature, check, compile_signature
from repertory.signatures.type_registry import TYPES, TypeMark

T = TypeVar("T")


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Level(IntEnum):
    LOW = 1


class Step(BaseModel):
    text: str
    after: "list[Step]" = []


class Plan(BaseModel):
    """What to do."""

    steps: list[Step]
    tags: set[str] = {"a", "b", "c"}


@dataclass(frozen=True)
class Point:
    x: float
    y: float = 0


class Box(BaseModel, Generic[T]):
    inside: T


@dataclass
class Pair(Generic[T]):
    left: T


UserId = NewType("UserId", int)
OWN: dict[str, Any] = {each.__name__: each for each in (Mood, Level, Step, Plan, Point, Box, Pair, UserId)}


@check("too long")
def is_short(b: str) -> bool:
    return len(b) < 9


def again(signature: type[Signature], **types: Any) -> type[Signature]:
    document = json.loads(json.dumps(signature.to_json(types=types), allow_nan=False))
    return Signature.from_json(document, types={**OWN, **types}, checks={"is_short": is_short})


class Everything(Signature):
    """Plan the day."""

    goal: str = InputField(desc="what is wanted", min_length=1, pattern="^a", examples=["a walk", "abc"])
    by: date = InputField(default=date(2030, 1, 31), ge=date(2020, 1, 1))
    at: time = InputField(default=time(12, 30))
    mood: Mood | None = InputField(default=Mood.GOOD)
    plan: Plan = OutputField()
    b: str = InputField(default=None)
    cost: Decimal = OutputField(default=Decimal("1.50"), gt=Decimal("0.10"), multiple_of=Decimal("0.05"))
    tags: set[str] = OutputField(default={"x", "y"}, examples=[{"z"}, set()])

    short = is_short


def test_a_document_says_it_all() -> None:
    document = Everything.with_fields(plan=Mood).to_json()
    digest = document["types"].pop("Mood")
    assert len(bytes.fromhex(digest)) == 32
    assert document == {
        "version": 1,
        "name": "Everything",
        "instructions": "Plan the day.",
        "fields": [
            {
                "name": "goal",
                "role": "input",
                "type": "str",
                "desc": "what is wanted",
                "constraints": {"min_length": {"json": 1}, "pattern": {"json": "^a"}},
                "examples": [{"json": "a walk"}, {"json": "abc"}],
            },
            {
                "name": "by",
                "role": "input",
                "type": "date",
                "constraints": {"ge": {"text": "date(2020, 1, 1)"}},
                "default": {"text": "date(2030, 1, 31)"},
            },
            {"name": "at", "role": "input", "type": "time", "default": {"text": "time(12, 30)"}},
            {"name": "mood", "role": "input", "type": "Mood | None", "default": {"text": "Mood.GOOD"}},
            {"name": "plan", "role": "output", "type": "Mood"},
            {"name": "b", "role": "input", "type": "str", "default": {"json": None}},
            {
                "name": "cost",
                "role": "output",
                "type": "Decimal",
                "constraints": {"gt": {"text": "Decimal('0.10')"}, "multiple_of": {"text": "Decimal('0.05')"}},
                "default": {"text": "Decimal('1.50')"},
            },
            {
                "name": "tags",
                "role": "output",
                "type": "set[str]",
                "default": {"text": "{'x', 'y'}"},
                "examples": [{"text": "{'z'}"}, {"text": "set()"}],
            },
        ],
        "types": {},
        "checks": ["short"],
    }


def test_the_document_gives_back_an_equal_signature() -> None:
    document = json.loads(json.dumps(Everything.to_json()))
    read = Signature.from_json(document, types=OWN, checks={"short": is_short})
    assert read.equals(Everything)
    assert (read.__name__, read.instructions, str(read)) == ("Everything", "Plan the day.", str(Everything))
    assert read.to_json() == Everything.to_json()


def test_generated_instructions_stay_generated() -> None:
    document = Signature.parse("a -> b").to_json()
    assert document["instructions"] is None
    assert (
        Signature.from_json(document).append("c", OutputField()).instructions == "Given `a`, produce `b` and `c`."
    )


def of(annotation: Any, **mark: Any) -> type[Signature]:
    return Signature.parse("given -> b").with_fields(given=(annotation, InputField(**mark)))


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[int, Field(ge=0, le=10)],
        Annotated[int, Field(strict=True, multiple_of=3, title="t", description="d", examples=[1, [2]])],
        Annotated[float, Field(allow_inf_nan=False)],
        Annotated[Decimal, Field(max_digits=4, decimal_places=2)],
        Annotated[datetime, Field(gt=datetime(2020, 1, 1, tzinfo=dt.UTC))],
        Annotated[str, StringConstraints(to_lower=True, pattern="^'\"\\d")],
        Annotated[list[int], annotated_types.Len(1, 3)],
        Annotated[int, annotated_types.Ge(1), Field(le=3), None, "note"],
        conint(ge=1, strict=True),
        list[Annotated[int, Field(ge=0)] | None],
        Annotated[Plan | Step, Field(union_mode="left_to_right")],
        Literal["a", 1, True, None, Mood.GOOD, "it's", "日\n"],
        int | str | None,
        str | int,
        dict[str, list[tuple[int, ...] | tuple[()]]],
        typing.List,  # noqa: UP006  # what users write
        tuple,
        frozenset[UUID],
        typing.Sequence[typing.Mapping[str, object]],
        Any,
        None,
        bytes | timedelta,
        list[Plan] | Mood,
        Box[int],
        Box[list[Mood]],
        Box,
        Pair[int],
        Point,
        UserId,
    ],
)
def test_a_type_comes_back(annotation: Any) -> None:
    signature = of(annotation)
    assert again(signature).equals(signature)


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (Any, {"a": [1, 1.5, None, True], "b": {}}),
        (list[date], [date(2020, 1, 1)]),
        (Any, date(2020, 1, 1)),
        (datetime, datetime(2020, 1, 1, 12, 0, 0, 5)),
        (datetime, datetime(2020, 1, 1, 12, tzinfo=dt.timezone(timedelta(hours=2)))),
        (timedelta, timedelta(days=-1, microseconds=3)),
        (UUID, UUID(int=7)),
        (bytes, b"\x00\xff"),
        (tuple[int, str], (1, "a")),
        (list[int], (1, 2)),
        (set[int], {1, 2}),
        (set[float], {1, 2}),
        (frozenset[tuple[int, int]], frozenset({(1, 2), (3, 4)})),
        (dict[int, str], {1: "a"}),
        (Mood, Mood.BAD),
        (Mood, "bad"),
        (Level, Level.LOW),
        (dict[Mood, int], {Mood.BAD: 1}),
        (Plan, Plan(steps=[Step(text="a", after=[Step(text="b")])], tags={"x", "y"})),
        (list[Plan | Mood], [Plan(steps=[]), Mood.GOOD]),
        (Point, Point(1.5)),
        (Box[int], Box[int](inside=3)),
        (Decimal, 1),
        (date, "2020-01-01"),
        (str, "日本 '\" \n \\ ->"),
    ],
)
def test_a_default_and_an_example_come_back_as_what_they_are(annotation: Any, default: object) -> None:
    signature = of(annotation, default=default, examples=[default])
    read = again(signature)
    assert read.equals(signature)
    mark = read.inputs[0].mark
    assert (type(mark.default), mark.default, mark.examples) == (type(default), default, (default,))


def code(value: int) -> int:
    return value


class Opaque:
    pass


other_mood: Any = type("Mood", (Plan,), {})


@pytest.mark.parametrize(
    ("signature", "message", "hint"),
    [
        (of(Any, default=Opaque()), "Signature.given: the default, <", "of types that JSON and pydantic know"),
        (of(Any, default=float("inf")), "Signature.given: the default, inf,", "of types that JSON"),
        (of(float, default=float("nan")), "Signature.given: the default, nan,", "of types that JSON"),
        (of(Any, default="\ud800"), "Signature.given: the default, '\\ud800',", "of types that JSON"),
        (of(Any, default=Plan(steps=[])), "Signature.given: the default, Plan(", "as the field's type has it"),
        (of(list[Plan], default=(Plan(steps=[]),)), "Signature.given: the default, (Plan(", "as the field's type"),
        (of(str, examples=["a", Opaque()]), "Signature.given: an example, <", "of types that JSON"),
        (
            of(Annotated[int, AfterValidator(code)]),
            "Signature.given: text cannot hold all of the type int",
            "types={",
        ),
        (
            of(list[Callable[[int], str]]),
            "Signature.given: text cannot hold all of the type list[Callable",
            "register",
        ),
        (of(Opaque), "no JSON schema can be made of the type Opaque", "Use a pydantic model"),
        (
            of(dict[str, Mood | other_mood]),
            "Signature.given: two types are called `Mood`",
            "OtherMood",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(signature: type[Signature], message: str, hint: str) -> None:
    with pytest.raises(SignatureError) as error:
        signature.to_json()
    assert message in error.value.message
    assert hint in (error.value.hint or "")


def test_a_type_without_a_name_can_be_given_one() -> None:
    even = Annotated[int, AfterValidator(code)]
    signature = of(list[even] | None)
    assert signature.to_json(types={"Even": even})["fields"][0]["type"] == "list[Even] | None"
    assert again(signature, Even=even).equals(signature)


def test_two_types_of_one_name_can_be_told_apart() -> None:
    signature = of(dict[str, Mood | other_mood])
    assert again(signature, OtherMood=other_mood).equals(signature)


def test_registered_types_go_by_name_and_need_not_be_handed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TYPES, "_types", {})
    share = TYPES.register("Share", Annotated[float, Field(ge=0, le=1)])
    signature = of(share | None).append("c", OutputField(), Annotated[share, Field(gt=0.5)])
    document = signature.to_json()
    assert [each["type"] for each in document["fields"]] == [
        "Share | None",
        "str",
        "Annotated[Share, Field(gt=0.5)]",
    ]
    assert Signature.from_json(document).equals(signature)
    TYPES.register("Share", Annotated[float, Field(ge=0, le=100)], replace=True)
    with pytest.raises(SignatureError, match=r"types\.Share: the type `Share` is not what it was"):
        Signature.from_json(document)


def test_a_registered_type_that_tells_its_arguments_is_written_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Label(str):
        def __class_getitem__(cls, names: object) -> Any:
            given = names if isinstance(names, tuple) else (names,)
            return Annotated[Literal[given], TypeMark("Label", given)]

        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            return handler(str)

    monkeypatch.setattr(TYPES, "_types", {})
    TYPES.register("Label", Label)
    signature = Signature.parse("a: Label['x', 'y'] -> b")
    assert signature.to_json()["fields"][0]["type"] == "Label['x', 'y']"
    assert Signature.from_json(signature.to_json()).equals(signature)


# --- reading -------------------------------------------------------------------------------------------------

DOCUMENT = of(Mood, ge=1, default=Mood.GOOD, examples=[Mood.BAD]).with_checks(is_short).to_json()


def changed(**places: Any) -> Any:
    """``DOCUMENT`` with the values at some places, written ``fields__0__type``, exchanged; ``...`` removes one."""
    document = deepcopy(DOCUMENT)
    for place, value in places.items():
        *path, last = [int(step) if step.isdigit() else step for step in place.split("__")]
        node: Any = document
        for step in path:
            node = node[step]
        if value is ...:
            del node[last]
        else:
            node[last] = value
    return document


@pytest.mark.parametrize(
    ("document", "message", "hint"),
    [
        ([], "signature document: expected an object, got list", "json.loads"),
        ("{}", "signature document: expected an object, got str", "json.loads"),
        ({}, "signature document: `version` is missing", "to_json()"),
        (changed(version="1"), "version: expected a whole number above 0, got '1'", "to_json()"),
        (changed(version=True), "version: expected a whole number", "to_json()"),
        (changed(version=0), "version: expected a whole number", "to_json()"),
        (changed(version=2), "version: the document is of version 2, newer than 1", "newer"),
        (changed(extra=1), "signature document: `extra` is not known here", "version, name"),
        (changed(name=...), "signature document: `name` is missing", "to_json()"),
        (changed(name=3), "name: expected text, got int", "to_json()"),
        (changed(name=""), "name: '' cannot name a signature", "a name"),
        (changed(name="a\0"), "name: 'a\\x00' cannot name a signature", "a name"),
        (changed(instructions=3), "instructions: expected text, got int", "to_json()"),
        (changed(fields=...), "signature document: `fields` is missing", "to_json()"),
        (changed(fields={}), "fields: expected a list, got dict", "to_json()"),
        (changed(fields=[]), "Signature has no input", "InputField()"),
        (changed(fields__0=3), "fields[0]: expected an object, got int", "to_json()"),
        (changed(fields__0__extra=3), "fields[0]: `extra` is not known here", "name, role"),
        (changed(fields__0__type=...), "fields[0]: `type` is missing", "to_json()"),
        (changed(fields__0__name="b"), "fields[1]: `b` is declared twice", "another name"),
        (changed(fields__0__name="_b"), "fields[0].name: `_b` cannot name a field", "Call it"),
        (changed(fields__0__name=None), "fields[0].name: expected text, got null", "to_json()"),
        (changed(fields__0__role="in"), "fields[0].role: 'in' is no role", '"input" or "output"'),
        (changed(fields__0__role=[]), "fields[0].role: [] is no role", '"input"'),
        (changed(fields__0__type="Moood"), "fields[0].type: the type: `Moood` is not", "`Mood`"),
        (changed(fields__0__type="list["), "fields[0].type: `[` is never closed", "Add `]`"),
        (changed(fields__0__type=""), "fields[0].type: the type cannot be read", "Write a type"),
        (changed(fields__0__desc=3), "fields[0].desc: expected text, got int", "to_json()"),
        (changed(fields__0__constraints=[]), "fields[0].constraints: expected an object", "to"),
        (
            changed(fields__0__constraints__gee={"json": 1}),
            "fields[0].constraints.gee: there is no such",
            "gt, ge",
        ),
        (
            changed(fields__0__constraints__ge=1),
            "fields[0].constraints.ge: expected an object, got int",
            "to_json",
        ),
        (changed(fields__0__constraints__ge={"typed": 1}), "constraints.ge: expected one of", "to_json()"),
        (changed(fields__0__default={}), 'fields[0].default: expected one of {"json": ...}', "to_json()"),
        (changed(fields__0__default={"json": 1, "text": "1"}), "fields[0].default: expected one of", "to_json()"),
        (changed(fields__0__default={"text": 1}), "fields[0].default: expected one of", "to_json()"),
        (
            changed(fields__0__default={"text": "open('x')"}),
            "fields[0].default: the value cannot be read",
            "plain",
        ),
        (changed(fields__0__default={"typed": "best"}), "fields[0].default: the value does not fit", "to_json()"),
        (changed(fields__0__default={"json": {1}}), "fields[0].default: JSON cannot hold it", "to_json()"),
        (changed(fields__0__examples={}), "fields[0].examples: expected a list, got dict", "to_json()"),
        (changed(fields__0__examples__0=3), "fields[0].examples[0]: expected an object, got int", "to_json()"),
        (changed(types=[]), "types: expected an object, got list", "to_json()"),
        (changed(types__Mood=3), "types.Mood: expected text, got int", "to_json()"),
        (changed(types__Mood="00"), "types.Mood: the type `Mood` is not what it was", "to_json()"),
        (changed(types__Mod="00"), "types.Mod: the type `Mod` is not known", 'types={"Mod": Mod}'),
        (changed(checks={}), "checks: expected a list, got dict", "to_json()"),
        (changed(checks=[3]), "checks[0]: expected text, got int", "to_json()"),
        (
            changed(checks=["is_long"]),
            "checks[0]: the check `is_long` is not known",
            'checks={"is_long": is_long}',
        ),
        (changed(checks=["plain"]), "checks[0]: `plain` is handed back as function", "@check(message)"),
        (changed(fields__1__name="c"), "check is_short looks at `b`, which is no field", "Its parameters"),
    ],
)
def test_a_malformed_document_is_refused_at_its_place(document: Any, message: str, hint: str) -> None:
    plain: Any = code
    with pytest.raises(SignatureError) as error:
        Signature.from_json(document, types=OWN, checks={"is_short": is_short, "plain": plain})
    assert message in error.value.message
    assert hint in (error.value.hint or "")


def test_a_type_that_is_not_handed_back_is_told() -> None:
    with pytest.raises(SignatureError, match=r"types\.Mood: the type `Mood` is not known") as error:
        Signature.from_json(DOCUMENT)
    assert error.value.hint == 'Hand it back: from_json(document, types={"Mood": Mood}).'


def test_a_type_that_has_changed_is_told() -> None:
    other = Enum("other", {"GOOD": "good", "BAD": "worse"})
    with pytest.raises(SignatureError, match="the type `Mood` is not what it was when the document was written"):
        Signature.from_json(DOCUMENT, types={"Mood": other})


def test_a_document_does_not_change_with_the_signature_nor_the_other_way_round() -> None:
    document = of(list[int], default=[1]).to_json()
    read = Signature.from_json(document)
    document["fields"][0]["default"]["json"].append(2)
    assert read.inputs[0].mark.default == [1]


def test_the_document_is_the_same_in_another_process() -> None:
    code = (
        "import json\n"
        "from tests.signatures.test_document import Everything, Plan, of\n"
        "plan = Plan(steps=[], tags={'x', 'y', 'z'})\n"
        "print(json.dumps([Everything.to_json(), of(Plan, default=plan).to_json()]))"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1]
    assert json.loads(found[0])[0] == json.loads(json.dumps(Everything.to_json()))


# --- any signature -------------------------------------------------------------------------------------------

zones = st.sampled_from([dt.UTC, dt.timezone(timedelta(hours=-3))])
aware = st.datetimes(timezones=zones).map(lambda moment: moment.replace(fold=0))
moods = st.sampled_from(Mood)
texts = st.text(max_size=5)
leaves: dict[Any, st.SearchStrategy[Any]] = {
    str: texts,
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    bytes: texts.map(str.encode),
    date: st.dates(),
    datetime: aware | st.datetimes(),
    time: st.times(),
    timedelta: st.timedeltas(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    UUID: st.uuids(),
    Mood: moods,
    Point: st.builds(Point, st.floats(0, 1), st.floats(0, 1)),
    Step: st.builds(Step, text=texts, after=st.lists(st.builds(Step, text=texts), max_size=2)),
    Annotated[int, Field(ge=0)]: st.integers(0),
    Annotated[str, Field(description="d'\"")]: texts,
    Literal["a", 1, None]: st.sampled_from(["a", 1, None]),
}
hashable = [str, int, bool, date, Decimal, UUID, Mood]


@st.composite
def typed_values(draw: st.DrawFn, depth: int = 2) -> tuple[Any, Any]:
    """A type and a value of it."""
    shape = draw(st.sampled_from(["leaf", "list", "dict", "tuple", "set", "union"] if depth else ["leaf"]))
    if shape == "leaf":
        kind = draw(st.sampled_from(list(leaves)))
        return kind, draw(leaves[kind])
    if shape == "set":
        kind = draw(st.sampled_from(hashable))
        return set[kind], draw(st.sets(leaves[kind], max_size=3))  # type: ignore[valid-type]  # made at run time
    inner: Any
    inner, value = draw(typed_values(depth=depth - 1))
    if shape == "list":
        return list[inner], [value]
    if shape == "dict":
        return dict[str, inner], {draw(texts): value}
    if shape == "tuple":
        return tuple[inner, int], (value, 1)
    return inner | None, draw(st.sampled_from([value, None]))


fields = st.tuples(st.sampled_from([InputField, OutputField]), typed_values(), texts, st.booleans(), st.booleans())


@given(
    drawn=st.lists(fields, max_size=5),
    instructions=st.none() | texts,
    checked=st.booleans(),
)
def test_any_signature_comes_back_from_its_document(
    drawn: list[Any], instructions: str | None, checked: bool
) -> None:
    signature = Signature.parse("given -> b", instructions)
    for number, (mark, (annotation, value), desc, has_default, has_example) in enumerate(drawn):
        given_mark = mark(
            desc=desc,
            examples=[value] if has_example else [],
            **({"default": value} if has_default else {}),
        )
        signature = signature.append(f"f{number}", given_mark, annotation)
    if checked:
        signature = signature.with_checks(is_short)
    read = again(signature)
    assert read.equals(signature)
    assert signature.equals(read)
    assert compile_signature(read).fingerprint == compile_signature(signature).fingerprint
