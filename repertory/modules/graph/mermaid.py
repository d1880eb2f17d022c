"""Graphs as Mermaid flowcharts (https://mermaid.js.org/syntax/flowchart.html)."""

from repertory.modules.graph.drawing import Drawing, Line, Vertex
from repertory.modules.graph.graph import Graph

_SPECIAL = '#&<>"`\\'
"""Characters that mean something within a quoted text of Mermaid's, which is Markdown and HTML."""


def mermaid(graph: Graph) -> str:
    """``graph`` as a flowchart from top to bottom."""
    drawing = Drawing.of(graph)
    lines = ["flowchart TD"]
    lines += (f"    {vertex.id}{_shape(vertex)}" for vertex in drawing.vertices)
    lines += (f"    {line.source} {_arrow(line)} {line.target}" for line in drawing.lines)
    return "\n".join(lines) + "\n"


def _shape(vertex: Vertex) -> str:
    if vertex.kind != "node":
        return f"([{_quoted(vertex.title)}])"
    return f'["{_escaped(vertex.title)}<br/>{_escaped(vertex.subtitle)}"]'


def _arrow(line: Line) -> str:
    return f"-->|{_quoted(line.label)}|" if line.label else "-->"


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return "".join(f"#{ord(char)};" if char in _SPECIAL or not char.isprintable() else char for char in text)
