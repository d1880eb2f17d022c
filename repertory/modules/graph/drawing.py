"""What is drawn of a graph, however it is drawn: vertices in layers, and lines between them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from repertory.modules.graph.graph import Edge, Graph, Node

VertexKind: TypeAlias = Literal["input", "node", "output"]

LONGEST = 32
"""Characters of a label; the middle of longer ones is left out."""


@dataclass(frozen=True, slots=True)
class Vertex:
    """An input, a node, or an output.

    Attributes:
        id: Unique in the drawing, and safe in every notation: ``n0``.
        title: Its name, cut.
        subtitle: The module of a node, else "".
        told: All there is to say of it, uncut: the signature of a node.
        layer: Counted from the inputs, which are on layer 0.
    """

    id: str
    kind: VertexKind
    title: str
    subtitle: str
    told: str
    layer: int


@dataclass(frozen=True, slots=True)
class Line:
    """Values that go from one vertex to another.

    Attributes:
        label: Names the fields, cut; "" where the vertex at one end is called the same.
        told: Names them in full.
    """

    source: str
    target: str
    label: str
    told: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A graph as it is drawn; lines lead from lower to higher layers."""

    title: str
    vertices: tuple[Vertex, ...]
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, graph: Graph) -> "Drawing":
        """What is drawn of ``graph``: inputs that nothing needs are left out."""
        levels = graph.levels()
        layer = {name: number for number, level in enumerate(levels, start=1) for name in level}
        edges = list(graph.edges())
        inputs = dict.fromkeys(edge.source.field or "" for edge in edges if edge.source.node is None)
        ids: dict[tuple[VertexKind, str], str] = {}
        vertices = []

        def draw(kind: VertexKind, name: str, subtitle: str, told: str, level: int) -> None:
            ids[kind, name] = identity = f"{kind[0]}{len(ids)}"
            vertices.append(Vertex(identity, kind, cut(name), subtitle, told, level))

        for name in inputs:
            draw("input", name, "", f"input {name}", 0)
        for node in graph.nodes:
            draw("node", node.name, node.module, _told(node), layer[node.name])
        for name in graph.outputs:
            draw("output", name, "", f"output {name}", len(levels) + 1)
        return cls(graph.name, tuple(vertices), tuple(_lines(edges, ids)))


def cut(text: str, longest: int = LONGEST) -> str:
    """``text`` on one line, without its middle where it is longer."""
    text = " ".join(text.split())
    if len(text) <= longest:
        return text
    return f"{text[: longest - longest // 3 - 1]}…{text[-(longest // 3) :]}"


def _told(node: Node) -> str:
    sides = (", ".join(spec.name for spec in side) for side in (node.signature.inputs, node.signature.outputs))
    return f"{node.name}: {node.module}, {' -> '.join(sides)}"


def _lines(edges: list[Edge], ids: dict[tuple[VertexKind, str], str]) -> Iterator[Line]:
    """One line for all edges between the same two."""
    names = {identity: name if kind != "node" else None for (kind, name), identity in ids.items()}
    between: dict[tuple[str, str], dict[str, None]] = {}
    for edge in edges:
        link = edge.source
        source = ids["input", link.field or ""] if link.node is None else ids["node", link.node]
        target = ids["output", edge.input] if edge.target is None else ids["node", edge.target]
        text = str(link) if link.node is None else str(link).removeprefix(f"{link.node}.")
        between.setdefault((source, target), {})[text if text == edge.input else f"{text} as {edge.input}"] = None
    for (source, target), texts in between.items():
        told = ", ".join(texts)
        is_said = told in (names[source], names[target])
        yield Line(source, target, "" if is_said else cut(told), told)
