"""Damaged and oddly typed replies: what they are read as, and that every change is told."""

from datetime import date
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from repertory.errors import OutputsInvalid
from repertory.signatures import InputField, OutputField, Signature, compile_signature
from repertory.signatures.coercion import coerce_json
from repertory.signatures.repair import Unreadable, repair_json


class Size(Enum):
    SMALL = "small"
    EXTRA_LARGE = "extra-large"


class Item(BaseModel):
    title: str
    price: float


class Order(Signature):
    """Read the order."""

    mail: str = InputField()
    ordered: date = OutputField()
    parts: list[Item] = OutputField()
    size: Size = OutputField()
    paid: bool = OutputField()
    share: float = OutputField(ge=0, le=1)
    count: int = OutputField()
    remarks: str | None = OutputField()
    tags: list[str] = OutputField()
    channel: Literal["mail", "phone"] = OutputField(default="mail")


GOOD: dict[str, Any] = {
    "ordered": "2024-03-05",
    "parts": [{"title": "Bolt", "price": 1.5}],
    "size": "small",
    "paid": True,
    "share": 0.87,
    "count": 1234,
    "remarks": None,
    "tags": ["a", "b"],
    "channel": "phone",
}
READER = compile_signature(Order).reader
READ = READER.from_value(GOOD)


def test_what_fits_is_read_without_a_change() -> None:
    assert READ.changes == ()
    assert READ.outputs["ordered"] == date(2024, 3, 5)


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("ordered", "March 5, 2024"),
        ("ordered", "5th March 2024"),
        ("ordered", "2024/03/05"),
        ("ordered", "2024-03-05T10:00:00"),
        ("parts", {"title": "Bolt", "price": 1.5}),
        ("parts", [{"Title": "Bolt", "price": "$1.50"}]),
        ("parts", '[{"title": "Bolt", "price": 1.5}]'),
        ("size", "Small"),
        ("size", "The size is **small**."),
        ("paid", "Yes"),
        ("paid", 1),
        ("share", "87%"),
        ("share", "0.87"),
        ("count", "1,234"),
        ("count", 1234.0),
        ("count", " 1 234 "),
        ("count", "1234 pieces"),
        ("tags", "- a\n- b"),
        ("tags", "1. a\n2. b"),
    ],
)
def test_what_was_clearly_meant_is_read_and_told(field: str, written: object) -> None:
    reading = READER.from_value(GOOD | {field: written})
    assert reading.outputs == READ.outputs
    assert reading.changes
    assert all(change.kind == "coercion" and change.field.startswith(field) for change in reading.changes)


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("ordered", "03/04/2024"),
        ("size", "small or extra large"),
        ("size", "not small"),
        ("size", "tiny"),
        ("paid", "maybe"),
        ("share", "87"),
        ("share", "between 0.3 and 0.5"),
        ("count", "1.234"),
        ("count", "3 or 4"),
        ("count", 3.7),
        ("count", None),
        ("parts", "Bolt"),
    ],
)
def test_what_is_not_clear_is_refused_by_name(field: str, written: object) -> None:
    with pytest.raises(OutputsInvalid) as caught:
        READER.from_value(GOOD | {field: written})
    assert caught.value.field.startswith(field)


def test_what_is_missing_is_null_or_the_default_where_there_is_one() -> None:
    reading = READER.from_value(
        {name: value for name, value in GOOD.items() if name not in ("remarks", "channel")}
    )
    assert (reading.outputs["remarks"], reading.outputs["channel"]) == (None, "mail")
    assert [str(change) for change in reading.changes] == [
        "remarks: read what is missing as null",
        "channel: read its default, as it was left out",
    ]


@pytest.mark.parametrize("around", ["{{'result': {0}}}", "[{0}]"])
def test_outputs_within_something_else_are_found(around: str) -> None:
    wrapped: Any = [GOOD] if around.startswith("[") else {"result": GOOD}
    reading = READER.from_value(wrapped)
    assert reading.outputs == READ.outputs
    assert len(reading.changes) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, "b": "x",}', {"a": 1, "b": "x"}),
        ("{'a': 1, 'b': 'x'}", {"a": 1, "b": "x"}),
        ('{a: 1, b: "x"}', {"a": 1, "b": "x"}),
        ('{"a": 1 "b": "x"}', {"a": 1, "b": "x"}),
        ('{"a": 1, /* one */ "b": "x" // two\n}', {"a": 1, "b": "x"}),
        ('Sure!\n```json\n{"a": 1, "b": "x"}\n```\nHope it helps.', {"a": 1, "b": "x"}),
        ('<think>{"a": 0}</think>{"a": 1, "b": "x"}', {"a": 1, "b": "x"}),
        ('{"a": None, "b": True}', {"a": None, "b": True}),
        ('{"a": 1, "b": "say "x" twice"}', {"a": 1, "b": 'say "x" twice'}),
        ('{"a": 1, "b": "two\nlines"}', {"a": 1, "b": "two\nlines"}),
        ('{"a": 1, "b": "x"', {"a": 1, "b": "x"}),
        ("{“a”: 1, “b”: “x”}", {"a": 1, "b": "x"}),
        ('{{"a": 1, "b": "x"}}', {"a": 1, "b": "x"}),
        ('"{\\"a\\": 1, \\"b\\": \\"x\\"}"', {"a": 1, "b": "x"}),
    ],
)
def test_damaged_json_is_repaired_and_told(text: str, value: object) -> None:
    repaired = repair_json(text, expected=["a", "b"])
    assert repaired.value == value
    assert repaired.changes
    assert not repaired.truncated


@pytest.mark.parametrize("text", ['{"a": 12', '{"a": 1, "b": "the beginn', '{"a": 1, "b": tru', '{"a": 1, "b'])
def test_what_ends_in_the_midst_is_told_and_not_delivered_as_whole(text: str) -> None:
    repaired = repair_json(text, expected=["a", "b"])
    assert repaired.truncated
    assert repaired.value in ({}, {"a": 1})


@pytest.mark.parametrize(
    "text", ["", "I do not know.", '{"a": "\ud800"}', "{" * 100_000, "[" * 100_000, '"' * 99_999]
)
def test_what_is_no_json_is_said_to_be_none(text: str) -> None:
    with pytest.raises(Unreadable):
        repair_json(text)


HOSTILE = ['\\"', "{[1,", '{\\"[1,', " ", "\n\t", "```", "<think>", '{"a":"', "[ ", "\\", "(", "a: ", '"a" ']


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("before", ["", '{"a": ', '{"a": "'])
def test_hostile_text_is_read_or_refused_and_nothing_else(piece: str, before: str) -> None:
    text = before + piece * (200_000 // len(piece))  # hangs where the work is not linear in the length
    try:
        repaired = repair_json(text, expected=["a", "b"])
    except Unreadable:
        return
    assert repaired.changes


class Left(BaseModel):
    kind: int
    child: "Left | Right | None" = None


class Right(BaseModel):
    kind: float
    child: "Left | Right | None" = None


def test_unions_within_unions_are_not_tried_without_end() -> None:
    tree: dict[str, Any] = {"kind": "neither"}
    for _ in range(60):
        tree = {"kind": "neither", "child": tree}
    schema = compile_signature(Signature.parse("q -> tree: Tree", types={"Tree": Left | Right})).output_schema
    assert coerce_json({"tree": tree}, schema, schema["$defs"], {}).value == {"tree": tree}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8), below, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_coercion_takes_any_value_and_reading_is_typed_or_refused(value: object) -> None:
    try:
        reading = READER.from_value(value)
    except OutputsInvalid:
        return
    assert set(reading.outputs) == set(GOOD)


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), json_values, max_size=9))
def test_an_output_that_did_not_fit_strictly_is_always_told(odd: dict[str, Any]) -> None:
    given_values = GOOD | odd
    try:
        reading = READER.from_value(given_values)
    except OutputsInvalid:
        return
    written = compile_signature(Order).dump_outputs(reading.outputs)
    changed = {name for name in GOOD if written[name] != given_values[name] or type(written[name]) is bool}
    told = {change.field.partition(".")[0] for change in reading.changes}
    lists = {"parts"}  # further keys of an item are passed over, as pydantic does
    assert {name for name in changed if type(given_values[name]) is not bool} - lists <= told


@given(json_values)
def test_coercing_twice_changes_nothing_more(value: object) -> None:
    schema = compile_signature(Order).output_schema
    definitions = schema.get("$defs", {})
    once = coerce_json(value, schema, definitions, {})
    assert coerce_json(once.value, schema, definitions, {}).changes == ()


@pytest.mark.parametrize("kind", ["list[str]", "int", "float | None", "dict[str, int]"])
def test_half_a_character_in_a_fields_own_text_is_refused(kind: str) -> None:
    compiled = compile_signature(Signature.parse(f"question -> answer: {kind}"))
    with pytest.raises(OutputsInvalid):
        compiled.reader.from_texts({"answer": "\ud800"})


@pytest.mark.parametrize(
    "text", ["1 " + "a" * 60 + "!", "9" * 100_000 + "?", "a " * 50_000 + "!", "1,234" * 20_000, "'" * 100_000]
)
@pytest.mark.parametrize("kind", ["int", "float", "Decimal", "Confidence"])
def test_a_text_that_only_begins_like_a_number_is_refused_at_once(kind: str, text: str) -> None:
    compiled = compile_signature(Signature.parse(f"question -> answer: {kind}"))
    with pytest.raises(OutputsInvalid):
        compiled.reader.from_value({"answer": text})


@pytest.mark.parametrize(
    ("text", "number"),
    [("~3.5", 3.5), ("**42**", 42), ("1,234 euros per month.", 1234), ("$1,000", 1000), ("5 kg", 5), ("-2.", -2)],
)
def test_a_number_is_found_among_marks_and_units(text: str, number: float) -> None:
    compiled = compile_signature(Signature.parse("question -> answer: float"))
    reading = compiled.reader.from_value({"answer": text})
    assert reading.outputs == {"answer": number}
    assert reading.changes
