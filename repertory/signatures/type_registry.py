"""The registry of types: names for the string form, and how values of a type are coerced and scored.

Validation is pydantic's and only says yes or no. A *coercer* turns what a model wrote into a value that
validates, and says what it did; a *scorer* judges how good a valid value is, from 0 to 1.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias, get_args, get_origin

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

from repertory.errors import SignatureError

Coercer: TypeAlias = Callable[[object], tuple[object, str]]
"""A JSON value to one that should validate, and what was done, in words that complete "read ..." ("": nothing).

Raises ValueError where it knows no way."""

Scorer: TypeAlias = Callable[[Any], float]
"""A valid value to its quality, from 0 (worthless) to 1 (as good as it gets)."""

TYPE_KEYWORD: Final = "x-type"
"""The keyword that names a registered type in a JSON schema of ours; it is removed from what providers get."""


@dataclass(frozen=True, slots=True)
class TypeMark:
    """Metadata of an annotation: it stands for the registered type ``name``, given these ``arguments``."""

    name: str
    arguments: tuple[str | int, ...] = ()

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), TYPE_KEYWORD: self.name}


@dataclass(frozen=True, slots=True)
class RegisteredType:
    """One entry of the registry. ``annotation`` is what stands behind a colon; it carries a ``TypeMark``."""

    name: str
    annotation: Any
    coerce: Coercer | None
    quality: Scorer | None


class TypeRegistry:
    """Types by name.

    Invariant: an entry's annotation is what ``register`` returned: ``Annotated[..., TypeMark(name)]``, or a class
    whose ``registered_as`` is the name, and whose schema says so.
    """

    def __init__(self) -> None:
        self._types: dict[str, RegisteredType] = {}
        self._version = 0

    @property
    def version(self) -> int:
        """Counts changes: what was worked out under another version may be out of date."""
        return self._version

    def register(
        self,
        name: str,
        annotation: Any,
        *,
        coerce: Coercer | None = None,
        quality: Scorer | None = None,
        replace: bool = False,
    ) -> Any:
        """Make ``annotation`` known as ``name``; return the annotation to use in the class form.

        Raises:
            SignatureError: The name is taken and ``replace`` is not set, or it is no identifier.
        """
        if not name.isidentifier():
            raise SignatureError(
                f"register_type: {name!r} cannot name a type", hint="Use a Python identifier, such as `Money`."
            )
        if name in self._types and not replace:
            raise SignatureError(
                f"register_type: there is a type `{name}` already",
                hint="Choose another name, or pass replace=True to stand in for it.",
            )
        # A class that marks its own schema is the same in both forms.
        itself = getattr(annotation, "registered_as", None) == name
        marked = annotation if itself else _annotated(_without_mark(annotation), TypeMark(name))
        self._types[name] = RegisteredType(name, marked, coerce, quality)
        self._version += 1
        return marked

    def get(self, name: str) -> RegisteredType | None:
        """The entry of this name, if there is one."""
        return self._types.get(name)

    def annotations(self) -> Mapping[str, Any]:
        """Every registered annotation by name."""
        return {name: each.annotation for name, each in self._types.items()}

    def coercers(self) -> Mapping[str, Coercer]:
        """The coercers of the types that have one, by the type's name."""
        return {name: each.coerce for name, each in self._types.items() if each.coerce is not None}

    def quality(self, name: str, value: object) -> float | None:
        """How good ``value``, valid for the type ``name``, is: from 0 to 1; None if nothing rates that type.

        Raises:
            SignatureError: There is no such type, or its scorer leaves the scale.
        """
        entry = self._types.get(name)
        if entry is None:
            raise SignatureError(f"quality: there is no type `{name}`", hint="Register it with register_type.")
        if entry.quality is None:
            return None
        rated = entry.quality(value)
        if not 0 <= rated <= 1:
            raise SignatureError(
                f"quality: the scorer of `{name}` returned {rated!r}", hint="A quality is from 0 to 1."
            )
        return rated

    def __iter__(self) -> Iterator[RegisteredType]:
        return iter(tuple(self._types.values()))


# Like the table of codecs, it belongs to the process: a type's name means the same in every signature.
TYPES: Final = TypeRegistry()
"""The types known by name in every signature of this process."""


def register_type(
    name: str,
    annotation: Any,
    *,
    coerce: Coercer | None = None,
    quality: Scorer | None = None,
    replace: bool = False,
) -> Any:
    """Make ``annotation`` known as ``name`` in the string form of every signature of this process.

    Args:
        name: A Python identifier.
        annotation: Whatever pydantic validates.
        coerce: Reads what a model wrote, where it does not validate as it is.
        quality: Rates a valid value.
        replace: Whether a type of that name gives way: so a built-in one gets another coercer or scorer.

    Returns:
        The annotation to use in the class form.

    Raises:
        SignatureError: The name is taken, or is no identifier.
    """
    return TYPES.register(name, annotation, coerce=coerce, quality=quality, replace=replace)


def _without_mark(annotation: Any) -> Any:
    if get_origin(annotation) is not Annotated:
        return annotation
    bare, *metadata = get_args(annotation)
    kept = tuple(each for each in metadata if not isinstance(each, TypeMark))
    return _annotated(bare, *kept) if kept else bare


def _annotated(*parts: Any) -> Any:
    form: Any = Annotated  # mypy reads a subscripted Annotated as a type expression
    return form[parts]
