"""Shares and similarities: numbers on a closed scale."""

import re
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Final, TypeAlias

from pydantic import Field

from repertory.signatures.coercion_scalars import plain_number, shown
from repertory.signatures.type_registry import TYPES, TypeMark

Confidence: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), TypeMark("Confidence")]
"""How sure the model says it is, from 0 to 1."""

Probability: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), TypeMark("Probability")]
"""A probability, from 0 to 1."""

Score: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), TypeMark("Score")]
"""How good something is, from 0 to 1."""

Similarity: TypeAlias = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False), TypeMark("Similarity")]
"""How alike two things are, from -1 (opposite) to 1 (the same)."""

_NUMBER: Final = re.compile(r"[-+]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})")
_OF: Final = re.compile(rf"({_NUMBER.pattern}) ?(?:/|of|out of) ?({_NUMBER.pattern})")
_WORDS: Final = MappingProxyType(
    {
        **dict.fromkeys(("none", "impossible"), 0.0),
        "very low": 0.1,
        **dict.fromkeys(("low", "unlikely"), 0.25),
        **dict.fromkeys(("medium", "moderate", "fair"), 0.5),
        **dict.fromkeys(("high", "likely"), 0.8),
        "very high": 0.95,
        "certain": 1.0,
    }
)
_MARGIN: Final = 0.05  # how far beyond an end of the scale counts as the end
_SURELY_PERCENT: Final = 10  # up to it, a number above 1 may as well be one out of ten


def coerce_share(value: object) -> tuple[object, str]:
    """A percentage, a fraction, a word such as "high" (by a table) or a number a little outside, as 0 to 1.

    Raises:
        ValueError: It is none of these, or it is not clear which.
    """
    if isinstance(value, str):
        text = value.strip().strip("*`\"'").rstrip(".").strip().casefold()
        if text in _WORDS:
            return _WORDS[text], f"{shown(value)} as {_WORDS[text]}, by a table of words"
        if (fraction := _OF.fullmatch(text)) is not None and float(fraction[2]) > 0:
            return _told(value, float(fraction[1]) / float(fraction[2]), 0)
        if (percent := _NUMBER.fullmatch(text.removesuffix("%").rstrip())) is not None:
            number = float(percent[0])
            return _told(value, number / 100, 0) if text.endswith("%") else _scaled(value, number)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return (value, "") if 0 <= value <= 1 else _scaled(value, value)
    raise ValueError(f"{shown(value)} is no share")


def coerce_decimal(value: object) -> tuple[object, str]:
    """A number with a currency or groups of thousands, digit for digit. Raises ValueError for other text."""
    if not isinstance(value, str):
        return value, ""
    plain = plain_number(value.strip())
    if plain is None:
        raise ValueError(f"{shown(value)} is no number")
    return plain, "" if plain == value else f"{shown(value)} as {plain}"


def coerce_similarity(value: object) -> tuple[object, str]:
    """Text of a number, a percentage, or a number a little outside, as -1 to 1. Raises ValueError for others."""
    if isinstance(value, str):
        text = value.strip()
        number = _NUMBER.fullmatch(text.removesuffix("%").rstrip())
        if number is not None:
            return _told(value, float(number[0]) / (100 if text.endswith("%") else 1), -1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return (value, "") if -1 <= value <= 1 else _told(value, value, -1)
    raise ValueError(f"{shown(value)} is no similarity")


def _scaled(value: object, number: float) -> tuple[object, str]:
    if _SURELY_PERCENT < number <= 100:
        return _rounded(number / 100), f"{shown(value)} as {_rounded(number / 100)}, a percentage"
    return _told(value, number, 0)


def _told(value: object, number: float, least: int) -> tuple[object, str]:
    if not least - _MARGIN <= number <= 1 + _MARGIN:
        raise ValueError(f"{shown(value)} is not between {least} and 1")
    clamped = _rounded(min(max(number, least), 1.0))
    return clamped, f"{shown(value)} as {clamped}"


def _rounded(number: float) -> float:
    return float(f"{number:.12g}")


def rate_share(value: float) -> float:
    """A heuristic: a model that is quite sure, or not at all, has seldom weighed anything."""
    return 0.5 if value in (0, 1) else 1.0


for _name, _type in (("Confidence", Confidence), ("Probability", Probability)):
    TYPES.register(_name, _type, coerce=coerce_share, quality=rate_share)
TYPES.register("Decimal", Decimal, coerce=coerce_decimal)
TYPES.register("Score", Score, coerce=coerce_share)
TYPES.register("Similarity", Similarity, coerce=coerce_similarity)
