"""Types in the text of a signature, read from the syntax tree: looked up, put together, never evaluated.

::

    type      = name | name "[" argument ("," argument)* "]" | type "|" type | "None"
              | "Literal" "[" value ("," value)* "]" | "Annotated" "[" type ("," metadata)+ "]"
    metadata  = "Field" "(" keyword "=" value ... ")", or one of annotated_types' and pydantic's constraints
"""

import ast
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin

import annotated_types
from pydantic import AllowInfNan, Discriminator, Field, Strict, StringConstraints

from repertory.errors import SignatureError
from repertory.signatures.fields import MISSING
from repertory.signatures.plain_values import NotPlain, read_value
from repertory.signatures.scope import FORMS, Scope, dotted, other_way
from repertory.signatures.source import clipped

Told: TypeAlias = Callable[[ast.expr, str, str], SignatureError]
"""Makes the error that something at a node has a problem, with its remedy."""

FIELD_KEYWORDS: Final = (
    "gt",
    "ge",
    "lt",
    "le",
    "multiple_of",
    "min_length",
    "max_length",
    "pattern",
    "strict",
    "allow_inf_nan",
    "max_digits",
    "decimal_places",
    "union_mode",
    "discriminator",
    "title",
    "description",
    "examples",
)
"""The keywords of ``pydantic.Field`` that mean something inside ``Annotated``."""

METADATA: Final[Mapping[str, Any]] = types.MappingProxyType(
    {
        each.__name__: each
        for each in (
            annotated_types.Gt,
            annotated_types.Ge,
            annotated_types.Lt,
            annotated_types.Le,
            annotated_types.MultipleOf,
            annotated_types.MinLen,
            annotated_types.MaxLen,
            annotated_types.Len,
            annotated_types.Interval,
            AllowInfNan,
            Discriminator,
            Strict,
            StringConstraints,
        )
    }
)

_ARGUMENTS: Final[Mapping[Any, int]] = types.MappingProxyType(
    {kind: 2 if kind in (dict, Mapping) else 1 for kind in (list, set, frozenset, dict, Mapping)}
)
_NAME_LIMIT: Final = 60  # characters of a name that is looked at for the one that was meant


@dataclass(frozen=True, slots=True)
class TypeReader:
    """Turns the syntax tree of one annotation into the type it names; ``told`` makes the errors."""

    scope: Scope
    told: Told

    def resolve(self, node: ast.expr) -> Any:
        """The type that ``node`` stands for.

        Raises:
            SignatureError: Naming the part at fault and the remedy.
        """
        match node:
            case ast.Constant(value=None):
                return types.NoneType
            case ast.Name() | ast.Attribute():
                return self._named(node)
            case ast.Constant(value=str() as name) if (found := self.scope.find(name)) is not MISSING:
                return found  # a forward reference
            case ast.BinOp(op=ast.BitOr()):
                return self._union(node, _members(node))
            case ast.Subscript(value=base, slice=slice_):
                return self._subscripted(node, base, _items(slice_))
            case _:
                raise self.told(
                    node, "is not a type", "Write a type's name; text in quotes belongs inside `Literal[...]`."
                )

    def _subscripted(self, node: ast.expr, base: ast.expr, items: list[ast.expr]) -> Any:
        match self.scope.plain(dotted(base)):
            case "Literal":
                return _subscript(Literal, tuple(value for item in items for value in self._literals(item)))
            case "Optional":
                if len(items) != 1:
                    raise self.told(node, f"has {len(items)} arguments", "Give it exactly 1.")
                return self._union(node, [*items, ast.Constant(None)])
            case "Union":
                return self._union(node, items)
            case "Annotated":
                if len(items) < 2:
                    raise self.told(
                        node, "has no metadata", "Write `Annotated[int, Field(ge=0)]`, or the type alone."
                    )
                bare, *metadata = items
                return _subscript(Annotated, (self.resolve(bare), *map(self._metadata, metadata)))
        return self._generic(node, self.resolve(base), items)

    def _named(self, node: ast.Name | ast.Attribute) -> Any:
        name = dotted(node)
        found = self.scope.find(name)
        if found is not MISSING:
            if isinstance(found, types.ModuleType):
                raise self.told(node, "is a module", f"Name a type in it, such as `{name}.Plan`.")
            return found
        if self.scope.plain(name) in FORMS:
            raise self.told(node, "needs its arguments", f"Write them in brackets, such as `{name}[...]`.")
        raise self.told(node, "is not a known type", self._remedy(name))

    def _remedy(self, name: str) -> str:
        if (other := other_way(name)) is not None:
            return f"Write `{other}`."
        near = get_close_matches(name, self.scope.names(), n=1) if len(name) <= _NAME_LIMIT else []
        meant = f"Did you mean `{near[0]}`? " if near else ""
        shown = clipped(name)
        return f'{meant}Pass your own types with types={{"{shown}": {shown}}}.'

    def _generic(self, node: ast.expr, base: Any, items: list[ast.expr]) -> Any:
        if base is tuple and len(items) == 2 and isinstance(items[1], ast.Constant) and items[1].value is Ellipsis:
            return _subscript(tuple, (self.resolve(items[0]), ...))
        kind, *metadata = get_args(base) if get_origin(base) is Annotated else (base,)
        arguments = [self._argument(kind, item) for item in items]
        wanted = _ARGUMENTS.get(kind, len(arguments)) if isinstance(kind, type) else len(arguments)
        if len(arguments) != wanted:
            raise self.told(node, f"has {len(arguments)} arguments", f"Give it exactly {wanted}.")
        if isinstance(kind, type) and not hasattr(kind, "__class_getitem__"):
            raise self.told(node, "takes no arguments", "Remove the brackets.")
        try:
            made = kind[arguments[0] if len(arguments) == 1 else tuple(arguments)]
        except SignatureError as error:
            raise self.told(node, f"is refused: {error.message}", error.hint or "Change its arguments.") from error
        except Exception as error:  # the type's own code
            if isinstance(error, TypeError) and not hasattr(kind, "__class_getitem__"):
                raise self.told(node, "takes no arguments", "Remove the brackets.") from None
            raise self.told(node, f"is refused: {clipped(str(error))}", "Change its arguments.") from error
        return _with_metadata(made, metadata)

    def _argument(self, kind: Any, node: ast.expr) -> Any:
        """A type, or for types other than the built-in generics also a plain value, such as ``"python"``."""
        if not isinstance(kind, type) or kind.__module__ in ("builtins", "collections.abc"):
            return self.resolve(node)
        match node:
            case ast.Constant(value=str() as name) if self.scope.find(name) is not MISSING:
                return name if "__class_getitem__" in vars(kind) else self.scope.find(name)
            case ast.Constant(value=str() | bool() | int() | float()) | ast.UnaryOp() | ast.List():
                return self._value(node)
            case _:
                return self.resolve(node)

    def _union(self, node: ast.expr, members: list[ast.expr]) -> Any:
        resolved = [self.resolve(member) for member in members]
        try:
            return _subscript(Union, tuple(resolved))
        except TypeError:
            raise self.told(
                node, "cannot be a union", "Join types only; text belongs in `Literal[...]`."
            ) from None

    def _literals(self, node: ast.expr) -> tuple[Any, ...]:
        if isinstance(node, ast.Subscript) and self.scope.plain(dotted(node.value)) == "Literal":
            return tuple(value for item in _items(node.slice) for value in self._literals(item))
        try:
            value, reason = read_value(node, self.scope), ""
        except NotPlain as error:
            value, reason = ..., f": it {error.reason}"
        if value is None or isinstance(value, str | int | Enum):
            return (value,)
        raise self.told(
            node,
            f"cannot be a Literal's value{reason}",
            "Use text in quotes, whole numbers, True, False, None or an Enum's members.",
        )

    def _metadata(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=None | str() as value):
                return value
            case ast.Call(func=ast.Name() | ast.Attribute() as function, args=arguments, keywords=keywords):
                name = self.scope.plain(dotted(function))
                if name == "Field":
                    return self._field(node, arguments, keywords)
                if name in METADATA:
                    given = map(self._value, arguments)
                    return self._constraint(node, METADATA[name], *given, **self._keywords(keywords))
        raise self.told(
            node,
            "is no metadata that text can hold",
            "Write `Field(ge=0, le=10)`, or register the annotated type and use its name.",
        )

    def _field(self, node: ast.expr, arguments: list[ast.expr], keywords: list[ast.keyword]) -> Any:
        if arguments:
            raise self.told(arguments[0], "has no name", "Write it as a keyword, such as `Field(ge=0)`.")
        for keyword in keywords:
            if keyword.arg not in FIELD_KEYWORDS:
                near = get_close_matches(str(keyword.arg), FIELD_KEYWORDS, n=1)
                remedy = (
                    "Write the default behind the type: `n: int = 3`."
                    if keyword.arg in ("default", "default_factory")
                    else f"Did you mean `{near[0]}`?"
                    if near
                    else f"Use {', '.join(FIELD_KEYWORDS)}."
                )
                raise self.told(keyword.value, f"is given for `{keyword.arg}`, which cannot stand here", remedy)
        return self._constraint(node, Field, **self._keywords(keywords))

    def _keywords(self, keywords: Iterable[ast.keyword]) -> dict[str, Any]:
        return {str(keyword.arg): self._value(keyword.value) for keyword in keywords}

    def _constraint(self, node: ast.expr, make: Any, *arguments: Any, **keywords: Any) -> Any:
        try:
            return make(*arguments, **keywords)
        except (TypeError, ValueError) as error:
            raise self.told(node, f"is refused: {clipped(str(error))}", "Correct its arguments.") from None

    def _value(self, node: ast.expr) -> Any:
        try:
            return read_value(node, self.scope)
        except NotPlain as error:
            raise self.told(
                error.node,
                error.reason,
                "Write a value such as `3`, `'text'`, `date(2020, 1, 31)` or `Decimal('1.5')`.",
            ) from None


def _members(node: ast.expr) -> list[ast.expr]:
    """The members of ``a | b | c``. Not recursive on the left, where chains grow."""
    members: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        members.append(node.right)
        node = node.left
    return [node, *reversed(members)]


def _items(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _subscript(form: Any, arguments: tuple[Any, ...]) -> Any:
    return form[arguments]  # mypy reads a subscripted form as a type expression


def _with_metadata(made: Any, metadata: list[Any]) -> Any:
    """A registered type's mark stays on it when it is given arguments."""
    if not metadata:
        return made
    own = get_args(made)[1:] if get_origin(made) is Annotated else ()
    missing = tuple(each for each in metadata if each not in own)
    return _subscript(Annotated, (made, *missing)) if missing else made
