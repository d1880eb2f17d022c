"""Checks of a graph: what in it cannot work, whatever the models say."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from pydantic import ValidationError

from repertory.modules.graph.fit import bare, could_fit, element_of, kind_of
from repertory.modules.graph.links import Constant, Link, Several, Value
from repertory.modules.graph.parts import NoSuchPart, annotation_is_union, type_at
from repertory.signatures import FieldSpec
from repertory.signatures.annotations import annotation_text
from repertory.signatures.faults import first_fault
from repertory.signatures.fields import DeclaredField, FieldMark
from repertory.signatures.records import Record

if TYPE_CHECKING:
    from repertory.modules.graph.graph import Graph, Node

ProblemKind: TypeAlias = Literal["not_held", "missing_input", "unknown_input", "unknown_field", "type_mismatch"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a graph that cannot work.

    Attributes:
        kind: What it is.
        node: The node that cannot get what it needs; None: the program's outputs.
        field: The input of the node, or the output of the program; "" for the node as a whole.
        reason: What is wrong, naming what it was given.
        remedy: What to do about it.
        given: The type it was given, as a signature writes it; "" where that is not the matter.
        wanted: The type it takes, likewise.
    """

    kind: ProblemKind
    node: str | None
    field: str
    reason: str
    remedy: str
    given: str = ""
    wanted: str = ""

    def __str__(self) -> str:
        where = ".".join(filter(None, (self.node or "outputs", self.field)))
        return f"{where}: {self.reason}"


def problems(graph: "Graph") -> Iterator[Problem]:
    """What cannot work in ``graph``, in the order of its nodes."""
    types = _Types(graph)
    for node in graph.nodes:
        yield from _problems_of(node, types)
    for name, value in graph.outputs.items():
        if (fault := types.fault(value, Any)) is not None:
            yield fault.of(None, name)


def _problems_of(node: "Node", types: "_Types") -> Iterator[Problem]:
    if node.path is None:
        yield Problem(
            kind="not_held",
            node=node.name,
            field="",
            reason="the program does not hold this predictor",
            remedy="Make it in __init__ and keep it as an attribute, or in a list or dict that is one.",
        )
    inputs = {spec.name: spec for spec in node.signature.inputs}
    for name, spec in inputs.items():
        if spec.required and name not in node.inputs:
            remedy = f"Give it: {name}=... ({annotation_text(spec.annotation)})."
            wanted = annotation_text(spec.annotation)
            yield Problem("missing_input", node.name, name, "is missing", remedy, wanted=wanted)
    for name, value in node.inputs.items():
        if name not in inputs:
            remedy = _meant(name, tuple(inputs)) or f"It takes: {', '.join(inputs)}."
            yield Problem("unknown_input", node.name, name, "is not an input of it", remedy)
        elif (fault := _input_fault(value, inputs[name], types)) is not None:
            yield fault.of(node.name, name)


def _input_fault(value: Value, spec: FieldSpec, types: "_Types") -> "_Fault | None":
    if not isinstance(value, Constant):
        return types.fault(value, spec.annotation)
    declared = DeclaredField(spec.name, spec.annotation, FieldMark("input"))
    given = {spec.name: value.value}
    try:
        Record.unchecked(spec.name, (declared,), "ignore").read(given)
    except ValidationError as error:
        return _Fault(
            kind="type_mismatch",
            reason=first_fault(error, given).reason,
            remedy=f"It takes: {spec.type_hint}.",
            given=annotation_text(type(value.value)),
            wanted=annotation_text(spec.annotation),
        )
    return None


@dataclass(frozen=True, slots=True)
class _Fault:
    kind: ProblemKind
    reason: str
    remedy: str
    given: str = ""
    wanted: str = ""

    def of(self, node: str | None, field: str) -> Problem:
        return Problem(self.kind, node, field, self.reason, self.remedy, self.given, self.wanted)


class _Types:
    """The types of what a graph's inputs and nodes give."""

    def __init__(self, graph: "Graph") -> None:
        self._inputs: dict[str, Any] = {each.name: each.annotation for each in graph.inputs.inputs}
        self._outputs: dict[str, dict[str, Any]] = {
            node.name: {spec.name: spec.annotation for spec in node.signature.outputs} for node in graph.nodes
        }

    def fault(self, value: Value, target: Any) -> _Fault | None:
        """Why ``value`` cannot be what is wanted, if so."""
        if isinstance(value, Link):
            return self._link_fault(value, target)
        if isinstance(value, Several):
            return self._several_fault(value, target)
        return _mismatch(f"{value.value!r}", type(value.value), target)

    def of(self, value: Value) -> Any:
        """The type of what ``value`` leads to. Raises NoSuchPart."""
        if isinstance(value, Constant):
            return type(value.value)
        if isinstance(value, Several):
            return value.kind
        return type_at(self._fields(value)[value.field or ""], value.path[1:])

    def _fields(self, link: Link) -> dict[str, Any]:
        return self._inputs if link.node is None else self._outputs[link.node]

    def _link_fault(self, link: Link, target: Any) -> _Fault | None:
        fields = self._fields(link)
        if link.field is None:
            remedy = f"Name the field: {' or '.join(f'{link.node}.{name}' for name in fields)}."
            return _Fault("unknown_field", f"{link} is a whole prediction", remedy)
        if link.field not in fields:
            return _unknown(link, f"{link.node} has no {link.field!r}", link.field, tuple(fields))
        try:
            given = type_at(fields[link.field], link.path[1:])
        except NoSuchPart as fault:
            return _unknown(link, str(fault), str(link.path[-1]), fault.known)
        return _mismatch(str(link), given, target)

    def _several_fault(self, several: Several, target: Any) -> _Fault | None:
        target = bare(target)
        if annotation_is_union(target):
            faults = [self._several_fault(several, member) for member in get_args(target)]
            return None if None in faults else faults[0]
        if kind_of(target) == "unknown":
            target = Any
        elif (fault := _mismatch("what is put together here", several.kind, target)) is not None:
            return fault
        for key, part in several.parts:
            if (fault := self.fault(part, _part_of(target, key))) is not None:
                return fault
        return None


def _part_of(target: Any, key: object) -> Any:
    """What a list or dict may hold at ``key``; Any where that is not said by one type for all."""
    arguments = get_args(target)
    match kind_of(target):
        case "sequence" if isinstance(key, int):
            try:
                return element_of(target, key)
            except IndexError:
                return Any
        case "mapping" if len(arguments) == 2:
            return arguments[1]
    return Any


def _mismatch(what: str, given: Any, target: Any) -> _Fault | None:
    if could_fit(given, target):
        return None
    here, there = annotation_text(given), annotation_text(target)
    return _Fault(
        kind="type_mismatch",
        reason=f"{what} is {here}, and it takes {there}",
        remedy=f"Declare both alike: {here} here, or {there} there.",
        given=here,
        wanted=there,
    )


def _unknown(link: Link, reason: str, name: str, known: Mapping[str, Any] | tuple[str, ...]) -> _Fault:
    remedy = _meant(name, tuple(known)) or (f"It has: {', '.join(known)}." if known else "See its signature.")
    whole = f"{link}: " if len(link.path) > 1 else ""
    return _Fault("unknown_field", f"{whole}{reason}", remedy)


def _meant(name: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def output_types(graph: "Graph") -> dict[str, Any]:
    """The types of what ``graph`` gives, by name; Any where that is not known.

    Raises:
        NoSuchPart: A link leads nowhere; `problems` names it.
    """
    types = _Types(graph)
    return {name: types.of(value) for name, value in graph.outputs.items()}
