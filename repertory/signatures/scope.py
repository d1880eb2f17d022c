"""The names that may stand in the text of a signature, and what they stand for."""

import ast
import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, NewType, TypeVar, get_origin
from uuid import UUID

from typing_extensions import TypeAliasType

from repertory.signatures.fields import MISSING, Missing
from repertory.signatures.type_registry import TYPES

PLAIN_TYPES: Final[Mapping[str, Any]] = types.MappingProxyType(
    {
        "str": str,
        "int": int,
        "float": float,
        "bool": bool,
        "bytes": bytes,
        "list": list,
        "dict": dict,
        "tuple": tuple,
        "set": set,
        "frozenset": frozenset,
        "List": list,
        "Dict": dict,
        "Tuple": tuple,
        "Set": set,
        "FrozenSet": frozenset,
        "Sequence": Sequence,
        "Mapping": Mapping,
        "Text": str,
        "Any": Any,
        "object": object,
        "NoneType": types.NoneType,
        "date": date,
        "datetime": datetime,
        "time": time,
        "timedelta": timedelta,
        "Decimal": Decimal,
        "UUID": UUID,
    }
)

FORMS: Final = ("Annotated", "Literal", "Optional", "Union")
"""Names that mean something only with brackets behind them."""

_OTHER_WAYS: Final = types.MappingProxyType(
    {
        **dict.fromkeys(("Iterable", "Iterator", "Generator", "Collection", "Deque", "deque"), "list[...]"),
        **dict.fromkeys(("DefaultDict", "OrderedDict", "Counter", "MutableMapping"), "dict[str, ...]"),
        **dict.fromkeys(("MutableSequence", "array", "ndarray"), "list[...]"),
        **dict.fromkeys(("complex", "Number", "Real", "double", "number"), "float"),
        **dict.fromkeys(("string", "String", "char", "AnyStr"), "str"),
        **dict.fromkeys(("boolean", "Boolean"), "bool"),
        **dict.fromkeys(("integer", "Integer", "long"), "int"),
        "bytearray": "bytes",
        "null": "None",
        "any": "Any",
    }
)
"""What to write in place of names that are types elsewhere, or whose values JSON cannot hold."""

_STANDARD: Final = types.MappingProxyType(
    {
        **dict.fromkeys(("typing", "typing_extensions", "t"), frozenset((*PLAIN_TYPES, *FORMS))),
        "datetime": frozenset({"date", "datetime", "time", "timedelta"}),
        "decimal": frozenset({"Decimal"}),
        "uuid": frozenset({"UUID"}),
        "types": frozenset({"NoneType"}),
        "collections.abc": frozenset({"Sequence", "Mapping"}),
        "pydantic": frozenset({"Field", "Strict", "AllowInfNan", "StringConstraints", "Discriminator"}),
        "annotated_types": frozenset(
            {"Gt", "Ge", "Lt", "Le", "MultipleOf", "MinLen", "MaxLen", "Len", "Interval"}
        ),
    }
)
"""The modules whose names may be written with the module in front."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What names stand for: the caller's own types first, then the built-in ones, then registered ones.

    Attributes:
        custom: The caller's types, by name; a module or a class stands for what is in it.
    """

    custom: Mapping[str, Any]

    def plain(self, name: str) -> str:
        """``name`` without the standard module in front: ``datetime.date`` is ``date``, ``t.List`` is ``List``.

        "" where the caller has a type of that name, or of that of the module.
        """
        module, _, bare = name.rpartition(".")
        if name in self.custom or name.partition(".")[0] in self.custom:
            return ""
        return bare if not module or bare in _STANDARD.get(module, ()) else name

    def find(self, name: str) -> Any | Missing:
        """The type called ``name``, which may be dotted; ``MISSING`` if there is none."""
        if name in self.custom:
            return self.custom[name]
        if "." in name and name.partition(".")[0] in self.custom:
            return self._inside(*name.split("."))
        plain = self.plain(name)
        if plain in PLAIN_TYPES:
            return PLAIN_TYPES[plain]
        entry = TYPES.get(name)
        return MISSING if entry is None else entry.annotation

    def names(self) -> Iterator[str]:
        """Every name that can be written, for the one that was meant."""
        yield from self.custom
        yield from PLAIN_TYPES
        yield from FORMS
        yield from (each.name for each in TYPES)

    def _inside(self, head: str, *path: str) -> Any | Missing:
        """What ``path`` leads to inside a module or class that was passed; never out of that module."""
        found = self.custom[head]
        for name in path:
            if name.startswith("_") or not isinstance(found, types.ModuleType | type):
                return MISSING
            inner = (
                getattr(found, name, MISSING)
                if isinstance(found, types.ModuleType)
                else inspect.getattr_static(found, name, MISSING)
            )
            if isinstance(inner, types.ModuleType) and not inner.__name__.startswith(f"{found.__name__}."):
                return MISSING
            found = inner
        return found if is_type(found) else MISSING


def dotted(node: ast.expr) -> str:
    """The name that ``node`` is, such as ``datetime.date``; "" if it is something else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else ""


def is_type(value: object) -> bool:
    """Whether ``value`` can stand behind a colon: a class, a generic, a union, an alias, or None."""
    return (
        value is None
        or isinstance(value, type | TypeVar | TypeAliasType | NewType)
        or value is Any
        or get_origin(value) is not None
    )


def other_way(name: str) -> str | None:
    """What to write instead of ``name``, where that is known."""
    return _OTHER_WAYS.get(name.rpartition(".")[2])
