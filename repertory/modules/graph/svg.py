"""Graphs as SVG documents (https://www.w3.org/TR/SVG2/): self-contained, without scripts and foreign fonts."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final
from xml.sax.saxutils import escape

from repertory.modules.graph.drawing import Drawing, Line, Vertex
from repertory.modules.graph.graph import Graph
from repertory.modules.graph.layout import Box, Layout

MARGIN: Final = 24.0
HEIGHT: Final = 44.0  # of a box
STEP: Final = 108.0  # from one layer to the next
CHARACTER: Final = 7.4  # the width to reckon with at this size, in most fonts
PADDING: Final = 28.0  # left and right of the text in a box, together
ROW: Final = 12.0  # between the heights of labels

_STYLE: Final = (
    "text{font:13px sans-serif;fill:#1a2733;text-anchor:middle}"
    ".name{font-weight:600}.kind,.label{font-size:11px;fill:#4a5a68}"
    ".label{paint-order:stroke;stroke:#fff;stroke-width:4px}"
    ".node{fill:#eef4fb;stroke:#3b6ea5}.input{fill:#f4f4f0;stroke:#8a8a7a}.output{fill:#eef7ee;stroke:#4d8a4d}"
    ".line{fill:none;stroke:#5c6b78;stroke-width:1.4}"
)

_TIP: Final = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#5c6b78"/></marker></defs>'
)


def svg(graph: Graph) -> str:
    """``graph`` as a document, with a title and a description for those who do not see it."""
    drawing = Drawing.of(graph)
    boxes = [Box(each.id, each.layer, _width(each)) for each in drawing.vertices]
    layout = Layout.of(boxes, [(line.source, line.target) for line in drawing.lines])
    layers = max((each.layer for each in drawing.vertices), default=0)
    width, height = layout.width + 2 * MARGIN, layers * STEP + HEIGHT + 2 * MARGIN
    vertices = {each.id: each for each in drawing.vertices}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-labelledby="title desc">',
        f'<title id="title">{_text(drawing.title)}</title>',
        f'<desc id="desc">{_text(_described(graph))}</desc>',
        f"<style>{_STYLE}</style>",
        _TIP,
        '<rect width="100%" height="100%" fill="#fff"/>',
        *(_line(number, line, vertices, layout) for number, line in enumerate(drawing.lines)),
        *(_box(vertex, layout) for vertex in drawing.vertices),
        *(_label(number, line, vertices, layout) for number, line in enumerate(drawing.lines) if line.label),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _described(graph: Graph) -> str:
    steps = "; then ".join(", ".join(level) for level in graph.levels())
    return f"{len(graph.nodes)} calls. {steps}." if steps else "No calls."


def _width(vertex: Vertex) -> float:
    return max(len(vertex.title), len(vertex.subtitle), 5) * CHARACTER + PADDING


def _box(vertex: Vertex, layout: Layout) -> str:
    width, x, y = _width(vertex), layout.x[vertex.id] + MARGIN, vertex.layer * STEP + MARGIN
    radius = 6 if vertex.kind == "node" else HEIGHT / 2
    middle = y + HEIGHT / 2
    lines = (
        [
            _line_of_text(vertex.title, "name", x, middle - 3),
            _line_of_text(vertex.subtitle, "kind", x, middle + 13),
        ]
        if vertex.subtitle
        else [_line_of_text(vertex.title, "name", x, middle + 5)]
    )
    return (
        f'<g><title>{_text(vertex.told)}</title><rect class="{vertex.kind}" x="{x - width / 2:.1f}" y="{y:.1f}" '
        f'width="{width:.1f}" height="{HEIGHT:.1f}" rx="{radius}"/>{"".join(lines)}</g>'
    )


def _line(number: int, line: Line, vertices: dict[str, Vertex], layout: Layout) -> str:
    points = list(_points(number, line, vertices, layout))
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x, y), (to_x, to_y) in pairwise(points):
        half = (y + to_y) / 2
        path += f"C{x:.1f} {half:.1f} {to_x:.1f} {half:.1f} {to_x:.1f} {to_y:.1f}"
    return f'<path class="line" d="{path}" marker-end="url(#tip)"><title>{_text(line.told)}</title></path>'


def _label(number: int, line: Line, vertices: dict[str, Vertex], layout: Layout) -> str:
    """The line's label, in the middle of its last part, where it has parted from others of its source.

    Labels of lines beside each other are on different heights, so that long ones do not cover each other.
    """
    (x, y), (to_x, to_y) = list(_points(number, line, vertices, layout))[-2:]
    return _line_of_text(line.label, "label", (x + to_x) / 2, (y + to_y) / 2 + 4 + ROW * (number % 3 - 1))


def _points(number: int, line: Line, vertices: dict[str, Vertex], layout: Layout) -> Iterator[tuple[float, float]]:
    source, target = vertices[line.source], vertices[line.target]
    yield layout.x[source.id] + MARGIN, source.layer * STEP + MARGIN + HEIGHT
    for layer in range(source.layer + 1, target.layer):
        x = layout.x[number, layer] + MARGIN
        yield x, layer * STEP + MARGIN
        yield x, layer * STEP + MARGIN + HEIGHT
    yield layout.x[target.id] + MARGIN, target.layer * STEP + MARGIN


def _line_of_text(text: str, style: str, x: float, y: float) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{_text(text)}</text>'


def _text(text: str) -> str:
    """``text`` for XML, which cannot hold most control characters, not even escaped."""
    return escape(
        "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)
    )
