"""Types as the text of a signature writes them: what ``type_reader`` reads."""

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from repertory.signatures.content import frozen_type
from repertory.signatures.plain_values import value_text
from repertory.signatures.scope import PLAIN_TYPES
from repertory.signatures.type_reader import FIELD_KEYWORDS, METADATA
from repertory.signatures.type_registry import TYPES, TypeMark

# The shortest name of each, which is the first in the table.
_PLAIN_NAMES: Final[Mapping[Any, str]] = types.MappingProxyType(
    {kind: name for name, kind in reversed(list(PLAIN_TYPES.items()))}
)


@dataclass(frozen=True, slots=True)
class TypeWriter:
    """Writes types, and remembers the names it used that are not built in.

    Metadata that text cannot hold, such as a validator, is left out: whoever needs to know reads the text again
    and compares.

    Attributes:
        known: Names for types that have none of their own, or another one.
        names: The types written by name so far. Two of one name are told by ``clashes``.
    """

    known: Mapping[str, Any] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)
    clashes: list[str] = field(default_factory=list)

    def text(self, annotation: Any) -> str:
        """``annotation`` in the notation of the string form."""
        if self.known and (name := self._known_name(annotation)) is not None:
            return self._named(name, annotation)
        if annotation is types.NoneType or annotation is None:
            return "None"
        if annotation is Ellipsis:
            return "..."
        if isinstance(annotation, list):  # the parameters of a Callable
            return f"[{self._listed(annotation)}]"
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            return self._annotated(*arguments)
        if origin is Literal:
            return f"Literal[{', '.join(map(self._value, arguments))}]"
        if origin in (Union, types.UnionType):
            return " | ".join(map(self.text, arguments))
        if origin is not None:
            return self._generic(origin, arguments if hasattr(annotation, "__args__") else None)
        generic = getattr(annotation, "__pydantic_generic_metadata__", None)
        if generic and generic["origin"] is not None:
            return self._generic(generic["origin"], generic["args"])
        return self._bare(annotation)

    def _generic(self, origin: Any, arguments: tuple[Any, ...] | None) -> str:
        if arguments is None:
            return self.text(origin)
        return f"{self.text(origin)}[{self._listed(arguments) or '()'}]"

    def _bare(self, annotation: Any) -> str:
        if annotation in _PLAIN_NAMES if isinstance(annotation, type) else annotation is Any:
            return _PLAIN_NAMES[annotation]
        name = getattr(annotation, "__name__", None)
        return self._named(name, annotation) if isinstance(name, str) else repr(annotation)

    def _annotated(self, bare: Any, *metadata: Any) -> str:
        for position, mark in enumerate(metadata):
            if isinstance(mark, TypeMark):
                text, rest = self._registered(mark, bare), metadata[position + 1 :]
                break
        else:
            text, rest = self.text(bare), metadata
        told = [each for each in map(self._metadata, rest) if each is not None]
        return f"Annotated[{', '.join([text, *told])}]" if told else text

    def _registered(self, mark: TypeMark, bare: Any) -> str:
        """A registered type by its name, with the arguments it was given."""
        entry = TYPES.get(mark.name)
        listed = ", ".join(map(self._value, mark.arguments))
        name = self._named(mark.name, bare if entry is None else entry.annotation)
        return f"{name}[{listed}]" if listed else name

    def _metadata(self, metadata: Any) -> str | None:
        if metadata is None or isinstance(metadata, str):
            return repr(metadata)
        if isinstance(metadata, FieldInfo):
            stated = _field_keywords(metadata)
        elif METADATA.get(type(metadata).__name__) is type(metadata) and is_dataclass(metadata):
            given = {each.name: getattr(metadata, each.name) for each in fields(metadata)}
            stated = {name: value for name, value in given.items() if value is not None}
        else:
            return None
        name = "Field" if isinstance(metadata, FieldInfo) else type(metadata).__name__
        return f"{name}({', '.join(f'{key}={self._value(value)}' for key, value in stated.items())})"

    def _value(self, value: object) -> str:
        if isinstance(value, Enum):
            self._named(type(value).__name__, type(value))
        return value_text(value)

    def _listed(self, annotations: Iterable[Any]) -> str:
        return ", ".join(map(self.text, annotations))

    def _named(self, name: str, annotation: Any) -> str:
        if frozen_type(self.names.setdefault(name, annotation)) != frozen_type(annotation):
            self.clashes.append(name)
        return name

    def _known_name(self, annotation: Any) -> str | None:
        wanted = frozen_type(annotation)
        return next((name for name, each in self.known.items() if frozen_type(each) == wanted), None)


def _field_keywords(info: FieldInfo) -> dict[str, Any]:
    """What ``pydantic.Field`` was given, as far as text can hold it."""
    stated: dict[str, Any] = {}
    for constraint in info.metadata:
        given = (
            {each.name: getattr(constraint, each.name) for each in fields(constraint)}
            if is_dataclass(constraint)
            else vars(constraint)
        )
        stated.update(given)
    others = ("discriminator", "title", "description", "examples")
    stated.update((name, getattr(info, name)) for name in others)
    return {
        name: stated[name]
        for name in FIELD_KEYWORDS
        if stated.get(name) is not None and stated[name] is not PydanticUndefined
    }
