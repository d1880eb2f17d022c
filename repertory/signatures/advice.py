"""What can be told of a signature before it is ever asked: likely mistakes, each with its remedy.

Nothing here is an error: the signature works. These are what people who write signatures find out from replies.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from repertory.signatures.compiled import CompiledSignature, compile_signature
from repertory.signatures.dialects import DIALECTS, Obstacle
from repertory.signatures.fields import DeclaredField
from repertory.signatures.schemas import REF_PREFIX, JsonSchema, reachable
from repertory.signatures.signature import Signature

_REASONS: Final = frozenset({"reasoning", "rationale", "explanation", "thoughts", "thinking", "justification"})
_SHARES: Final = frozenset({"confidence", "probability", "likelihood", "score", "certainty"})
_SAID_TWICE: Final = re.compile(r"^(?:new|output|out|result|same|copied|the)_|_(?:output|out|result|copy)$")
_PLACEHOLDER: Final = re.compile(r"(?<!\{)\{([A-Za-z_]\w*)\}(?!\})")
_MANY_CHOICES: Final = 100
_LONG_NAME: Final = 2  # characters from which on a name may say what it is for


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that is likely to make answers worse.

    Attributes:
        code: A stable name of the kind, such as ``no-instructions``.
        field: The field it is about; "" for the signature as a whole.
        message: What was found.
        remedy: What to do about it.
    """

    code: str
    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return f"{where}{self.message} ({self.code})"


def advise(signature: type[Signature]) -> tuple[Advice, ...]:
    """What is likely to be meant otherwise in ``signature``, in the order of its fields.

    Raises:
        SignatureError: The signature cannot be compiled.
    """
    compiled = compile_signature(signature)
    return tuple(advice for rule in _RULES for advice in rule(signature, compiled))


def _no_instructions(signature: type[Signature], compiled: CompiledSignature) -> Iterator[Advice]:
    if signature._stated is None:
        yield Advice(
            "no-instructions",
            "",
            f'nobody said what to do; the model is told "{compiled.instructions}"',
            "Write a docstring, or pass the instructions: Signature.parse(text, instructions).",
        )
    elif not signature._stated.strip():
        yield Advice("no-instructions", "", "the instructions are empty", "Say the task in a sentence.")


def _unfilled_placeholder(signature: type[Signature], compiled: CompiledSignature) -> Iterator[Advice]:
    for name in dict.fromkeys(_PLACEHOLDER.findall(signature._stated or "")):
        yield Advice(
            "placeholder",
            name if any(field.name == name for field in compiled.inputs) else "",
            f"the instructions hold {{{name}}}, which nothing is put into",
            "Refer to inputs by name; their values come in the question.",
        )


def _echo(signature: type[Signature], compiled: CompiledSignature) -> Iterator[Advice]:
    inputs = {_stripped(field.name): field for field in signature.inputs}
    for output in signature.outputs:
        same = inputs.get(_stripped(output.name))
        if same is not None and same.annotation == output.annotation and not output.mark.desc:
            yield Advice(
                "echo",
                output.name,
                f"by its name and type it may be input `{same.name}` once more",
                "Name it by what is to be made of the input, or say so in desc=.",
            )


def _stripped(name: str) -> str:
    return _SAID_TWICE.sub("", name).rstrip("0123456789_").casefold()


def _says_nothing(signature: type[Signature], compiled: CompiledSignature) -> Iterator[Advice]:
    for declared in (*signature.inputs, *signature.outputs):
        if len(declared.name) <= _LONG_NAME and not declared.mark.desc:
            yield Advice(
                "terse-name",
                declared.name,
                "neither a name nor a description tells the model what it is",
                "Give it a longer name or desc=.",
            )


def _reasons_late(signature: type[Signature], compiled: CompiledSignature) -> Iterator[Advice]:
    for position, output in enumerate(signature.outputs):
        if output.name in _REASONS and position > 0:
            yield Advice(
                "late-reasoning",
                output.name,
                f"it comes after `{signature.outputs[0].name}`: the model decides first and finds reasons then",
                "Put it before the other outputs, or use ChainOfThought.",
            )


def _open_number(signature: type[Signature], compiled: CompiledSignature) -> Iterator[Advice]:
    for declared, schema in _outputs(signature, compiled):
        bounded = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum", "const"} & schema.keys()
        if declared.name in _SHARES and schema.get("type") in ("number", "integer") and not bounded:
            yield Advice(
                "open-scale",
                declared.name,
                "the scale is open: one reply says 0.9, the next 90, the next 9",
                "Give it ge= and le=, such as ge=0, le=1.",
            )


def _unchecked(signature: type[Signature], compiled: CompiledSignature) -> Iterator[Advice]:
    for declared, schema in _outputs(signature, compiled):
        if not schema.keys() - {"description", "examples"}:
            yield Advice(
                "any-value",
                declared.name,
                "its type admits any value, so that no reply is ever wrong",
                "Write the type you go on with.",
            )


def _many_choices(signature: type[Signature], compiled: CompiledSignature) -> Iterator[Advice]:
    for declared, schema in _outputs(signature, compiled):
        count = len(schema.get("enum", ()))
        if count > _MANY_CHOICES:
            yield Advice(
                "many-choices",
                declared.name,
                f"{count} choices stand in every prompt, and models pick badly among so many",
                "Choose in two steps: a group first, then within it.",
            )


def _no_choice(signature: type[Signature], compiled: CompiledSignature) -> Iterator[Advice]:
    for declared, schema in _outputs(signature, compiled):
        if "const" in schema or len(schema.get("enum", (1, 2))) == 1:
            yield Advice(
                "no-choice", declared.name, "there is one value it can have", "Leave it out, or add the others."
            )


def _deep_unions(signature: type[Signature], compiled: CompiledSignature) -> Iterator[Advice]:
    definitions: Mapping[str, JsonSchema] = compiled.output_schema.get("$defs", {})
    for declared, schema in _outputs(signature, compiled):
        names = reachable(schema, definitions)
        for name in names:
            members = [
                each for each in _ambiguous(definitions[name]) if name in reachable(definitions[each], definitions)
            ]
            if len(members) > 1:
                yield Advice(
                    "ambiguous-recursion",
                    declared.name,
                    f"`{name}` holds a union of {' and '.join(sorted(members))}, which hold it again: every level "
                    "is tried in each way, and reading takes twice as long for each",
                    "Tell the members apart by a Literal field: Field(discriminator=...).",
                )
                break


def _unconstrained(signature: type[Signature], compiled: CompiledSignature) -> Iterator[Advice]:
    told: dict[str, list[tuple[str, Obstacle]]] = {}
    for dialect in DIALECTS:
        for obstacle in compiled.provider_schema(dialect).obstacles:
            told.setdefault(re.split(r"[.\[]", obstacle.path)[0], []).append((dialect, obstacle))
    for name, obstacles in told.items():
        first = obstacles[0][1]
        remedy = f"{first.remedy[:1].upper()}{first.remedy[1:]}; or leave it: replies are validated all the same."
        dialects = ", ".join(dict.fromkeys(dialect for dialect, _ in obstacles))
        yield Advice(
            "unconstrained", name, f"endpoints of {dialects} cannot be held to its type: {first.reason}", remedy
        )


def _outputs(
    signature: type[Signature], compiled: CompiledSignature
) -> Iterator[tuple[DeclaredField, JsonSchema]]:
    definitions = compiled.output_schema.get("$defs", {})
    for declared in signature.outputs:
        schema = compiled.output_schema["properties"][declared.name]
        while "$ref" in schema:
            schema = definitions[schema["$ref"].removeprefix(REF_PREFIX)]
        yield declared, schema


def _ambiguous(schema: object) -> set[str]:
    """The definitions that an untagged union within ``schema``, itself no other definition, chooses from."""
    if isinstance(schema, list):
        return set().union(*map(_ambiguous, schema))
    if not isinstance(schema, dict):
        return set()
    members = {each["$ref"].removeprefix(REF_PREFIX) for each in schema.get("anyOf", ()) if "$ref" in each}
    return members if len(members) > 1 else set().union(*map(_ambiguous, schema.values()))


_RULES: Final[tuple[Callable[[type[Signature], CompiledSignature], Iterator[Advice]], ...]] = (
    _no_instructions,
    _unfilled_placeholder,
    _echo,
    _says_nothing,
    _reasons_late,
    _open_number,
    _unchecked,
    _many_choices,
    _no_choice,
    _deep_unions,
    _unconstrained,
)
