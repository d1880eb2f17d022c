"""What the body of a signature's class holds: its fields' marks and its checks, and the types of its fields."""

import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, ClassVar, Final, get_origin, get_type_hints

from repertory.errors import SignatureError
from repertory.signatures.checks import Check
from repertory.signatures.fields import DeclaredField, FieldMark, check_name

_CLASS_VARIABLE: Final = re.compile(r"\s*(?:\w+\s*\.\s*)*ClassVar\b")


class Body(dict[str, object]):
    """The namespace of a signature's class body, which keeps the field marks and the checks apart.

    A mark never becomes a class attribute: so ``date: date = InputField()`` still finds the type, a field may be
    called like a method of ``Signature``, and the second declaration of a name is seen.
    """

    def __init__(self) -> None:
        self.marks: dict[str, FieldMark] = {}
        self.checks: dict[str, Check] = {}

    def __setitem__(self, name: str, value: object) -> None:
        if name in self.marks or name in self.checks:
            earlier = self.marks[name].role if name in self.marks else "check"
            later = _called_in_body(value)
            raise SignatureError(
                f"`{name}` is declared twice: as {earlier} and as {later}",
                hint="Remove one, or give it another name.",
            )
        if isinstance(value, staticmethod) and isinstance(value.__func__, Check):
            value = value.__func__
        if isinstance(value, FieldMark):
            self.marks[name] = value
        elif isinstance(value, Check):
            self.checks[name] = value.renamed(name)
        else:
            super().__setitem__(name, value)


def _called_in_body(value: object) -> str:
    if isinstance(value, FieldMark):
        return value.role
    return "check" if isinstance(value, Check) else "plain attribute"


def own_fields(
    cls: type, marks: Mapping[str, FieldMark], visible: Mapping[str, object]
) -> Iterable[DeclaredField]:
    """The fields that the class body of ``cls`` declares, their annotations resolved among the names ``visible``.

    Raises:
        SignatureError: A name is annotated but no field, cannot name one, or has a type that cannot be resolved.
    """
    try:
        annotations = inspect.get_annotations(cls)
    except NameError as error:  # Python 3.14 evaluates annotations here
        raise unresolved(f"{cls.__name__}.{error.name}", error) from None
    for name, annotation in annotations.items():
        if name not in marks and not name.startswith("_") and not _is_class_variable(annotation):
            raise SignatureError(
                f"{cls.__name__}.{name} is neither an input nor an output",
                hint=f"Write `{name}: ... = InputField()` or `= OutputField()`, or remove the annotation.",
            )
    for name, mark in marks.items():
        check_name(name, mark.role)
        yield DeclaredField(name, _resolved(cls, name, annotations.get(name, str), visible), mark)


def _is_class_variable(annotation: object) -> bool:
    if isinstance(annotation, str):  # as dataclasses tells it where annotations are not evaluated
        return _CLASS_VARIABLE.match(annotation) is not None
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def _resolved(cls: type, name: str, annotation: object, visible: Mapping[str, object]) -> Any:
    module = sys.modules.get(cls.__module__)
    holder = SimpleNamespace(__annotations__={name: annotation})
    try:
        return get_type_hints(holder, vars(module) if module else {}, dict(visible), include_extras=True)[name]
    except (NameError, AttributeError, SyntaxError, TypeError, RecursionError) as error:
        raise unresolved(f"{cls.__name__}.{name}", error) from None


def unresolved(field: str, error: Exception) -> SignatureError:
    """The error that the type of ``field`` cannot be resolved."""
    return SignatureError(
        f"the type of {field} cannot be resolved: {error}", hint="Import or define the type above the signature."
    )
