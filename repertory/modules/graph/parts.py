"""What lies inside of a value, by its type: fields of models, items of lists and dicts."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import reduce
from operator import or_
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from typing_extensions import is_typeddict

from repertory.modules.graph.fit import bare, element_of, kind_of
from repertory.modules.graph.links import Step
from repertory.modules.pending import Attribute
from repertory.signatures.annotations import annotation_text


class NoSuchPart(Exception):
    """A type has nothing where a path leads. ``str`` says what has what not; ``known`` is what it has."""

    def __init__(self, reason: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.known = known


def type_at(annotation: Any, path: tuple[Step, ...]) -> Any:
    """The type of what ``path`` leads to within a value of type ``annotation``; ``Any`` where that is unknown.

    Raises:
        NoSuchPart: It leads nowhere.
    """
    for step in path:
        annotation = _inside(bare(annotation), step)
    return annotation


def _inside(annotation: Any, step: Step) -> Any:
    if annotation_is_union(annotation):
        return _inside_one_of(get_args(annotation), step)
    match kind_of(annotation):
        case "unknown" | "enum":
            return Any
        case "sequence" if isinstance(step, int):
            return _element(annotation, step)
        case "mapping" if not isinstance(step, Attribute):
            return _item(annotation, step)
        case "object" if isinstance(step, Attribute):
            return _field(annotation, step)
        case "scalar" if isinstance(step, int) and annotation in (str, bytes):
            return annotation
    if isinstance(step, Attribute) and hasattr(get_origin(annotation) or annotation, step):
        return Any
    raise NoSuchPart(f"{annotation_text(annotation)} has no {_step_text(step)}")


def annotation_is_union(annotation: Any) -> bool:
    """Whether ``annotation`` is one type or another."""
    return get_origin(annotation) in (Union, UnionType)


def _inside_one_of(members: tuple[Any, ...], step: Step) -> Any:
    found, faults = [], []
    for member in members:
        if kind_of(bare(member)) == "none":
            continue
        try:
            found.append(_inside(bare(member), step))
        except NoSuchPart as fault:
            faults.append(fault)
    if found:
        return reduce(or_, found)
    raise faults[0] if faults else NoSuchPart(f"None has no {_step_text(step)}")


def _element(annotation: Any, position: int) -> Any:
    if (get_origin(annotation) or annotation) in (set, frozenset):
        raise NoSuchPart(f"{annotation_text(annotation)} has no order, and so no {_step_text(position)}")
    try:
        return element_of(annotation, position)
    except IndexError:
        raise NoSuchPart(f"{annotation_text(annotation)} has no {_step_text(position)}") from None


def _item(annotation: Any, key: str | int) -> Any:
    if is_typeddict(annotation):
        return _among(get_type_hints(annotation), key, annotation)
    arguments = get_args(annotation)
    return arguments[1] if len(arguments) == 2 else Any


def _field(annotation: Any, name: str) -> Any:
    kind = get_origin(annotation) or annotation
    if issubclass(kind, BaseModel):
        known = {each: field.annotation for each, field in kind.model_fields.items()}
        if name not in known and kind.model_config.get("extra") == "allow":
            return Any
    else:
        assert is_dataclass(kind)
        hints = get_type_hints(kind, include_extras=True)
        known = {field.name: hints.get(field.name, Any) for field in fields(kind)}
    if name not in known and hasattr(kind, name):
        return Any  # a property, say
    return _among(known, name, annotation)


def _among(known: Mapping[str, Any], name: str | int, annotation: Any) -> Any:
    if name not in known:
        raise NoSuchPart(f"{annotation_text(annotation)} has no {str(name)!r}", tuple(known))
    return known[str(name)]


def _step_text(step: Step) -> str:
    return f"item {step}" if isinstance(step, int) else repr(str(step))
