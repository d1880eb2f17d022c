"""What tests of types share: a signature with one output of a type, in both forms, and replies to it."""

from typing import Any

import pytest

from repertory.errors import OutputsInvalid
from repertory.signatures import OutputField, Signature, compile_signature

BASE = Signature.parse("question -> value", "Do it.")


def both_forms(text: str, annotation: Any) -> type[Signature]:
    """``question -> value: text``; the class form is the same."""
    written = Signature.parse(f"question -> value: {text}", "Do it.")
    declared = BASE.with_fields(value=(annotation, OutputField()))
    assert written.equals(declared)
    assert Signature.from_json(written.to_json()).equals(written)
    return written


def read(text: str, reply: str) -> tuple[Any, list[str]]:
    """What a JSON ``reply`` of the one value is read as, and the changes; it goes to JSON and comes back."""
    compiled = compile_signature(Signature.parse(f"question -> value: {text}"))
    reading = compiled.reader.from_json(f'{{"value": {reply}}}')
    written = compiled.dump_outputs(reading.outputs)
    assert compiled.validate_outputs(written) == reading.outputs
    return reading.outputs["value"], [change.reason for change in reading.changes]


def refusal(text: str, reply: str) -> str:
    """Why a ``reply`` is refused."""
    compiled = compile_signature(Signature.parse(f"question -> value: {text}"))
    with pytest.raises(OutputsInvalid) as refused:
        compiled.reader.from_json(f'{{"value": {reply}}}')
    assert refused.value.field.startswith("value")
    return refused.value.reason
