"""Fields in prompts: what is said of one, and its values as text."""

from typing import Any

from repertory.signatures import FieldSpec
from repertory.signatures.json_text import dump_json


def field_text(value: Any) -> str:
    """``value`` (JSON-able Python) in a prompt: a string as it is, anything else as JSON on one line."""
    return value if isinstance(value, str) else dump_json(value).decode()


def described(field: FieldSpec) -> str:
    """What a model is told to write for ``field``."""
    return f"{field.type_hint}: {field.desc}" if field.desc else field.type_hint
