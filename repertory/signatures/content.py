"""The content of a signature as one hashable value: what two must share to be compiled to the same form."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args, get_origin

from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from repertory.signatures.fields import FieldMark
    from repertory.signatures.signature import SignatureType

Frozen: TypeAlias = Hashable


@dataclass(frozen=True, slots=True)
class Same:
    """A value that cannot be hashed: it equals itself alone. Held here, its identity is not given away."""

    value: object

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


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


def content_key(signature: "SignatureType", *, named: bool = True) -> ContentKey:
    """The content of ``signature``: instructions, checks, fields with types, marks and order; if ``named``, its
    name.

    Classes count by identity: two of one name differ. So do ``int | str`` and ``str | int``, which Python calls
    equal but which read differently.
    """
    fields = tuple(
        (field.name, _frozen_type(field.annotation), _frozen_mark(field.mark)) for field in signature._fields
    )
    return ContentKey((signature.__name__ if named else None, signature._stated, fields, signature.checks))


def _frozen_mark(mark: "FieldMark") -> Frozen:
    try:
        default = frozen(mark.default)
    except RecursionError:  # it contains itself, which compiling refuses
        default = Same(mark.default)
    return mark.role, mark.desc, default, frozen(mark.constraints), frozen(mark.examples)


def _frozen_type(annotation: Any) -> Frozen:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None or not arguments:
        return frozen(annotation)
    if origin is Annotated:
        bare, *metadata = arguments
        return Annotated, _frozen_type(bare), tuple(map(frozen, metadata))
    if origin is Literal:
        return Literal, tuple(map(frozen, arguments))
    return origin, tuple(map(_frozen_type, arguments))


def frozen(value: Any) -> Frozen:
    """``value`` as something hashable that equals the same of an equal value of the same type, and of no other."""
    kind = type(value)
    if isinstance(value, Mapping):
        return kind, tuple((frozen(key), frozen(each)) for key, each in value.items())
    if isinstance(value, list | tuple):
        return kind, tuple(map(frozen, value))
    if isinstance(value, set | frozenset):
        return kind, frozenset(map(frozen, value))
    if isinstance(value, FieldInfo):  # what it was made with, and not the object
        return kind, frozen(value._attributes_set), frozen(value.metadata)
    try:
        hash(value)
    except TypeError:
        return Same(value)
    return kind, value
