"""Validating and writing out the values of one call."""

import json
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from repertory.errors import InputError, OutputsInvalid
from repertory.signatures import InputField, OutputField, Signature, compile_signature


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Person(BaseModel):
    name: str
    boss: "Person | None" = None


@dataclass
class Point:
    x: int


class Task(Signature):
    """Do it."""

    article: str = InputField()
    limit: int = InputField(default=3, ge=1)
    tags: list[str] = InputField(default=[])
    mood: Mood = OutputField()
    day: date = OutputField()
    who: Person = OutputField()
    where: Point | list[int] = OutputField()
    score: float = OutputField(ge=0, le=1)


TASK = compile_signature(Task)
REPLY: dict[str, Any] = {
    "mood": "good",
    "day": "2020-01-02",
    "who": {"name": "Ann"},
    "where": {"x": 1},
    "score": 0.5,
}
READ = {
    "mood": Mood.GOOD,
    "day": date(2020, 1, 2),
    "who": Person(name="Ann"),
    "where": Point(1),
    "score": 0.5,
}


def test_inputs_are_coerced_as_from_json_and_defaults_filled_in() -> None:
    assert TASK.validate_inputs({"article": "a", "limit": "7"}) == {"article": "a", "limit": 7, "tags": []}


def test_calls_do_not_share_a_default() -> None:
    first = TASK.validate_inputs({"article": "a"})
    tags = first["tags"]
    assert isinstance(tags, list)
    tags.append("mine")
    assert TASK.validate_inputs({"article": "a"})["tags"] == []


@pytest.mark.parametrize(
    ("values", "field", "reason", "hint"),
    [
        ({"artcle": "a"}, "artcle", "is not an input of Task", "Did you mean `article`?"),
        ({"article": "a", "q": 1}, "q", "is not an input of Task", "Task takes: article, limit, tags."),
        ({}, "article", "is missing", "`article` takes: string."),
        ({"article": 5}, "article", "valid string, got 5", "`article` takes: string."),
        ({"article": "a", "limit": "0"}, "limit", "greater than or equal to 1", "integer, at least 1"),
        ({"article": "a", "tags": ["x", 1]}, "tags.1", "valid string, got 1", "list of string"),
        ({"article": "\ud800"}, "article", "unicode", "string"),
        (["article"], "", "valid dictionary, got ['article']", "article, limit, tags"),
    ],
)
def test_unfit_inputs_name_field_reason_and_remedy(values: Any, field: str, reason: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        TASK.validate_inputs(values)
    assert error.value.field == field
    assert reason in error.value.reason
    assert hint in (error.value.hint or "")


def test_a_huge_unfit_value_is_not_repeated_in_the_error() -> None:
    with pytest.raises(InputError) as error:
        TASK.validate_inputs({"article": "a", "limit": "9" * 10_000 + "x"})
    assert len(str(error.value)) < 300


def test_outputs_are_read_from_json_or_from_python() -> None:
    assert TASK.reader.from_json(json.dumps(REPLY)).outputs == READ
    assert TASK.validate_outputs(REPLY) == READ


def test_what_a_model_says_beyond_the_outputs_is_left_out() -> None:
    assert TASK.validate_outputs({**REPLY, "note": "!"}) == READ


@pytest.mark.parametrize(
    ("change", "field", "reason", "hint"),
    [
        ({"mood": "fine"}, "mood", "'good' or 'bad', got 'fine'", 'one of "good", "bad"'),
        ({"score": 1.5}, "score", "less than or equal to 1", "at most 1"),
        ({"score": float("nan")}, "score", "finite number, got", "number"),
        ({"who": {"name": "Ann", "boss": {}}}, "who.boss.name", "is missing", '"name" (string)'),
        ({"where": "here"}, "where", " / Input should be a", "list of integer"),
        ({"where": [1, "b"]}, "where.1", "valid integer", "list of integer"),
    ],
)
def test_unfit_outputs_name_field_reason_and_type(
    change: dict[str, Any], field: str, reason: str, hint: str
) -> None:
    reply = REPLY | change
    with pytest.raises(OutputsInvalid) as from_python:
        TASK.validate_outputs(reply)
    with pytest.raises(OutputsInvalid) as from_json:
        TASK.reader.from_json(json.dumps(reply))
    for error in (from_python.value, from_json.value):
        assert error.field == field
        assert reason.lower() in error.reason.lower()
        assert hint in (error.hint or "")


def test_a_missing_output_is_named() -> None:
    with pytest.raises(OutputsInvalid, match="mood: is missing") as error:
        TASK.validate_outputs({name: value for name, value in REPLY.items() if name != "mood"})
    assert error.value.field == "mood"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I think it is good.", "there is no JSON"),
        ("[1]", "object, got [1]"),
        ("", "is empty"),
    ],
)
def test_text_that_is_no_json_object_has_no_field_to_name(text: str, reason: str) -> None:
    with pytest.raises(OutputsInvalid) as error:
        TASK.reader.from_json(text)
    assert error.value.field == ""
    assert reason in error.value.reason
    assert "mood, day, who, where, score" in (error.value.hint or "")


def test_validated_values_are_written_as_json() -> None:
    assert TASK.dump_outputs(READ) == {**REPLY, "who": {"name": "Ann", "boss": None}}
    assert TASK.dump_inputs({"article": "a", "limit": 2, "tags": ["x"]}) == {
        "article": "a",
        "limit": 2,
        "tags": ["x"],
    }


def test_some_of_the_values_can_be_written_and_others_are_left_out() -> None:
    assert TASK.dump_outputs({"mood": Mood.BAD, "id": 7}) == {"mood": "bad"}


def test_a_value_json_cannot_hold_is_named() -> None:
    compiled = compile_signature(Signature.parse("a: str, b: Any -> c: Any"))
    with pytest.raises(InputError, match="b: JSON cannot hold a object"):
        compiled.dump_inputs({"a": "x", "b": object()})
    with pytest.raises(OutputsInvalid, match="c: JSON cannot hold a object"):
        compiled.dump_outputs({"c": object()})


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Wide(Signature):
    """Round-trip."""

    given: str = InputField()
    text: str = OutputField()
    count: int | None = OutputField()
    table: dict[str, list[float]] = OutputField()
    choice: Literal["a", 1, True] = OutputField()
    days: set[date] = OutputField()
    anything: Any = OutputField()


@given(
    st.fixed_dictionaries(
        {
            "text": st.text(),
            "count": st.none() | st.integers(),
            "table": st.dictionaries(st.text(), st.lists(st.floats(allow_nan=False, allow_infinity=False))),
            "choice": st.sampled_from(["a", 1, True]),
            "days": st.sets(st.dates()),
            "anything": json_values,
        }
    )
)
def test_outputs_survive_being_written_and_read_again(values: dict[str, object]) -> None:
    wide = compile_signature(Wide)
    outputs = wide.validate_outputs(values)
    assert outputs == values
    assert wide.reader.from_json(json.dumps(wide.dump_outputs(outputs))).outputs == outputs
