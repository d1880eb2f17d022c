"""Coercion of single values: numbers, truth values, choices, dates and text."""

import re
import reprlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Final

from repertory.signatures.schemas import JsonSchema

_TRUTH: Final = MappingProxyType(
    {"true": True, "yes": True, "y": True, "on": True, "1": True}
    | {"false": False, "no": False, "n": False, "off": False, "0": False}
)
_NULL: Final = frozenset({"null", "none", "n/a", ""})
_NUMBER: Final = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:[   ]\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?")
_BEFORE: Final = " \t\r\n\xa0\u202f~≈$€£¥*_`\"'"
_AFTER: Final = " \t\r\n\xa0\u202f*_`\"'."
_UNIT: Final = re.compile(r"\s?[A-Za-z€£¥$°]{1,12}\Z")
_LONGEST: Final = 100  # characters of text that is taken for a number
_DATES: Final = ("%Y/%m/%d", "%d %B %Y", "%d %b %Y", "%B %d, %Y", "%b %d, %Y", "%B %d %Y", "%Y%m%d")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value that was read as another, and the words that complete "read ..."."""

    value: object
    reason: str


def coerced_scalar(value: object, schema: JsonSchema) -> Scalar | None:
    """``value`` as ``schema``, which is no array and no object, wants it; None if it fits or is unclear."""
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if choices is not None:
        return _choice(value, choices)
    match schema.get("type"):
        case "null":
            is_null = isinstance(value, str) and value.strip().casefold() in _NULL
            return Scalar(None, f"{shown(value)} as null") if is_null else None
        case "boolean":
            return _truth(value)
        case "integer" | "number" as kind:
            return _number(value, schema, whole=kind == "integer")
        case "string" if schema.get("format") == "date":
            return _date(value)
        case "string":
            return _text(value, schema)
        case _:
            return None


def shown(value: object) -> str:
    """``value`` for a reason, shortened."""
    return reprlib.repr(value)


def left_out(value: Mapping[str, object], used: Collection[str]) -> list[str]:
    """The reason for passing over the keys of ``value`` that are not ``used``; empty if there are none."""
    others = [shown(key) for key in value if key not in used]
    return [f"past {', '.join(others)}"] if others else []


def _truth(value: object) -> Scalar | None:
    if isinstance(value, bool):
        return None
    key = value.strip(" .!*`\"'\n").casefold() if isinstance(value, str) else str(value)
    found = _TRUTH.get(key) if isinstance(value, str | int) else None
    return None if found is None else Scalar(found, f"{shown(value)} as {str(found).lower()}")


def _number(value: object, schema: JsonSchema, *, whole: bool) -> Scalar | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and whole and value.is_integer():
        return Scalar(int(value), f"{value!r} as {int(value)}")
    if not isinstance(value, str):
        return None
    text = value.strip()
    percent = text.endswith("%")
    plain = plain_number(text.removesuffix("%"))
    if plain is None:
        return None
    if whole and re.fullmatch(r"[-+]?\d{1,3}\.\d{3}", plain):
        return None  # a thousand in one half of the world, and one in the other
    number: int | float = int(plain) if re.fullmatch(r"[-+]?\d+", plain) else float(plain)
    if percent and not _above_one(schema):
        number = float(f"{number / 100:.12g}")
    if whole and isinstance(number, float):
        if not number.is_integer():
            return None
        number = int(number)
    return Scalar(number, f"{shown(value)} as {number}")


def plain_number(text: str) -> str | None:
    """The number in ``text``, without currency, groups of thousands and stars; None if there is none."""
    if len(text) > _LONGEST:
        return None
    core, longer = text.lstrip(_BEFORE).rstrip(_AFTER), ""
    while core != longer:
        core, longer = _UNIT.sub("", core).rstrip(_AFTER), core
    if not any(char.isdigit() for char in core) or not _NUMBER.fullmatch(core):
        return None
    return re.sub(r"[,   ]", "", core)


def _above_one(schema: JsonSchema) -> bool:
    """Whether the bounds say that values above 1 are meant."""
    most = schema.get("maximum", schema.get("exclusiveMaximum", 1))
    return isinstance(most, int | float) and most > 1


def _choice(value: object, choices: Sequence[object]) -> Scalar | None:
    if any(type(value) is type(choice) and value == choice for choice in choices):
        return None
    if not isinstance(value, str):
        same = [choice for choice in choices if isinstance(choice, str) and choice == str(value)]
        return Scalar(same[0], f"{shown(value)} as {same[0]!r}") if len(same) == 1 else None
    folded = _folded(value)
    meant: list[object] = [choice for choice in choices if _folded(str(choice)) == folded]
    if not meant:
        words = f" {' '.join(_words(value))} "
        if len(words) > 200 or re.search(r" (not|no|nor|never|neither|isn|t) ", words):
            return None
        meant = [choice for choice in choices if f" {' '.join(_words(str(choice)))} " in words]
    return Scalar(meant[0], f"{shown(value)} as {meant[0]!r}") if len(meant) == 1 else None


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def _folded(text: str) -> str:
    return " ".join(_words(text)) or text.strip().casefold()


def _date(value: object) -> Scalar | None:
    if not isinstance(value, str):
        return None
    text = value.strip()
    try:
        date.fromisoformat(value)
    except ValueError:
        pass
    else:
        return None if len(value) == 10 else Scalar(date.fromisoformat(value).isoformat(), f"{value!r} as a date")
    try:
        return Scalar(datetime.fromisoformat(text).date().isoformat(), f"{value!r} as a date")
    except ValueError:
        pass
    plain = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", text)
    for form in _DATES:
        try:
            return Scalar(datetime.strptime(plain, form).date().isoformat(), f"{value!r} as a date")
        except ValueError:
            continue
    return None


def _text(value: object, schema: JsonSchema) -> Scalar | None:
    if "format" in schema:
        return None
    if isinstance(value, bool):
        return Scalar(str(value).lower(), f"{value} as text")
    if isinstance(value, int | float):
        return Scalar(str(value), f"{value} as text")
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return Scalar(value[0], "the one item of a list as the text")
    return None
