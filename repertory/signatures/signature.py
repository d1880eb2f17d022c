"""Signatures: what goes into a question to a language model and what comes out, as types."""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast, get_type_hints

from repertory.errors import SignatureError
from repertory.signatures.annotations import annotation_text
from repertory.signatures.fields import MISSING, DeclaredField, FieldMark, check_name
from repertory.signatures.grammar import parse_fields

if TYPE_CHECKING:
    from repertory.signatures.compiled import CompiledSignature


class _Body(dict[str, object]):
    """The namespace of a signature's class body, which keeps the field marks apart.

    A mark never becomes a class attribute: so ``date: date = InputField()`` still finds the type, a field may be
    called like a method of ``Signature``, and the second declaration of a name is seen.
    """

    def __init__(self) -> None:
        self.marks: dict[str, FieldMark] = {}

    def __setitem__(self, name: str, value: object) -> None:
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
    _compiled: "CompiledSignature | None"

    @classmethod
    def __prepare__(mcls, name: str, bases: tuple[type, ...], /, **_kwargs: object) -> _Body:
        return _Body()

    def __new__(mcls, name: str, bases: tuple[type, ...], body: _Body) -> "SignatureType":
        cls = super().__new__(mcls, name, bases, dict(body))
        parents = [base for base in reversed(cls.__mro__[1:]) if isinstance(base, SignatureType)]
        if not parents:
            cls._fields, cls._stated, cls._compiled = (), None, None
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
        cls._complete(fields.values(), instructions)
        return cls

    def _complete(cls, fields: Iterable[DeclaredField], stated: str | None) -> None:
        cls._fields, cls._stated, cls._compiled = tuple(fields), stated, None
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
        return _assembled("Signature", __name__, parse_fields(text, types), instructions)

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
        return _assembled(name, __name__, [*fields, DeclaredField("prediction", Any, FieldMark("output"))], None)

    def with_instructions(cls, text: str) -> "type[Signature]":
        """The same fields with ``text`` as instructions, verbatim."""
        return _assembled(cls.__name__, cls.__module__, cls._fields, text)

    def prepend_output(cls, name: str, annotation: Any = str, desc: str = "") -> "type[Signature]":
        """A signature that asks for ``name`` before the outputs of this one.

        Raises:
            SignatureError: The signature has a field of that name, or it cannot name one.
        """
        check_name(name, "output")
        if any(field.name == name for field in cls._fields):
            raise SignatureError(
                f"{cls.__name__} already has a field `{name}`", hint=f"Rename the field `{name}`."
            )
        added = DeclaredField(name, annotation, FieldMark("output", desc))
        return _assembled(cls.__name__, cls.__module__, (*cls.inputs, added, *cls.outputs), cls._stated)


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


def _assembled(
    name: str, module: str, fields: Iterable[DeclaredField], instructions: str | None
) -> type[Signature]:
    cls = type.__new__(SignatureType, name, (Signature,), {"__module__": module})
    cls._complete(fields, instructions)
    return cast("type[Signature]", cls)


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
