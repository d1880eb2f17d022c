"""Reading what a model wrote as the outputs of a signature: strictly first, then leniently, saying what was
changed.

The strict reading is one pass in pydantic, and nearly every reply takes no other. Only what fails it is repaired
(damaged JSON) and coerced (values of another type), then validated again; each step is told as a `Change`.
"""

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from pydantic import ValidationError

from repertory.errors import OutputsInvalid
from repertory.signatures.changes import Change
from repertory.signatures.coercion import coerce_json
from repertory.signatures.faults import Fault, first_fault
from repertory.signatures.instants import bare_number_path, has_instants
from repertory.signatures.json_text import dump_json, load_json
from repertory.signatures.records import Record, Values
from repertory.signatures.repair import Unreadable, repair_json
from repertory.signatures.schemas import REF_PREFIX, JsonSchema
from repertory.signatures.type_registry import TypeRegistry

NULL_WORDS: Final = frozenset({"None", "none", "Null", "NULL", "N/A", "n/a"})

TextKind: TypeAlias = Literal["text", "nullable text", "scalar", "structure"]
"""How a field's own text is read: as it is; so, but for ``null``; as JSON or else as it is; as JSON."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The outputs in a reply.

    Attributes:
        outputs: Typed values by name, all of them.
        changes: What was changed in order to read them, in order; empty for a reply as it was asked for.
        truncated: Whether the reply ended in the midst of a value.
        open_ended: Whether nothing in the reply says that it is whole: it may have ended anywhere.
    """

    outputs: Values
    changes: tuple[Change, ...] = ()
    truncated: bool = False
    open_ended: bool = False


class OutputReader:
    """Reads replies of one signature. All methods raise OutputsInvalid naming the output that does not fit.

    Args:
        record: The outputs' validators.
        defaults: Values, as JSON, of outputs that a reply may leave out.
        registry: Where types with coercers of their own are found.
        refuse: Makes the error for a fault.
    """

    def __init__(
        self,
        record: Record,
        defaults: Mapping[str, object],
        registry: TypeRegistry,
        refuse: Callable[[Fault], OutputsInvalid],
    ) -> None:
        self._strict = record.read_json_strict
        self._lax = record.read_json
        self._schema = record.schema
        self._definitions: Mapping[str, JsonSchema] = record.schema.get("$defs", {})
        self._defaults = defaults
        self._registry = registry
        self._refuse = refuse
        self._instants = has_instants(record.schema)
        properties = record.schema["properties"]
        self._names = frozenset(properties)
        self._kinds = {name: _text_kind(schema, self._definitions) for name, schema in properties.items()}

    def from_json(self, text: str) -> Reading:
        """Read a reply that is to be one JSON object of the outputs."""
        if not self._instants:  # otherwise the lenient way looks at them
            try:
                return Reading(self._strict(text))
            except ValidationError:
                pass
        return self._from_damaged(text)

    def from_texts(self, texts: Mapping[str, str], changes: tuple[Change, ...] = ()) -> Reading:
        """Read outputs that came as texts of their own; ``changes`` were made in telling them apart."""
        values: dict[str, object] = {}
        truncated = False
        for name, text in texts.items():
            kind = self._kinds[name]
            if kind == "text":
                values[name] = text
                continue
            values[name], made, cut = self._value_of(name, text, kind)
            changes += made
            truncated = truncated or cut
        if not self._instants:
            try:
                return Reading(self._strict(dump_json(values)), changes, truncated)
            except ValueError:  # pydantic's, or json's on lone surrogates
                pass
        return self.from_value(values, changes, truncated=truncated)

    def from_value(self, value: object, changes: tuple[Change, ...] = (), *, truncated: bool = False) -> Reading:
        """Read a JSON value leniently; ``changes`` were made in getting at it."""
        coerced = coerce_json(value, self._schema, self._definitions, self._registry.coercers())
        value, changes = coerced.value, changes + coerced.changes
        if isinstance(value, dict):
            left_out = {name: default for name, default in self._defaults.items() if name not in value}
            value = {**value, **left_out}
            changes += tuple(Change("coercion", name, "its default, as it was left out") for name in left_out)
        if self._instants:
            at = bare_number_path(value, self._schema, self._definitions)
            if at is not None:
                raise self._refuse(Fault(at, "is a bare number, not a date and time", "datetime"))
        try:
            text = dump_json(value)
        except ValueError:
            raise self._refuse(Fault("", "holds a lone surrogate, which is no character", "surrogate")) from None
        try:
            return Reading(self._strict(text), changes, truncated)
        except ValidationError as error:
            strict = error
        try:
            outputs = self._lax(text)
        except ValidationError as error:
            raise self._refuse(first_fault(error, value)) from None
        return Reading(outputs, changes + _leniencies(strict, value), truncated)

    def _from_damaged(self, text: str) -> Reading:
        try:
            repaired = repair_json(text, expected=self._names)
        except Unreadable as error:
            raise self._refuse(Fault("", str(error), "json_invalid")) from None
        return self.from_value(repaired.value, repaired.changes, truncated=repaired.truncated)

    def _value_of(self, name: str, text: str, kind: TextKind) -> tuple[object, tuple[Change, ...], bool]:
        """The JSON value that the text of output ``name`` stands for, the changes made, whether it was cut off."""
        stripped = text.strip()
        if kind == "nullable text":
            if stripped == "null":
                return None, (), False
            if stripped in NULL_WORDS:
                return None, (Change("coercion", name, f"{stripped!r} as null"),), False
            return text, (), False
        try:
            return load_json(stripped), (), False
        except ValueError:
            pass
        if kind == "scalar":
            return stripped, (), False
        try:
            repaired = repair_json(text)
        except Unreadable:
            return stripped, (), False
        return repaired.value, tuple(_within(name, change) for change in repaired.changes), repaired.truncated


def _within(name: str, change: Change) -> Change:
    return replace(change, field=f"{name}.{change.field}" if change.field else name)


def _leniencies(error: ValidationError, value: object) -> tuple[Change, ...]:
    """What pydantic's strict reading refused and its lax one let through."""
    return tuple(
        Change("coercion", ".".join(map(str, detail["loc"])), f"{reprlib.repr(detail['input'])} leniently")
        for detail in error.errors(include_url=False, include_context=False)
    )


def _text_kind(schema: JsonSchema, definitions: Mapping[str, JsonSchema]) -> TextKind:
    if "$ref" in schema:
        return _text_kind(definitions[schema["$ref"].removeprefix(REF_PREFIX)], definitions)
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if choices is not None:
        return "text" if all(isinstance(choice, str) for choice in choices) else "scalar"
    match schema:
        case {"type": "string"}:
            return "text"
        case {"type": "array" | "object"}:
            return "structure"
        case {"anyOf": [{"type": "string"} as only, {"type": "null"}]} if only.keys() <= {"type", "minLength"}:
            return "nullable text"
        case _:
            return "scalar"
