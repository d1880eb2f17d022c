"""JSON text with integers of any size: orjson where it can, the slower way where it cannot."""

import json
from typing import Any

import orjson
from pydantic_core import from_json


def dump_json(value: Any, *, sort_keys: bool = False) -> bytes:
    """``value`` as JSON on one line."""
    try:
        return orjson.dumps(value, None, orjson.OPT_SORT_KEYS) if sort_keys else orjson.dumps(value)
    except TypeError:  # orjson's integers end at 64 bits; anything else fails again below
        return json.dumps(value, sort_keys=sort_keys, separators=(",", ":"), ensure_ascii=False).encode()


def load_json(text: str | bytes) -> Any:
    """What ``text`` says. Raises ValueError."""
    try:
        return from_json(text, allow_inf_nan=False)  # orjson would turn long integers into floats
    except TypeError:  # pydantic's word for a lone surrogate
        raise ValueError("holds half of a character") from None
    except ValueError as error:
        if "recursion limit" not in str(error):
            raise
    try:
        return json.loads(text, parse_constant=_no_number)  # goes deeper than what orjson writes
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
