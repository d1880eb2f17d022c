"""Signatures: what goes into a question to a language model and what comes out, as types."""

import inspect
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast, get_type_hints

from repertory.errors import SignatureError
from repertory.signatures.annotations import annotation_text
from repertory.signatures.cache import BoundedCache
from repertory.signatures.checks import Check
from repertory.signatures.class_body import Body, own_fields, unresolved
from repertory.signatures.content import content_key, frozen_type, same_content
from repertory.signatures.document import Parts, read_document, write_document
from repertory.signatures.fields import MISSING, DeclaredField, FieldMark
from repertory.signatures.grammar import parse_fields
from repertory.signatures.operations import declared, exchanged, inserted, without
from repertory.signatures.plain_values import value_text
from repertory.signatures.scope import Scope
from repertory.signatures.source import require_characters
from repertory.signatures.type_registry import TYPES

if TYPE_CHECKING:
    from repertory.signatures.content import ContentKey


_OPERATIONS: Final = "Make another one: with_instructions, with_fields, append, insert, delete, with_checks."


class SignatureType(type):
    """The class of signatures. What a signature can do lives here, out of the way of its fields' names.

    Signatures are values: once made, one does not change. Each operation returns another.

    Invariant: ``_fields`` holds every field, inherited ones first, names unique, at least one input and one
    output; ``Signature`` itself has none.
    """

    _fields: tuple[DeclaredField, ...]
    _stated: str | None  # the instructions somebody wrote
    _checks: tuple[Check, ...]
    _key: "ContentKey | None"  # made when it is first compiled

    @classmethod
    def __prepare__(mcls, name: str, bases: tuple[type, ...], /, **_kwargs: object) -> Body:
        return Body()

    def __new__(mcls, name: str, bases: tuple[type, ...], body: Body) -> "SignatureType":
        doc = body.get("__doc__")
        if isinstance(doc, str):
            require_characters(f"the docstring of {name}", doc)
        cls = super().__new__(mcls, name, bases, dict(body))
        parents = [base for base in reversed(cls.__mro__[1:]) if isinstance(base, SignatureType)]
        if not parents:
            cls._keep(_fields=(), _stated=None, _checks=(), _key=None)
            return cls
        # The frame of the class statement: types made inside a function can be named in string annotations.
        visible = {**sys._getframe(1).f_locals, **body}
        fields = {field.name: field for parent in parents for field in parent._fields}
        for field in own_fields(cls, body.marks, visible):
            inherited = fields.get(field.name)
            if inherited and inherited.mark.role != field.mark.role:
                raise SignatureError(
                    f"{name}.{field.name} is an {inherited.mark.role} above and an {field.mark.role} here",
                    hint="Give one of them another name.",
                )
            fields[field.name] = field
        stated = [parent._stated for parent in parents if parent._stated is not None]
        instructions = inspect.cleandoc(doc) if isinstance(doc, str) else stated[-1] if stated else None
        inherited_checks = {check.name: check for parent in parents for check in parent._checks}
        cls._complete(fields.values(), instructions, {**inherited_checks, **body.checks}.values())
        return cls

    def _complete(cls, fields: Iterable[DeclaredField], stated: str | None, checks: Iterable[Check]) -> None:
        cls._keep(_fields=tuple(fields), _stated=stated, _checks=tuple(checks), _key=None)
        if stated is not None:
            require_characters(f"the instructions of {cls.__name__}", stated)
        for field in cls._fields:
            require_characters(f"the description of {cls.__name__}.{field.name}", field.mark.desc)
        for role in ("input", "output"):
            if not any(field.mark.role == role for field in cls._fields):
                raise SignatureError(
                    f"{cls.__name__} has no {role}", hint=f"Declare one: `name: str = {role.capitalize()}Field()`."
                )
        names = [field.name for field in cls._fields]
        for check in cls._checks:
            check.require_fields(cls.__name__, names)

    def _keep(cls, **attributes: object) -> None:
        for name, value in attributes.items():
            super().__setattr__(name, value)

    def _content_key(cls) -> "ContentKey":
        """What the signature is compiled by: computed once, for it cannot change."""
        if cls._key is None:
            cls._keep(_key=content_key(cls))
        return cast("ContentKey", cls._key)

    def __setattr__(cls, name: str, value: object) -> NoReturn:
        raise SignatureError(f"{cls.__name__}.{name} cannot be set: a signature does not change", hint=_OPERATIONS)

    def __delattr__(cls, name: str) -> NoReturn:
        raise SignatureError(
            f"{cls.__name__}.{name} cannot be removed: a signature does not change", hint=_OPERATIONS
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

        The same text is the same class, as long as it is among those read most recently.

        Args:
            text: Inputs, ``->``, outputs. A field is ``name``, ``name: type`` or ``name: type = default``; the
                type is ``str`` where none is given.
            instructions: The task in words; without, a sentence made of the fields' names.
            types: Your own types, by the name ``text`` uses; they come before the built-in and registered ones. A
                module or a class stands for the types in it: ``types={"shop": shop}`` for ``shop.Order``.

        Raises:
            SignatureError: Showing the text with a caret under the column at fault.
        """
        if instructions is not None:
            _require_text(instructions)
        if type(text) is not str or len(text) > _REMEMBERED:
            return _parsed(text, instructions, types)
        own = tuple(sorted((name, frozen_type(each)) for name, each in types.items())) if types else ()
        return _PARSED.get((text, instructions, own, TYPES.version), lambda: _parsed(text, instructions, types))

    def of_call(cls, name: str, function: Callable[..., Any]) -> "type[Signature]":
        """The inputs that ``function`` takes, as those of a signature whose one output is ``prediction``.

        Raises:
            SignatureError: A parameter's type cannot be resolved, or one cannot be given by name.
        """
        try:
            hints = get_type_hints(function, include_extras=True)
        except NameError as error:
            raise unresolved(f"a parameter of {name}", error) from None
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
        _require_text(text)
        return cls._with(stated=text)

    def with_checks(cls, *checks: Check) -> "type[Signature]":
        """The same fields, and ``checks`` after those there are; one of the same name takes the earlier one's
        place.

        Raises:
            SignatureError: One is no check, or looks at what is no field.
        """
        for check in checks:
            if not isinstance(check, Check):
                raise SignatureError(
                    f"{check!r} is not a check", hint="Make it one: put @check(message) above the function."
                )
        return cls._with(checks={check.name: check for check in (*cls._checks, *checks)}.values())

    def without_checks(cls, *names: str) -> "type[Signature]":
        """The signature without the checks called ``names``.

        Raises:
            SignatureError: There is no such check.
        """
        known = [check.name for check in cls._checks]
        for name in names:
            if name not in known:
                raise SignatureError(
                    f"{cls.__name__} has no check `{name}`", hint=f"It has: {', '.join(known) or 'none'}."
                )
        return cls._with(checks=[check for check in cls._checks if check.name not in names])

    def with_fields(cls, /, **fields: Any) -> "type[Signature]":
        """The signature with some fields exchanged, each in its place, or added after those of its side.

        Args:
            fields: By name: what ``InputField`` or ``OutputField`` returned, a type, or both as ``(type, mark)``.
                What is not said stays as it is; the type of a new field is ``str``.

        Raises:
            SignatureError: A field is added without a mark, changes its side, or cannot have its name or type.
        """
        return cls._with(fields=exchanged(cls.__name__, cls._fields, fields))

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
        """The signature with a further field at ``index`` of its side, as for ``list.insert``: -1 is before the
        last. Else as ``prepend``."""
        added = declared(name, annotation, field)
        return cls._with(fields=inserted(cls.__name__, cls._fields, index, added))

    def delete(cls, *names: str) -> "type[Signature]":
        """The signature without the fields ``names``.

        Raises:
            SignatureError: There is no such field, it is the last of its side, or a check looks at it.
        """
        kept = without(cls.__name__, cls._fields, names)
        for check in cls._checks:
            if looked_at := set(check.parameters).intersection(names):
                raise SignatureError(
                    f"{cls.__name__}: check {check.name} looks at `{min(looked_at)}`",
                    hint=f'Take the check away first: without_checks("{check.name}").',
                )
        return cls._with(fields=kept)

    def equals(cls, other: object) -> bool:
        """Whether both ask the same: instructions, checks, and fields with types, marks and order. Names of
        signatures do not count."""
        return isinstance(other, SignatureType) and same_content(cls, other)

    def to_json(cls, *, types: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
        """The signature as a document that ``json.dumps`` takes, and ``from_json`` makes an equal one of.

        Own types go by name and with a digest of their JSON schema, checks by name: both must be handed back.

        Args:
            types: Names for types that have none, such as ``Annotated`` ones with a validator.

        Raises:
            SignatureError: Naming the field whose type, default, constraint or example cannot be written.
        """
        return write_document(Parts(cls.__name__, cls._stated, cls._fields, cls._checks), types)

    def from_json(
        cls,
        document: object,
        *,
        types: Mapping[str, Any] = MappingProxyType({}),
        checks: Mapping[str, Check] = MappingProxyType({}),
    ) -> "type[Signature]":
        """The signature that ``to_json`` wrote.

        Args:
            document: What ``to_json`` returned, as read from JSON.
            types: The own types in it, by name; registered ones need not be given.
            checks: Its checks, by name.

        Raises:
            SignatureError: Naming the place in the document, or the type or check that is missing or has changed.
        """
        parts = read_document(document, types, checks)
        return _assembled(parts.name, __name__, parts.fields, parts.instructions, parts.checks)

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
# time. Long texts are read again, for the cache is bounded in number, not in bytes.
_PARSED: Final = BoundedCache[Hashable, type[Signature]](limit=10_000)
_REMEMBERED: Final = 10_000  # characters


def _parsed(text: str, instructions: str | None, types: Mapping[str, Any]) -> type[Signature]:
    return _assembled("Signature", __name__, parse_fields(text, Scope(types)), instructions, ())


def _require_text(instructions: object) -> None:
    if not isinstance(instructions, str):
        raise SignatureError(
            f"instructions are text, got {type(instructions).__name__}", hint="Say in words what is to be done."
        )


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


def _field_text(field: DeclaredField) -> str:
    default = "" if field.mark.default is MISSING else f" = {value_text(field.mark.default)}"
    return f"{field.name}: {annotation_text(field.annotation)}{default}"


def _listed(fields: Iterable[DeclaredField]) -> str:
    *most, last = (f"`{field.name}`" for field in fields)
    return f"{', '.join(most)} and {last}" if most else last
