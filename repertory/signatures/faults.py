"""pydantic's validation errors in the project's terms: one field, one reason."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a value.

    ``field`` is dotted where nested and "" for the value as a whole; ``kind`` is pydantic's error type.
    """

    field: str
    reason: str
    kind: str


def first_fault(error: ValidationError, values: object) -> Fault:
    """The fault to report of ``error``, raised on validating ``values``.

    An unknown field goes first: it is often the misspelt name of the one that is missing. Where no member of a
    union fits, the one that fitted furthest is what was meant; equals are all given.
    """
    details = error.errors(include_url=False, include_context=False)
    first = next((detail for detail in details if detail["type"] == "extra_forbidden"), details[0])
    same_field = [detail for detail in details if detail["loc"][:1] == first["loc"][:1]]
    chosen = max(same_field, key=lambda detail: len(_path(detail, values)))
    field = ".".join(_path(chosen, values))
    reasons = dict.fromkeys(
        detail["msg"] for detail in same_field if _path(detail, values) == _path(chosen, values)
    )
    match chosen["type"]:
        case "missing":
            reason = "is missing"
        case "extra_forbidden":
            reason = "is not a known field"
        case "json_invalid":
            reason = chosen["msg"]
        case _:
            reason = f"{' / '.join(reasons)}, got {reprlib.repr(chosen['input'])}"
    return Fault(field, reason, chosen["type"])


def _path(detail: ErrorDetails, values: object) -> list[str]:
    """The error's location without the steps that pydantic adds for members of a union."""
    path: list[str] = []
    for step in detail["loc"]:
        match values, step:
            case Mapping(), str() if step in values:
                values = values[step]
            case ((list() | tuple()), int()) if step < len(values):
                values = values[step]
            case _:
                continue
        path.append(str(step))
    if detail["type"] == "missing":
        path.append(str(detail["loc"][-1]))
    return path
