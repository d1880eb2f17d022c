"""The compiled form of a signature: its validators, schemas and fingerprint, made once and kept on it."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any, Final, TypeVar, cast

from pydantic import ValidationError

from repertory.errors import InputError, OutputsInvalid, RepertoryError, SignatureError
from repertory.signatures.annotations import annotation_choices, annotation_text
from repertory.signatures.cache import BoundedCache, CacheStats
from repertory.signatures.checks import Check
from repertory.signatures.content import ContentKey
from repertory.signatures.dialects import ProviderSchema, schema_for
from repertory.signatures.faults import Fault, first_fault
from repertory.signatures.fields import MISSING, DeclaredField
from repertory.signatures.reading import OutputReader
from repertory.signatures.records import Context, Record, Values, Writer
from repertory.signatures.schemas import JsonSchema, closed_schema, open_schema, schema_in_words
from repertory.signatures.signature import Signature
from repertory.signatures.type_registry import TYPES

_Error = TypeVar("_Error", bound=RepertoryError)
_Derived = TypeVar("_Derived")


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field, ready to be put into a prompt.

    ``desc`` is what its author says about it, with the examples given; ``type_hint`` tells the type in words:
    ``integer, at least 1`` or ``one of "business", "sports"``.
    """

    name: str
    annotation: Any  # a type, generic, union or Literal
    desc: str
    required: bool
    type_hint: str


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class CompiledSignature:
    """What the rest of the system uses of a signature. Two with the same ``fingerprint`` ask the same question.

    Attributes:
        name: The signature's class name; not part of the fingerprint.
        instructions: The task in words.
        inputs: The inputs, in order.
        outputs: The outputs, in order.
        input_schema: JSON Schema of the inputs as one object; those with a default are not required.
        output_schema: JSON Schema of the outputs as one object: self-contained, closed, everything required.
        reader: Reads what a model wrote as the outputs.
        checks: What outputs must pass beside their types.
        fingerprint: SHA-256 (hex) over instructions, field names, schemas (types, constraints, defaults) and
            descriptions; the same in every process. Treat the schemas as immutable.
    """

    name: str
    instructions: str
    inputs: tuple[FieldSpec, ...]
    outputs: tuple[FieldSpec, ...]
    input_schema: JsonSchema = field(repr=False)
    output_schema: JsonSchema = field(repr=False)
    fingerprint: str
    reader: OutputReader = field(repr=False)
    checks: tuple[Check, ...]
    _defaults: Mapping[str, object] = field(repr=False)
    _read_inputs: Callable[[object], Values] = field(repr=False)
    _read_outputs: Callable[[object], Values] = field(repr=False)
    _write_inputs: Writer = field(repr=False)
    _write_outputs: Writer = field(repr=False)
    _read_alone: Callable[[str], OutputReader] = field(repr=False)
    _derived: dict[object, object] = field(repr=False, default_factory=dict)

    def validate_inputs(self, values: Mapping[str, object]) -> Values:
        """The inputs of one call: defaults filled in, values coerced as from JSON ("3" is an int, a list a set).

        Raises:
            InputError: Naming the field that is missing, unknown or of the wrong type.
        """
        try:
            return self._read_inputs(_filled(values, self._defaults) if self._defaults else values)
        except ValidationError as error:
            raise self._input_error(first_fault(error, values)) from None

    def validate_outputs(self, values: Mapping[str, object]) -> Values:
        """The outputs among ``values``, coerced to their types; other keys are left out.

        Raises:
            OutputsInvalid: Naming the field that is missing or of the wrong type.
        """
        try:
            return self._read_outputs(values)
        except ValidationError as error:
            raise _outputs_error(first_fault(error, values), self.outputs) from None

    def derived(self, make: Callable[["CompiledSignature"], _Derived]) -> _Derived:
        """``make(self)``, made on the first call and kept as long as this compiled form: an adapter's wording,
        say.

        ``make`` is a class or a function; it is also the name by which what it made is found again.
        """
        made = self._derived.get(make)
        if made is None:
            made = self._derived.setdefault(make, make(self))
        return cast("_Derived", made)

    def reader_of(self, name: str) -> OutputReader:
        """The reader of output ``name`` alone, made on first use: for a reply that is still coming."""
        made = self._derived.get(name)
        if made is None:
            made = self._derived.setdefault(name, self._read_alone(name))
        return cast("OutputReader", made)

    def provider_schema(self, dialect: str) -> ProviderSchema:
        """``output_schema`` as ``dialect`` says it, or what keeps it from doing so; made on first use.

        Raises:
            SignatureError: There is no such dialect.
        """
        key = (ProviderSchema, dialect)
        made = self._derived.get(key)
        if made is None:
            made = self._derived.setdefault(key, schema_for(self.output_schema, dialect))
        return cast("ProviderSchema", made)

    def dump_inputs(self, values: Mapping[str, object], context: Context = None) -> Values:
        """Validated inputs (all or some) as JSON-able Python: models to dicts, dates to text.

        Other keys are left out. ``context`` is handed to the types' serializers.

        Raises:
            InputError: Naming a value that JSON cannot hold, in a field whose type lets it through (``Any``).
        """
        return _dumped(self._write_inputs, values, context, InputError)

    def dump_outputs(self, values: Mapping[str, object]) -> Values:
        """Validated outputs (all or some) as JSON-able Python; as ``dump_inputs``, with ``OutputsInvalid``."""
        return _dumped(self._write_outputs, values, None, OutputsInvalid)

    def choices(self, name: str) -> tuple[object, ...] | None:
        """The values output ``name`` can take if its type lists them (Literal, Enum, bool), else None.

        Raises:
            SignatureError: There is no such output.
        """
        for spec in self.outputs:
            if spec.name == name:
                return annotation_choices(spec.annotation)
        raise SignatureError(f"{self.name} has no output `{name}`", hint=f"Its outputs: {_names(self.outputs)}.")

    def _input_error(self, fault: Fault) -> InputError:
        if fault.kind == "extra_forbidden" and "." not in fault.field:
            near = get_close_matches(fault.field, [spec.name for spec in self.inputs], n=1)
            hint = f"Did you mean `{near[0]}`?" if near else f"{self.name} takes: {_names(self.inputs)}."
            return InputError(fault.field, f"is not an input of {self.name}", hint=hint)
        return InputError(fault.field, fault.reason, hint=_expected(fault.field, self.inputs))


# The one mutable object of a module here: it memoises a pure function, as functools.lru_cache does. Bound to a
# Runtime, it could not serve predictors, which are made before there is one.
_COMPILED: Final = BoundedCache[ContentKey, CompiledSignature](limit=10_000)


def compile_signature(
    signature: type[Signature], cache: BoundedCache[ContentKey, CompiledSignature] = _COMPILED
) -> CompiledSignature:
    """The compiled form of ``signature``, found in ``cache`` by the signature's content, or made.

    Raises:
        SignatureError: Naming the field whose type, constraint or default cannot be used.
    """
    key = signature._key
    if key is None:
        if signature is Signature:
            raise SignatureError(
                "Signature has no fields", hint='Subclass it, or write Signature.parse("a -> b").'
            )
        key = signature._content_key()
    return cache.get(key, lambda: _compile(signature))


def compile_cache_stats() -> CacheStats:
    """How often compiled signatures were found in this process's cache, and how many it holds."""
    return _COMPILED.stats()


def shrink_compile_cache(share: float) -> None:
    """Drop ``share`` (0..1) of this process's compiled signatures, those not asked for the longest time.

    Predictors keep those they use; one that is asked for again is compiled again, in some milliseconds.
    """
    _COMPILED.shrink(share)


def _compile(signature: type[Signature]) -> CompiledSignature:
    name, instructions = signature.__name__, signature.instructions
    inputs = Record.build(name, signature.inputs, extra="forbid")
    outputs = Record.build(name, signature.outputs, extra="ignore")
    defaults = _defaults(name, signature.inputs)
    input_schema = open_schema(inputs.schema)
    input_schema["required"] = [each.name for each in signature.inputs if each.name not in defaults]
    for each, default in defaults.items():
        input_schema["properties"][each]["default"] = default.dumped
    output_schema = closed_schema(outputs.schema)
    output_specs = _specs(name, signature.outputs, outputs.schema)
    output_defaults = {each: default.dumped for each, default in _defaults(name, signature.outputs).items()}
    refuse = partial(_outputs_error, specs=output_specs)
    declared = {each.name: each for each in signature.outputs}

    def read_alone(output: str) -> OutputReader:
        return OutputReader(Record.unchecked(name, (declared[output],), "ignore"), {}, TYPES, refuse)

    return CompiledSignature(
        name=name,
        instructions=instructions,
        inputs=_specs(name, signature.inputs, inputs.schema),
        outputs=output_specs,
        input_schema=input_schema,
        output_schema=output_schema,
        fingerprint=_fingerprint(signature, input_schema, output_schema),
        checks=signature.checks,
        reader=OutputReader(outputs, output_defaults, TYPES, refuse),
        _defaults={each: default.value for each, default in defaults.items()},
        _read_inputs=inputs.read,
        _read_outputs=outputs.read,
        _write_inputs=inputs.write,
        _write_outputs=outputs.write,
        _read_alone=read_alone,
    )


@dataclass(frozen=True, slots=True)
class _Default:
    value: object
    dumped: object  # as JSON, for the schema


def _defaults(name: str, fields: tuple[DeclaredField, ...]) -> dict[str, _Default]:
    return {each.name: _default(name, each) for each in fields if each.mark.default is not MISSING}


def _default(name: str, declared: DeclaredField) -> _Default:
    return _fitted(name, declared, declared.mark.default, "default")


def _fitted(name: str, declared: DeclaredField, stated: object, what: str) -> _Default:
    alone = Record.unchecked(name, (declared,), "ignore")
    given = {declared.name: stated}
    try:
        value = alone.read(given)
        dumped = alone.write(value)[declared.name]
        json.dumps(dumped)
    except (ValueError, TypeError, RecursionError) as error:
        reason = first_fault(error, given).reason if isinstance(error, ValidationError) else "JSON cannot hold it"
        raise SignatureError(
            f"{name}.{declared.name}: the {what} does not fit {annotation_text(declared.annotation)}: {reason}",
            hint=f"Change the {what} or widen the type, such as `int | None`.",
        ) from error
    if isinstance(value[declared.name], set | frozenset) and isinstance(dumped, list):
        dumped.sort(key=repr)  # the order of a set differs between processes
    return _Default(value[declared.name], dumped)


def _specs(name: str, fields: Iterable[DeclaredField], schema: JsonSchema) -> tuple[FieldSpec, ...]:
    definitions = schema.get("$defs", {})
    return tuple(
        FieldSpec(
            name=each.name,
            annotation=each.annotation,
            desc=_described(name, each),
            required=each.mark.default is MISSING,
            type_hint=schema_in_words(schema["properties"][each.name], definitions),
        )
        for each in fields
    )


def _described(name: str, declared: DeclaredField) -> str:
    examples = [_fitted(name, declared, example, "example").dumped for example in declared.mark.examples]
    if not examples:
        return declared.mark.desc
    told = "such as " + ", ".join(json.dumps(example, ensure_ascii=False) for example in examples)
    return f"{declared.mark.desc}; {told}" if declared.mark.desc else told


def _fingerprint(signature: type[Signature], input_schema: JsonSchema, output_schema: JsonSchema) -> str:
    # Some constraints, such as the earliest date, have no place in a JSON schema.
    constraints = [
        [each.name, sorted((key, repr(value)) for key, value in each.mark.constraints.items())]
        + ([[repr(example) for example in each.mark.examples]] if each.mark.examples else [])
        for each in (*signature.inputs, *signature.outputs)
    ]
    # Not sort_keys: the order of fields is part of the question, and pydantic's order of keys is fixed.
    content = json.dumps([signature.instructions, constraints, input_schema, output_schema], separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def _filled(values: object, defaults: Mapping[str, object]) -> object:
    if not isinstance(values, Mapping):
        return values  # validation says so
    missing = {name: deepcopy(value) for name, value in defaults.items() if name not in values}
    return {**values, **missing}


def _dumped(
    write: Writer,
    values: Mapping[str, object],
    context: Context,
    error_type: Callable[[str, str], _Error],
) -> Values:
    try:
        return write(values if type(values) is dict else dict(values), context)
    except ValueError as error:  # pydantic_core.PydanticSerializationError
        for name, value in values.items():
            try:
                write({name: value})
            except ValueError:
                raise error_type(name, f"JSON cannot hold a {type(value).__name__}") from error
        raise


def _outputs_error(fault: Fault, specs: tuple[FieldSpec, ...]) -> OutputsInvalid:
    return OutputsInvalid(fault.field, fault.reason, hint=_expected(fault.field, specs))


def _expected(path: str, specs: tuple[FieldSpec, ...]) -> str | None:
    for spec in specs:
        if spec.name == path.partition(".")[0]:
            return f"`{spec.name}` takes: {spec.type_hint}."
    return f"Expected an object with: {_names(specs)}."


def _names(specs: tuple[FieldSpec, ...]) -> str:
    return ", ".join(spec.name for spec in specs)
