"""The content of a signature as one hashable value: what two must share to be compiled to the same form."""

import types
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin
from uuid import UUID

from annotated_types import BaseMetadata
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from repertory.signatures.fields import FieldMark
    from repertory.signatures.signature import SignatureType

Frozen: TypeAlias = Hashable

# Values that are told by how Python shows them: 1.0 is not 1, Decimal('1.0') not Decimal('1.00'), 0.0 not -0.0.
_SHOWN: Final = frozenset({int, float, bytes, Decimal, date, datetime, time, timedelta, UUID})
_DEEPEST: Final = 200  # levels of a value that are looked into


@dataclass(frozen=True, slots=True, eq=False)
class Same:
    """A value that counts by identity. Held here, its identity is not given to another."""

    value: object

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class Equal:
    """A value that counts by its type and its own idea of equality."""

    value: object

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Equal)
            and type(self.value) is type(other.value)
            and bool(self.value is other.value or self.value == other.value)
        )

    def __hash__(self) -> int:
        return hash(type(self.value))


Leaf: TypeAlias = type[Same] | type[Equal]


class ContentKey:
    """A signature's content, hashed once."""

    __slots__ = ("_content", "_hash")

    def __init__(self, content: Frozen) -> None:
        self._content = content
        self._hash = hash(content)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, ContentKey) and self._hash == other._hash and self._content == other._content


def content_key(signature: "SignatureType") -> ContentKey:
    """The content of ``signature``: name, instructions, checks, fields with types, marks and order.

    Classes count by identity: two of one name differ. So do ``int | str`` and ``str | int``, which Python calls
    equal but which read differently. A default that can change, such as a model's instance, counts by identity.
    """
    return ContentKey((signature.__name__, *_content(signature, Same)))


def same_content(one: "SignatureType", other: "SignatureType") -> bool:
    """Whether both have the same content but for the name; instances of one class are as equal as they say."""
    return _content(one, Equal) == _content(other, Equal)


def _content(signature: "SignatureType", leaf: Leaf) -> tuple[Frozen, ...]:
    declared = tuple(
        (field.name, frozen_type(field.annotation), _frozen_mark(field.mark, leaf))
        for side in (signature.inputs, signature.outputs)
        for field in side
    )
    return signature._stated, declared, tuple(map(frozen, signature.checks))


def _frozen_mark(mark: "FieldMark", leaf: Leaf) -> Frozen:
    # The order in which constraints were written means nothing.
    constraints = sorted((name, frozen(value, leaf)) for name, value in mark.constraints.items())
    return mark.role, mark.desc, frozen(mark.default, leaf), tuple(constraints), frozen(mark.examples, leaf)


def frozen_type(annotation: Any) -> Frozen:
    """``annotation`` as something hashable: equal for the same type written in other words, and for no other."""
    if type(annotation) is type:
        return Same(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None:
        return frozen(annotation)
    if origin is Annotated:
        bare, *metadata = arguments
        return Annotated, frozen_type(bare), tuple(map(frozen, metadata))
    if origin is Literal:
        return Literal, tuple(map(frozen, arguments))
    if origin in (Union, types.UnionType):
        return Union, tuple(map(frozen_type, arguments))
    if not hasattr(annotation, "__args__"):
        return frozen(origin)  # typing.List without brackets
    return frozen(origin), tuple(map(frozen_type, arguments))


def frozen(value: object, leaf: Leaf = Same) -> Frozen:
    """``value`` as something hashable that equals the same of a value of the same content and type, and no other.

    Plain values and what is put together of them count by content, all else as ``leaf`` says.
    """
    return _frozen(value, leaf, _DEEPEST)


def _frozen(value: Any, leaf: Leaf, depth: int) -> Frozen:
    def inner(each: object) -> Frozen:
        return _frozen(each, leaf, depth - 1)

    kind = type(value)
    if kind is str or value is None or kind is bool:
        return kind, value
    if kind in _SHOWN:
        return kind, repr(value)
    if depth == 0 or isinstance(value, Enum):
        return leaf(value)
    if isinstance(value, Mapping) and kind in (dict, types.MappingProxyType):
        return Mapping, tuple((inner(key), inner(each)) for key, each in value.items())
    if kind in (list, tuple):
        return kind, tuple(map(inner, value))
    if kind in (set, frozenset):
        return kind, frozenset(map(inner, value))
    if isinstance(value, FieldInfo):
        return kind, tuple(map(inner, _stated(value)))
    if is_dataclass(value) and _counts_by_content(value, leaf):
        return kind, tuple(inner(getattr(value, each.name)) for each in fields(value))
    if isinstance(value, BaseMetadata) and hasattr(value, "__dict__"):
        return kind, inner(vars(value))
    return Same(value) if callable(value) else leaf(value)


def _stated(info: FieldInfo) -> list[object]:
    return [getattr(info, name) for name in FieldInfo.__slots__ if not name.startswith("_")]


def _counts_by_content(value: Any, leaf: Leaf) -> bool:
    """Of an instance of a dataclass: whether it cannot change, or nobody will; equality may be its own affair."""
    if isinstance(value, type):
        return False
    # pydantic's own constraints, such as AllowInfNan, are not all frozen.
    return type(value).__module__.startswith("pydantic.") or (leaf is Same and value.__dataclass_params__.frozen)
