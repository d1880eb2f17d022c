"""The inputs, or the outputs, of a signature as one pydantic type; and why pydantic cannot make one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, Literal, Protocol, TypeAlias, cast

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import SchemaError
from typing_extensions import TypedDict  # pydantic refuses typing's own before Python 3.12

from repertory.errors import SignatureError
from repertory.signatures.annotations import annotation_text
from repertory.signatures.endless import has_finite_value
from repertory.signatures.fields import DeclaredField, FieldMark
from repertory.signatures.schemas import JsonSchema, WholeSchema, constraint_applies
from repertory.signatures.set_order import has_sets, sort_sets

Values: TypeAlias = dict[str, object]
Context: TypeAlias = dict[str, object] | None
"""What pydantic hands to serializers: a type may write itself otherwise into a prompt."""


class Writer(Protocol):
    """Validated values, all or some, as JSON-able Python."""

    def __call__(self, values: Mapping[str, object], context: Context = None, /) -> Values: ...


Extra: TypeAlias = Literal["forbid", "ignore"]

UNUSABLE: Final = (
    PydanticUserError,
    PydanticUndefinedAnnotation,
    SchemaError,
    TypeError,
    ValueError,
    RecursionError,
)
"""What pydantic raises on a type or value it cannot use; a type that contains itself runs out of stack."""


@dataclass(frozen=True, slots=True)
class Record:
    """The validators, serializer and JSON schema of some fields, as pydantic makes them.

    They are a TypedDict's: it validates straight into a dict, and no field's name can clash with a method's.
    """

    schema: JsonSchema
    read: Callable[[object], Values]
    read_json: Callable[[str | bytes], Values]
    read_json_strict: Callable[[str | bytes], Values]
    write: Writer

    @classmethod
    def build(cls, name: str, fields: tuple[DeclaredField, ...], *, extra: Extra) -> "Record":
        """Make the record of ``fields``; ``name`` is the signature's, ``extra`` what becomes of unknown keys.

        Raises:
            SignatureError: Naming the field whose type or constraint cannot be used.
        """
        try:
            record = cls.unchecked(name, fields, extra)
        except UNUSABLE as error:
            raise _unusable(name, fields, error) from error
        definitions = record.schema.get("$defs", {})
        for each in fields if definitions else ():
            if not has_finite_value(record.schema["properties"][each.name], definitions):
                raise SignatureError(
                    f"{name}.{each.name}: {annotation_text(each.annotation)} must hold itself, without end",
                    hint="Where the circle closes, give the field a default, or add `| None`.",
                )
        for each in fields:
            _check_constraints(name, each, record.schema["properties"][each.name])
        return record

    @classmethod
    def unchecked(cls, name: str, fields: tuple[DeclaredField, ...], extra: Extra) -> "Record":
        """Make it with pydantic's own errors, and without a look at constraints that do not apply."""
        hints = {each.name: _annotated(each) for each in fields}
        typed_dict = cast("Any", TypedDict)(name, hints)  # mypy knows literal TypedDicts only
        # JSON has no NaN and no infinity: let in, they would be lost on the way to the journal. A minimum length,
        # even 0, makes pydantic look inside strings, so that lone surrogates are refused here.
        typed_dict.__pydantic_config__ = ConfigDict(extra=extra, allow_inf_nan=False, str_min_length=0)
        adapter: TypeAdapter[Values] = TypeAdapter(typed_dict)
        schema = adapter.json_schema(schema_generator=WholeSchema)
        serializer = adapter.serializer

        def write(values: Mapping[str, object], context: Context = None) -> Values:
            written: Values = serializer.to_python(values, mode="json", warnings=False, context=context)
            return written

        def write_sorted(values: Mapping[str, object], context: Context = None) -> Values:
            written: Values = sort_sets(write(values, context), schema, schema.get("$defs", {}))
            return written

        validator = adapter.validator
        return cls(
            schema,
            read=validator.validate_python,
            read_json=validator.validate_json,
            read_json_strict=partial(validator.validate_json, strict=True),
            write=write_sorted if has_sets(schema) else write,
        )


def _annotated(declared: DeclaredField) -> Any:
    constraints: dict[str, Any] = dict(declared.mark.constraints)
    return Annotated[declared.annotation, Field(description=declared.mark.desc or None, **constraints)]


def _unusable(name: str, fields: tuple[DeclaredField, ...], error: Exception) -> SignatureError:
    """The error for the first field that cannot be built alone; ``error`` is what building all of them raised."""
    for each in fields:
        try:
            Record.unchecked(name, (each,), "ignore")
        except UNUSABLE as own:
            return _unusable_field(name, each, own)
    return SignatureError(f"{name} cannot be compiled: {error}", hint="Rename types that share a name.")


def _unusable_field(name: str, declared: DeclaredField, error: Exception) -> SignatureError:
    where = f"{name}.{declared.name}: {annotation_text(declared.annotation)}"
    if isinstance(error, RecursionError):
        return SignatureError(
            f"{where}: the type contains itself", hint="Make it a pydantic model that names itself."
        )
    if declared.mark.constraints:
        bare = DeclaredField(declared.name, declared.annotation, FieldMark(declared.mark.role))
        try:
            Record.unchecked(name, (bare,), "ignore")
        except UNUSABLE:
            pass
        else:
            stated = ", ".join(f"{key}={value!r}" for key, value in declared.mark.constraints.items())
            return SignatureError(f"{where}: {stated} cannot be used", hint="Correct or remove the constraint.")
    if isinstance(error, PydanticUserError) and error.code == "class-not-fully-defined":
        return SignatureError(
            f"{where}: the type names one that does not exist", hint="Define it above the signature."
        )
    reason = str(error).split("\n")[0]
    return SignatureError(
        f"{where}: no JSON schema can be made of this type ({reason})",
        hint="Use a pydantic model, a dataclass, an Enum, a Literal or a built-in type.",
    )


def _check_constraints(name: str, declared: DeclaredField, schema: JsonSchema) -> None:
    for key in declared.mark.constraints:
        if not constraint_applies(key, schema):
            raise SignatureError(
                f"{name}.{declared.name}: {key} means nothing for {annotation_text(declared.annotation)}",
                hint="Remove it, or put it on the union's member it is meant for: `Annotated[int, Field(...)]`.",
            )
