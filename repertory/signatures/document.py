"""A signature as a JSON document: what ``to_json`` writes and ``from_json`` reads.

::

    {"version": 1, "name": "Topic", "instructions": null,
     "fields": [{"name": "article", "role": "input", "type": "str", "desc": "...",
                 "constraints": {"max_length": {"json": 3}}, "default": {"json": "x"}, "examples": [...]}, ...],
     "types": {"Plan": "<SHA-256 of its JSON schema>"}, "checks": ["is_shorter"]}

Types are in the notation of the string form, own types by name. A value is ``{"json": ...}`` where JSON holds it
as it is, ``{"text": "date(2020, 1, 31)"}`` where the string form does, else ``{"typed": ...}``: as pydantic writes
it for the field's type. Types and checks are code: they stay behind and are handed back to ``from_json``.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from pydantic import TypeAdapter

from repertory.errors import SignatureError
from repertory.signatures.checks import Check
from repertory.signatures.content import Equal, frozen, frozen_type
from repertory.signatures.fields import CONSTRAINTS, MISSING, DeclaredField, FieldMark, Role, check_name, copied
from repertory.signatures.grammar import parse_type, parse_value
from repertory.signatures.plain_values import value_text
from repertory.signatures.records import UNUSABLE
from repertory.signatures.schemas import WholeSchema, open_schema
from repertory.signatures.scope import Scope
from repertory.signatures.set_order import sort_sets
from repertory.signatures.source import clipped
from repertory.signatures.type_writer import TypeWriter

VERSION: Final = 1
"""The version of the format that is written, and the newest that is read."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")  # what UTF-8, and so JSON on a wire, cannot hold

_T = TypeVar("_T")
_Other = TypeVar("_Other")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a signature is made of."""

    name: str
    instructions: str | None
    fields: tuple[DeclaredField, ...]
    checks: tuple[Check, ...]


def write_document(parts: Parts, types: Mapping[str, Any]) -> dict[str, Any]:
    """``parts`` as JSON-able Python; ``types`` names types that have no name of their own.

    Raises:
        SignatureError: Naming the field whose type or value cannot be written.
    """
    writer = TypeWriter(types)
    texts = [writer.text(field.annotation) for field in parts.fields]
    scope = Scope(writer.names)
    for field, text in zip(parts.fields, texts, strict=True):
        _require_exact(f"{parts.name}.{field.name}", field.annotation, text, writer)
    return {
        "version": VERSION,
        "name": parts.name,
        "instructions": parts.instructions,
        "fields": [
            _written_field(f"{parts.name}.{field.name}", field, text, scope)
            for field, text in zip(parts.fields, texts, strict=True)
        ],
        "types": {name: _digest(name, writer.names[name]) for name in sorted(writer.names)},
        "checks": [check.name for check in parts.checks],
    }


def read_document(document: object, types: Mapping[str, Any], checks: Mapping[str, Check]) -> Parts:
    """What ``write_document`` wrote; the ``types`` and ``checks`` that the document names are taken from these.

    Raises:
        SignatureError: Naming the place in the document, or the type or check that is missing or has changed.
    """
    whole = _Node(document, "")
    if not isinstance(document, Mapping):
        raise whole.fault(
            f"expected an object, got {_kind(document)}",
            "Give what to_json() returned; read text with json.loads().",
        )
    version = whole.required("version")
    if type(version.value) is not int or version.value < 1:
        raise version.fault(f"expected a whole number above 0, got {_shown(version.value)}", _REMEDY)
    if version.value > VERSION:
        raise version.fault(
            f"the document is of version {version.value}, newer than {VERSION}", "Read it with a newer Repertory."
        )
    whole.only("version", "name", "instructions", "fields", "types", "checks")
    scope = Scope(types)
    for each in whole.items_of("types"):
        _require_same_type(each, scope)
    return Parts(
        name=_read_name(whole.required("name")),
        instructions=whole.optional("instructions", lambda node: node.text(), None),
        fields=_read_fields(whole.required("fields").members(), scope),
        checks=tuple(
            _handed_back(each, checks) for each in whole.optional("checks", lambda node: node.members(), ())
        ),
    )


# --- writing -------------------------------------------------------------------------------------------------


def _require_exact(where: str, annotation: Any, text: str, writer: TypeWriter) -> None:
    if writer.clashes:
        name = writer.clashes[0]
        raise SignatureError(
            f"{where}: two types are called `{name}`",
            hint=f'Rename one, or name one here: to_json(types={{"Other{name}": ...}}).',
        )
    try:
        again = parse_type(text, Scope(writer.names))
    except SignatureError:
        exact = False
    else:
        exact = frozen_type(again) == frozen_type(annotation)
    if not exact:
        raise SignatureError(
            f"{where}: text cannot hold all of the type {clipped(text)}",
            hint='Give it a name, here and to from_json(): types={"Name": the_type}, or register it.',
        )


def _written_field(where: str, field: DeclaredField, text: str, scope: Scope) -> dict[str, Any]:
    mark = field.mark
    written: dict[str, Any] = {"name": field.name, "role": mark.role, "type": text}
    if mark.desc:
        written["desc"] = mark.desc
    if mark.constraints:
        written["constraints"] = {
            name: _written_value(f"{where}: {name}", value, None, scope)
            for name, value in mark.constraints.items()
        }
    if mark.default is not MISSING:
        written["default"] = _written_value(f"{where}: the default", mark.default, field.annotation, scope)
    if mark.examples:
        written["examples"] = [
            _written_value(f"{where}: an example", value, field.annotation, scope) for value in mark.examples
        ]
    return written


def _written_value(where: str, value: object, annotation: Any | None, scope: Scope) -> dict[str, Any]:
    """``value`` in the first of the three notations that gives it back as it is."""
    try:
        if _is_json(value):
            return {"json": copied(value)}
        text = value_text(value)
        if _reads_as(value, lambda: parse_value(text, scope)):
            return {"text": text}
        if annotation is not None:
            typed = _typed(annotation, value)
            if _reads_as(value, lambda: TypeAdapter(annotation).validate_json(json.dumps(typed, allow_nan=False))):
                return {"typed": typed}
    except UNUSABLE:
        pass
    raise SignatureError(
        f"{where}, {clipped(repr(value))}, cannot be written so that it is read as the same",
        hint="Write it as the field's type has it, of types that JSON and pydantic know.",
    )


def _reads_as(value: object, read: Callable[[], object]) -> bool:
    try:
        return frozen(read(), Equal) == frozen(value, Equal)
    except (SignatureError, *UNUSABLE):
        return False


def _typed(annotation: Any, value: object) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    schema = adapter.json_schema()
    return sort_sets(adapter.dump_python(value, mode="json", warnings=False), schema, schema.get("$defs", {}))


def _is_json(value: object) -> bool:
    kind = type(value)
    if kind is float:
        return math.isfinite(cast("float", value))
    if kind is list:
        return all(map(_is_json, cast("list[object]", value)))
    if kind is dict:
        return all(
            type(key) is str and _is_json(each) for key, each in cast("dict[object, object]", value).items()
        )
    if kind is str:
        return not _SURROGATE.search(cast("str", value))
    return value is None or kind in (bool, int)


def _digest(name: str, annotation: Any) -> str:
    """SHA-256 (hex) of the type's JSON schema, without titles: it changes when values of the type change."""
    try:
        schema = open_schema(TypeAdapter(annotation).json_schema(schema_generator=WholeSchema))
    except UNUSABLE as error:
        raise SignatureError(
            f"no JSON schema can be made of the type {name}: {clipped(str(error))}",
            hint="Use a pydantic model, a dataclass, an Enum, a Literal or a built-in type.",
        ) from error
    return hashlib.sha256(json.dumps(_steady(schema), sort_keys=False).encode()).hexdigest()


def _steady(node: Any) -> Any:
    """``node`` with the lists that are defaults sorted: some were sets, which differ between processes."""
    if isinstance(node, list):
        return [_steady(each) for each in node]
    if not isinstance(node, dict):
        return node
    steady = {key: _steady(each) for key, each in node.items()}
    if isinstance(steady.get("default"), list):
        steady["default"].sort(key=lambda each: json.dumps(each, sort_keys=True))
    return steady


# --- reading -------------------------------------------------------------------------------------------------

_REMEDY: Final = "Give a document as to_json() writes it."


@dataclass(frozen=True, slots=True)
class _Node:
    """A value in the document and where it is, such as ``fields[1].type``."""

    value: Any
    place: str

    def fault(self, problem: str, hint: str) -> SignatureError:
        where = f"signature document, {self.place}" if self.place else "signature document"
        return SignatureError(f"{where}: {problem}", hint=hint)

    def required(self, key: str) -> "_Node":
        if key not in self.mapping():
            raise self.fault(f"`{key}` is missing", _REMEDY)
        return self._inner(key)

    def optional(self, key: str, read: Callable[["_Node"], _T], otherwise: _Other) -> _T | _Other:
        return otherwise if self.mapping().get(key) is None else read(self._inner(key))

    def only(self, *keys: str) -> None:
        for key in self.mapping():
            if key not in keys:
                raise self.fault(f"`{clipped(str(key))}` is not known here", f"Known are: {', '.join(keys)}.")

    def items_of(self, key: str) -> Iterable["_Node"]:
        """The entries of the object at ``key``, each at its own place."""
        return self.optional(key, lambda node: [node._inner(name) for name in node.mapping()], [])

    def mapping(self) -> Mapping[str, Any]:
        if isinstance(self.value, Mapping):
            return self.value
        raise self.fault(f"expected an object, got {_kind(self.value)}", _REMEDY)

    def members(self) -> "tuple[_Node, ...]":
        if isinstance(self.value, list | tuple):
            return tuple(_Node(each, f"{self.place}[{number}]") for number, each in enumerate(self.value))
        raise self.fault(f"expected a list, got {_kind(self.value)}", _REMEDY)

    def text(self) -> str:
        if isinstance(self.value, str):
            return self.value
        raise self.fault(f"expected text, got {_kind(self.value)}", _REMEDY)

    def key(self) -> str:
        return self.place.rpartition(".")[2]

    def _inner(self, key: object) -> "_Node":
        return _Node(self.value[key], f"{self.place}.{key}" if self.place else str(key))


def _require_same_type(node: _Node, scope: Scope) -> None:
    name = node.place.removeprefix("types.")
    found = scope.find(name)
    if found is MISSING:
        raise node.fault(
            f"the type `{name}` is not known", f'Hand it back: from_json(document, types={{"{name}": {name}}}).'
        )
    if _digest(name, found) != node.text():
        raise node.fault(
            f"the type `{name}` is not what it was when the document was written",
            "Hand back the type as it was, or write the document anew with to_json().",
        )


def _read_name(node: _Node) -> str:
    name = node.text()
    if not name or not name.isprintable():
        raise node.fault(f"{_shown(name)} cannot name a signature", "Give it a name, such as a class has.")
    return name


def _read_fields(nodes: Iterable[_Node], scope: Scope) -> tuple[DeclaredField, ...]:
    found: dict[str, DeclaredField] = {}
    for node in nodes:
        field = _read_field(node, scope)
        if field.name in found:
            raise node.fault(f"`{field.name}` is declared twice", "Remove one, or give it another name.")
        found[field.name] = field
    return tuple(found.values())


def _read_field(node: _Node, scope: Scope) -> DeclaredField:
    node.mapping()
    node.only("name", "role", "type", "desc", "constraints", "default", "examples")
    role, name, text = node.required("role"), node.required("name"), node.required("type")
    if role.value not in ("input", "output"):
        raise role.fault(f"{_shown(role.value)} is no role", 'Write "input" or "output".')
    _at(name, lambda: check_name(name.text(), role.value))
    annotation = _at(text, lambda: parse_type(text.text(), scope))
    constraints = {}
    for each in node.items_of("constraints"):
        if each.key() not in CONSTRAINTS:
            raise each.fault("there is no such constraint", f"Known are: {', '.join(CONSTRAINTS)}.")
        constraints[each.key()] = _read_value(each, None, scope)
    mark = FieldMark(
        role=cast("Role", role.value),
        desc=node.optional("desc", lambda inner: inner.text(), ""),
        default=node.optional("default", lambda inner: _read_value(inner, annotation, scope), MISSING),
        constraints=constraints,
        examples=tuple(
            _read_value(each, annotation, scope)
            for each in node.optional("examples", lambda inner: inner.members(), ())
        ),
    )
    return DeclaredField(name.text(), annotation, mark)


def _read_value(node: _Node, annotation: Any | None, scope: Scope) -> object:
    match node.mapping():
        case {"json": value, **rest} if not rest:
            if not _at(node, lambda: _is_json(value)):
                raise node.fault("JSON cannot hold it", _REMEDY)
            return copied(value)
        case {"text": str() as text, **rest} if not rest:
            return _at(node, lambda: parse_value(text, scope))
        case {"typed": value, **rest} if not rest and annotation is not None:
            return _at(node, lambda: TypeAdapter(annotation).validate_json(json.dumps(value)))
    raise node.fault('expected one of {"json": ...}, {"text": ...} and {"typed": ...}', _REMEDY)


def _at(node: _Node, read: Callable[[], _T]) -> _T:
    """What ``read`` returns; its errors say where in the document."""
    try:
        return read()
    except SignatureError as error:
        raise node.fault(error.message, error.hint or _REMEDY) from None
    except UNUSABLE as error:
        raise node.fault(f"the value does not fit: {clipped(str(error), 200)}", _REMEDY) from None


def _handed_back(node: _Node, checks: Mapping[str, Check]) -> Check:
    name = node.text()
    found = checks.get(name)
    if found is None:
        raise node.fault(
            f"the check `{name}` is not known",
            f'Checks are code. Hand it back: from_json(document, checks={{"{name}": {name}}}).',
        )
    if not isinstance(found, Check):
        raise node.fault(f"`{name}` is handed back as {_kind(found)}", "Make it one with @check(message).")
    return found.renamed(name)


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _shown(value: object) -> str:
    return clipped(repr(value))
