"""Graphs: what a program asks, and what each question needs of the answers to others, before anything is asked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from repertory.errors import ProgramError
from repertory.modules.graph.links import Link, Value, links_in
from repertory.signatures import CompiledSignature, Signature

if TYPE_CHECKING:
    from repertory.modules.graph.checks import Problem
    from repertory.modules.module import Module


@dataclass(frozen=True, slots=True)
class Node:
    """One call of a predictor.

    Attributes:
        name: What it is called in the graph: the predictor's path; ``path#2`` where it is called a second time.
        path: The predictor's path in the program; None where the program does not hold it.
        module: The predictor's class, such as ``ChainOfThought``.
        signature: What it is asked, compiled.
        inputs: What it is given, by input.
    """

    name: str
    path: str | None
    module: str
    signature: CompiledSignature = field(repr=False)
    inputs: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Edge:
    """A value on its way.

    Attributes:
        source: Where it comes from.
        target: The node that needs it; None: the program gives it as an output.
        input: The input of the node, or the output of the program.
    """

    source: Link
    target: str | None
    input: str


@dataclass(frozen=True, slots=True)
class Graph:
    """The calls of a program and what they need of each other.

    It shows what depends on what: calls that do not can run side by side, unless the program awaits one before
    it makes the other.

    Invariant: a node's links lead to nodes before it.

    Attributes:
        name: What the program is called.
        inputs: Its inputs.
        nodes: Its calls: what needs others comes after them, else in the order in which they are made.
        outputs: What it gives, by name.
    """

    name: str
    inputs: type[Signature]
    nodes: tuple[Node, ...]
    outputs: Mapping[str, Value]

    @classmethod
    def trace(cls, program: "Module", /, **examples: Any) -> "Graph":
        """Run ``program`` without asking anybody, and note what it would ask.

        It runs in a thread of its own, in which nothing can be waited for. What its own code does besides calling
        modules, it does.

        Args:
            examples: Values of inputs by which the program decides what to call; they are constants in the graph.

        Raises:
            ProgramError: It waits for something, or decides by a value that is not there; naming the place.
        """
        from repertory.modules.graph.tracing import traced

        return traced(program, examples)

    def edges(self) -> Iterator[Edge]:
        """What goes from where to where."""
        for node in self.nodes:
            for name, value in node.inputs.items():
                for link in links_in(value):
                    yield Edge(link, node.name, name)
        for name, value in self.outputs.items():
            for link in links_in(value):
                yield Edge(link, None, name)

    def __getitem__(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes)
        raise ProgramError(f"the graph of {self.name} has no node {name!r}", hint=f"It has: {known}.")

    def needs(self) -> dict[str, tuple[str, ...]]:
        """The nodes whose outputs each node needs, each once."""
        needed: dict[str, dict[str, None]] = {node.name: {} for node in self.nodes}
        for edge in self.edges():
            if edge.target is not None and edge.source.node is not None:
                needed[edge.target][edge.source.node] = None
        return {name: tuple(nodes) for name, nodes in needed.items()}

    def levels(self) -> tuple[tuple[str, ...], ...]:
        """The nodes by how many must have answered one after the other before them; those of a level can run
        side by side."""
        order = {node.name: number for number, node in enumerate(self.nodes)}
        sorter = TopologicalSorter(self.needs())
        sorter.prepare()
        levels = []
        while sorter:
            ready = sorter.get_ready()
            levels.append(tuple(sorted(ready, key=order.__getitem__)))
            sorter.done(*ready)
        return tuple(levels)

    def critical_path(self, weights: Mapping[str, float] = MappingProxyType({})) -> tuple[str, ...]:
        """The nodes that decide how long a run takes at least: the heaviest chain, the first of equals.

        Args:
            weights: Such as seconds, by node or by predictor's path; 1 where nothing is said. Not below 0.

        Raises:
            ProgramError: There is no such node, or a weight is below 0.
        """
        self._require_known(weights)
        needs = self.needs()
        heaviest: dict[str, tuple[float, tuple[str, ...]]] = {}
        for node in self.nodes:
            before = max(
                (heaviest[name] for name in needs[node.name]), key=lambda chain: chain[0], default=(0.0, ())
            )
            weight = weights.get(node.name, weights.get(node.path or node.name, 1.0))
            heaviest[node.name] = (before[0] + weight, (*before[1], node.name))
        return max(heaviest.values(), key=lambda chain: chain[0], default=(0.0, ()))[1]

    def check(self) -> list["Problem"]:
        """What cannot work: edges over which no value can go, inputs that are missing, fields that do not exist.

        What cannot be known beforehand is no problem.
        """
        from repertory.modules.graph.checks import problems

        return list(problems(self))

    def mermaid(self) -> str:
        """The graph as a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html)."""
        from repertory.modules.graph.mermaid import mermaid

        return mermaid(self)

    def svg(self) -> str:
        """The graph as an SVG document of its own."""
        from repertory.modules.graph.svg import svg

        return svg(self)

    def _require_known(self, weights: Mapping[str, float]) -> None:
        known = {node.name for node in self.nodes} | {node.path for node in self.nodes}
        for name, weight in weights.items():
            if name not in known:
                raise ProgramError(
                    f"critical_path: there is no node {name!r} in {self.name}",
                    hint=f"There are: {', '.join(node.name for node in self.nodes)}.",
                )
            if not weight >= 0:
                raise ProgramError(f"critical_path: the weight of {name!r} is {weight!r}", hint="Weigh from 0 up.")


def in_order_of_need(nodes: Sequence[Node]) -> list[Node]:
    """``nodes`` with each after those whose outputs it needs, else in the order given.

    Raises:
        ProgramError: Some need each other in a circle; naming them.
    """
    number = {node.name: place for place, node in enumerate(nodes)}
    needs = {
        node.name: {
            link.node for value in node.inputs.values() for link in links_in(value) if link.node is not None
        }
        for node in nodes
    }
    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError as error:
        raise ProgramError(
            f"these need each other: {' -> '.join(error.args[1])}", hint="Take one of these links away."
        ) from None
    ready: list[int] = []
    ordered = []
    while sorter:
        for name in sorter.get_ready():
            heappush(ready, number[name])
        node = nodes[heappop(ready)]
        ordered.append(node)
        sorter.done(node.name)
    return ordered
