"""What is done to the fields of a signature to make those of another: pure functions of tuples of fields."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeAlias

from repertory.errors import SignatureError
from repertory.signatures.fields import DeclaredField, FieldMark, check_name
from repertory.signatures.scope import is_type
from repertory.signatures.source import clipped

Fields: TypeAlias = tuple[DeclaredField, ...]


def inserted(owner: str, fields: Fields, index: int, added: DeclaredField) -> Fields:
    """``fields`` with ``added`` at ``index`` of its side, counted as ``list.insert`` does; inputs come first.

    Raises:
        SignatureError: ``owner``, the signature, has a field of that name.
    """
    if any(each.name == added.name for each in fields):
        raise SignatureError(
            f"{owner} already has a field `{added.name}`",
            hint=f"Choose another name, or exchange it: with_fields({added.name}=...).",
        )
    sides = {role: [each for each in fields if each.mark.role == role] for role in ("input", "output")}
    sides[added.mark.role].insert(index, added)
    return (*sides["input"], *sides["output"])


def exchanged(owner: str, fields: Fields, given: Mapping[str, Any]) -> Fields:
    """``fields`` with those in ``given`` in place of the ones of their names, or after the others.

    Raises:
        SignatureError: A field is added without a mark, changes its side, or cannot have its name or type.
    """
    known = {each.name: each for each in fields}
    for name, value in given.items():
        known[name] = _exchanged(owner, known.get(name), name, value)
    return tuple(known.values())


def without(owner: str, fields: Fields, names: tuple[str, ...]) -> Fields:
    """``fields`` but those called ``names``.

    Raises:
        SignatureError: There is none of that name, or it is the last one of its side.
    """
    known = [each.name for each in fields]
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else f"It has: {', '.join(known)}."
            raise SignatureError(f"{owner} has no field `{name}`", hint=hint)
    kept = tuple(each for each in fields if each.name not in names)
    for role in ("input", "output"):
        if not any(each.mark.role == role for each in kept):
            listed = ", ".join(f"`{each.name}`" for each in fields if each.mark.role == role)
            raise SignatureError(
                f"{owner} without {listed} has no {role}", hint=f"Append another {role} first, or keep one."
            )
    return kept


def declared(name: str, annotation: Any, mark: object) -> DeclaredField:
    """The field ``name``.

    Raises:
        SignatureError: It cannot have this name, this type or this mark.
    """
    if not isinstance(mark, FieldMark):
        raise SignatureError(
            f"`{name}` is given {clipped(repr(mark))} for a field",
            hint="Give it InputField(...) or OutputField(...).",
        )
    if not is_type(annotation):
        raise SignatureError(
            f"`{name}` is given {clipped(repr(annotation))} for a type",
            hint="Write a type, such as `list[str]`, or what InputField(...) or OutputField(...) returned.",
        )
    check_name(name, mark.role)
    return DeclaredField(name, type(None) if annotation is None else annotation, mark)


def _exchanged(owner: str, present: DeclaredField | None, name: str, given: Any) -> DeclaredField:
    """The field ``name`` as ``given``, what is not said taken from the ``present`` one."""
    match given:
        case FieldMark():
            annotation, mark = present.annotation if present else str, given
        case (annotation, FieldMark() as mark):
            pass
        case _ if present is not None:
            annotation, mark = given, present.mark
        case _:
            raise SignatureError(
                f"{owner} has no field `{name}` to take the rest from",
                hint=f"Say which side it is on: with_fields({name}=(type, OutputField())).",
            )
    if present is not None and present.mark.role != mark.role:
        raise SignatureError(
            f"{owner}.{name} is an {present.mark.role} and cannot become an {mark.role}",
            hint="Delete it, then append it on the other side.",
        )
    return declared(name, annotation, mark)
