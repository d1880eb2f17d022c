"""Signatures: what goes into a question to a language model and what comes out, as types."""

import inspect
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast, get_type_hints

from repertory.errors import SignatureError
from repertory.signatures.annotations import annotation_text
from repertory.signatures.cache import BoundedCache
from repertory.signatures.checks import Check
from repertory.signatures.content import content_key, frozen
from repertory.signatures.fields import MISSING, DeclaredField, FieldMark, check_name
from repertory.signatures.grammar import parse_fields
from repertory.signatures.type_registry import TYPES

if TYPE_CHECKING:
    from repertory.signatures.content import ContentKey


class _Body(dict[str, object]):
    """The namespace of a signature's class body, which keeps the field marks and the checks apart.

    A mark never becomes a class attribute: so ``date: date = InputField()`` still finds the type, a field may be
    called like a method of ``Signature``, and the second declaration of a name is seen.
    """

    def __init__(self) -> None:
        self.marks: dict[str, FieldMark] = {}
        self.checks: dict[str, Check] = {}

    def __setitem__(self, name: str, value: object) -> None:
        if isinstance(value, Check):
            self.checks[name] = value
            return
        if name in self.marks:
            earlier = self.marks[name].role
            later = value.role if isinstance(value, FieldMark) else "plain attribute"
            raise SignatureError(
                f"`{name}` is declared twice: as {earlier} and as {later}",
                hint="Remove one, or give it another name.",
            )
        if isinstance(value, FieldMark):
            self.marks[name] = value
        else:
            super().__setitem__(name, value)


class SignatureType(type):
    """The class of signatures. What a signature can do lives here, out of the way of its fields' names.

    Invariant: ``_fields`` holds every field, inherited ones first, names unique, at least one input and one
    output; ``Signature`` itself has none.
    """

    _fields: tuple[DeclaredField, ...]
    _stated: str | None  # the instructions somebody wrote
    _checks: tuple[Check, ...]
    _key: "ContentKey | None"  # made when it is first compiled

    @classmethod
    def __prepare__(mcls, name: str, bases: tuple[type, ...], /, **_kwargs: object) -> _Body:
        return _Body()

    def __new__(mcls, name: str, bases: tuple[type, ...], body: _Body) -> "SignatureType":
        cls = super().__new__(mcls, name, bases, dict(body))
        parents = [base for base in reversed(cls.__mro__[1:]) if isinstance(base, SignatureType)]
        if not parents:
            cls._fields, cls._stated, cls._checks, cls._key = (), None, (), None
            return cls
        # The frame of the class statement: types made inside a function can be named in string annotations.
        visible = {**sys._getframe(1).f_locals, **body}
        fields = {field.name: field for parent in parents for field in parent._fields}
        for field in _own_fields(cls, body.marks, visible):
            inherited = fields.get(field.name)
            if inherited and inherited.mark.role != field.mark.role:
                raise SignatureError(
                    f"{name}.{field.name} is an {inherited.mark.role} above and an {field.mark.role} here",
                    hint="Give one of them another name.",
                )
            fields[field.name] = field
        doc = body.get("__doc__")
        stated = [parent._stated for parent in parents if parent._stated is not None]
        instructions = inspect.cleandoc(doc) if isinstance(doc, str) else stated[-1] if stated else None
        inherited_checks = {check.name: check for parent in parents for check in parent._checks}
        cls._complete(fields.values(), instructions, {**inherited_checks, **body.checks}.values())
        return cls

    def _complete(cls, fields: Iterable[DeclaredField], stated: str | None, checks: Iterable[Check]) -> None:
        cls._fields, cls._stated, cls._checks, cls._key = tuple(fields), stated, tuple(checks), None
        names = [field.name for field in cls._fields]
        for check in cls._checks:
            check.require_fields(cls.__name__, names)
        for role in ("input", "output"):
            if not any(field.mark.role == role for field in cls._fields):
                raise SignatureError(
                    f"{cls.__name__} has no {role}", hint=f"Declare one: `name: str = {role.capitalize()}Field()`."
                )

    def __call__(cls, *_args: object, **_kwargs: object) -> NoReturn:
        remedy = (
            'Write Signature.parse("question -> answer") for the string form.'
            if cls is Signature
            else f"Give it to a module and call that: Predict({cls.__name__})(...)."
        )
        raise SignatureError(f"{cls.__name__} is a signature, not something to create an instance of", hint=remedy)

    def __str__(cls) -> str:
        """The string form: names, types and defaults, without descriptions, constraints and instructions."""
        sides = (", ".join(_field_text(field) for field in side) for side in (cls.inputs, cls.outputs))
        return " -> ".join(sides)

    def __repr__(cls) -> str:
        return f"<signature {cls.__name__}: {cls}>" if cls._fields else "<class Signature>"

    @property
    def instructions(cls) -> str:
        """The task in words: the docstring or what was given, else a sentence made of the fields' names."""
        if cls._stated is not None:
            return cls._stated
        return f"Given {_listed(cls.inputs)}, produce {_listed(cls.outputs)}."

    @property
    def inputs(cls) -> tuple[DeclaredField, ...]:
        """The inputs as declared, in order."""
        return tuple(field for field in cls._fields if field.mark.role == "input")

    @property
    def outputs(cls) -> tuple[DeclaredField, ...]:
        """The outputs as declared, in order."""
        return tuple(field for field in cls._fields if field.mark.role == "output")

    @property
    def checks(cls) -> tuple[Check, ...]:
        """What outputs must pass beside their types."""
        return cls._checks

    def parse(
        cls, text: str, instructions: str | None = None, *, types: Mapping[str, Any] = MappingProxyType({})
    ) -> "type[Signature]":
        """Read the string form, such as ``"article -> topic: Literal['sports', 'business'], score: float"``.

        Args:
            text: Inputs, ``->``, outputs. A field is ``name``, ``name: type`` or, for inputs,
                ``name: type = default``; the type is ``str`` where none is given.
            instructions: The task in words; without, a sentence made of the fields' names.
            types: Your own types, by the name ``text`` uses.

        Raises:
            SignatureError: Showing the text with a caret under the column at fault.
        """
        key = (text, instructions, frozen(types), TYPES.version)
        return _PARSED.get(key, lambda: _parsed(text, instructions, types))

    def of_call(cls, name: str, function: Callable[..., Any]) -> "type[Signature]":
        """The inputs that ``function`` takes, as those of a signature whose one output is ``prediction``.

        Raises:
            SignatureError: A parameter's type cannot be resolved, or one cannot be given by name.
        """
        try:
            hints = get_type_hints(function, include_extras=True)
        except NameError as error:
            raise _unresolved(f"a parameter of {name}", error) from None
        fields = []
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise SignatureError(
                    f"{name} takes {parameter}", hint="Name each input: a caller must know what to give."
                )
            default = MISSING if parameter.default is parameter.empty else parameter.default
            annotation = hints.get(parameter.name, str)
            fields.append(DeclaredField(parameter.name, annotation, FieldMark("input", default=default)))
        return _assembled(
            name, __name__, [*fields, DeclaredField("prediction", Any, FieldMark("output"))], None, ()
        )

    def with_instructions(cls, text: str) -> "type[Signature]":
        """The same fields with ``text`` as instructions, verbatim."""
        return cls._with(stated=text)

    def with_checks(cls, *checks: Check) -> "type[Signature]":
        """The same fields, and ``checks`` after those there are; one of the same name takes the earlier one's
        place.

        Raises:
            SignatureError: A check looks at what is no field.
        """
        return cls._with(checks={check.name: check for check in (*cls._checks, *checks)}.values())

    def with_fields(cls, **fields: Any) -> "type[Signature]":
        """The signature with some fields exchanged, each in its place, or added after those of its side.

        Args:
            fields: By name: what ``InputField`` or ``OutputField`` returned, a type, or both as ``(type, mark)``.

        Raises:
            SignatureError: A field is added without a mark, changes its side, or cannot have its name.
        """
        known = {field.name: field for field in cls._fields}
        for name, given in fields.items():
            known[name] = _exchanged(cls.__name__, known.get(name), name, given)
        return cls._with(fields=known.values())

    def prepend(cls, name: str, field: Any, annotation: Any = str) -> "type[Signature]":
        """The signature with a further field before those of its side.

        Args:
            name: What it is called.
            field: What ``InputField`` or ``OutputField`` returned.
            annotation: Its type, as it may stand after a colon.

        Raises:
            SignatureError: There is a field of that name, or it cannot be one.
        """
        return cls.insert(0, name, field, annotation)

    def append(cls, name: str, field: Any, annotation: Any = str) -> "type[Signature]":
        """The signature with a further field after those of its side. As ``prepend``."""
        return cls.insert(len(cls._fields), name, field, annotation)

    def insert(cls, index: int, name: str, field: Any, annotation: Any = str) -> "type[Signature]":
        """The signature with a further field at ``index`` of its side, as for ``list.insert``; see ``prepend``."""
        if any(each.name == name for each in cls._fields):
            raise SignatureError(
                f"{cls.__name__} already has a field `{name}`",
                hint=f"Choose another name, or exchange it: with_fields({name}=...).",
            )
        added = _declared(name, annotation, field)
        sides = {"input": list(cls.inputs), "output": list(cls.outputs)}
        sides[added.mark.role].insert(index, added)
        return cls._with(fields=[*sides["input"], *sides["output"]])

    def delete(cls, *names: str) -> "type[Signature]":
        """The signature without the fields ``names``.

        Raises:
            SignatureError: There is no such field, it is the last of its side, or a check looks at it.
        """
        known = [field.name for field in cls._fields]
        for name in names:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"Did you mean `{near[0]}`?" if near else f"It has: {', '.join(known)}."
                raise SignatureError(f"{cls.__name__} has no field `{name}`", hint=hint)
        return cls._with(fields=[field for field in cls._fields if field.name not in names])

    def equals(cls, other: "type[Signature]") -> bool:
        """Whether both ask the same: instructions, checks, and fields with types, marks and order."""
        return content_key(cls, named=False) == content_key(other, named=False)

    def _with(
        cls,
        *,
        fields: Iterable[DeclaredField] | None = None,
        stated: str | None = None,
        checks: Iterable[Check] | None = None,
    ) -> "type[Signature]":
        return _assembled(
            cls.__name__,
            cls.__module__,
            cls._fields if fields is None else fields,
            cls._stated if stated is None else stated,
            cls._checks if checks is None else checks,
        )


class Signature(metaclass=SignatureType):
    """The base of signatures.

    Example::

        class Topic(Signature):
            \"""Assign the news article to its topic.\"""

            article: str = InputField(desc="the article's opening words")
            topic: Literal["business", "sports"] = OutputField()

    The docstring is the instructions. A field without an annotation is a ``str``. Subclasses inherit fields and
    instructions and may redefine them.
    """


# As the cache of compiled signatures: whoever writes a string form for every request gets the same class each
# time.
_PARSED: Final = BoundedCache[Hashable, type[Signature]](limit=10_000)


def _parsed(text: str, instructions: str | None, types: Mapping[str, Any]) -> type[Signature]:
    return _assembled("Signature", __name__, parse_fields(text, types), instructions, ())


def _assembled(
    name: str,
    module: str,
    fields: Iterable[DeclaredField],
    instructions: str | None,
    checks: Iterable[Check],
) -> type[Signature]:
    cls = type.__new__(SignatureType, name, (Signature,), {"__module__": module})
    cls._complete(fields, instructions, checks)
    return cast("type[Signature]", cls)


def _declared(name: str, annotation: Any, mark: object) -> DeclaredField:
    if not isinstance(mark, FieldMark):
        raise SignatureError(
            f"`{name}` is given {mark!r} for a field", hint="Give it InputField(...) or OutputField(...)."
        )
    check_name(name, mark.role)
    return DeclaredField(name, annotation, mark)


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
                hint=f"Say which side it is on: with_fields({name}=({given!r}, OutputField())).",
            )
    if present is not None and present.mark.role != mark.role:
        raise SignatureError(
            f"{owner}.{name} is an {present.mark.role} and cannot become an {mark.role}",
            hint="Delete it, then append it on the other side.",
        )
    return _declared(name, annotation, mark)


def _own_fields(
    cls: type, marks: Mapping[str, FieldMark], visible: Mapping[str, object]
) -> Iterable[DeclaredField]:
    try:
        annotations = inspect.get_annotations(cls)
    except NameError as error:  # Python 3.14 evaluates annotations here
        raise _unresolved(f"{cls.__name__}.{error.name}", error) from None
    for name in annotations:
        if name not in marks:
            raise SignatureError(
                f"{cls.__name__}.{name} is neither an input nor an output",
                hint=f"Write `{name}: ... = InputField()` or `= OutputField()`, or remove the annotation.",
            )
    for name, mark in marks.items():
        check_name(name, mark.role)
        yield DeclaredField(name, _resolved(cls, name, annotations.get(name, str), visible), mark)


def _resolved(cls: type, name: str, annotation: object, visible: Mapping[str, object]) -> Any:
    module = sys.modules.get(cls.__module__)
    holder = SimpleNamespace(__annotations__={name: annotation})
    try:
        return get_type_hints(holder, vars(module) if module else {}, dict(visible), include_extras=True)[name]
    except (NameError, AttributeError, SyntaxError, TypeError, RecursionError) as error:
        raise _unresolved(f"{cls.__name__}.{name}", error) from None


def _unresolved(field: str, error: Exception) -> SignatureError:
    return SignatureError(
        f"the type of {field} cannot be resolved: {error}", hint="Import or define the type above the signature."
    )


def _field_text(field: DeclaredField) -> str:
    default = "" if field.mark.default is MISSING else f" = {field.mark.default!r}"
    return f"{field.name}: {annotation_text(field.annotation)}{default}"


def _listed(fields: Iterable[DeclaredField]) -> str:
    *most, last = (f"`{field.name}`" for field in fields)
    return f"{', '.join(most)} and {last}" if most else last
