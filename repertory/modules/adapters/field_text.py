"""Values of fields as text: strings as they are, everything else as JSON on one line."""

from typing import Any

from repertory.signatures.json_text import dump_json


def field_text(value: Any) -> str:
    """``value`` (JSON-able Python) as it stands in a prompt."""
    return value if isinstance(value, str) else dump_json(value).decode()
