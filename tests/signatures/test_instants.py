"""Numbers that stand where a date with time belongs."""

from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel

from repertory.errors import OutputsInvalid
from repertory.signatures import OutputField, Signature, compile_signature
from repertory.signatures.fields import InputField


class Visit(BaseModel):
    at: datetime
    note: str = ""


class Diary(Signature):
    """Read the diary."""

    page: str = InputField()
    first: datetime = OutputField()
    visits: list[Visit] = OutputField()
    ended: datetime | str | None = OutputField()


GOOD = (
    '{"first": "2024-03-05T10:00:00Z", "visits": [{"at": "2024-03-05T10:00:00Z", "note": "12"}], "ended": "2024"}'
)


def test_dates_with_time_are_read_and_numbers_as_text_where_text_may_be() -> None:
    reading = compile_signature(Diary).reader.from_json(GOOD)
    assert reading.changes == ()
    assert reading.outputs["first"] == datetime.fromisoformat("2024-03-05T10:00:00Z")
    visits: Any = reading.outputs["visits"]
    assert visits[0].note == "12"


@pytest.mark.parametrize(
    ("damaged", "field"),
    [
        (GOOD.replace('"first": "2024-03-05T10:00:00Z"', '"first": "2024"'), "first"),
        (GOOD.replace('"at": "2024-03-05T10:00:00Z"', '"at": " 1700000000.5 "'), "visits.0.at"),
    ],
)
def test_a_bare_number_is_no_date_with_time(damaged: str, field: str) -> None:
    with pytest.raises(OutputsInvalid, match="bare number") as caught:
        compile_signature(Diary).reader.from_json(damaged)
    assert caught.value.field == field
