"""The layout: nothing overlaps, and shifting is the least that keeps the order."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from repertory.modules.graph.layout import GAP, Box, Layout, nondecreasing

sizes = st.lists(st.lists(st.floats(10, 200), min_size=1, max_size=5), min_size=1, max_size=5)


@given(sizes=sizes, data=st.data())
def test_boxes_of_a_layer_keep_their_distance(sizes: list[list[float]], data: st.DataObject) -> None:
    boxes = [
        Box(f"{layer}.{number}", layer, width)
        for layer, widths in enumerate(sizes)
        for number, width in enumerate(widths)
    ]
    pairs = [(upper.id, lower.id) for upper in boxes for lower in boxes if upper.layer < lower.layer]
    lines = data.draw(st.lists(st.sampled_from(pairs), unique=True, max_size=12)) if pairs else []
    layout = Layout.of(boxes, lines)
    for layer in range(len(sizes)):
        row = sorted((layout.x[box.id], box.width) for box in boxes if box.layer == layer)
        assert row[0][0] - row[0][1] / 2 >= -1e-6
        for (left, width), (right, other) in pairwise(row):
            assert right - left >= (width + other) / 2 + GAP - 1e-6
    assert all(box.width / 2 + layout.x[box.id] <= layout.width + 1e-6 for box in boxes)


def test_a_line_that_passes_a_layer_bends_around_what_is_in_it() -> None:
    boxes = [Box("a", 0, 100), Box("b", 1, 100), Box("c", 2, 100)]
    layout = Layout.of(boxes, [("a", "b"), ("b", "c"), ("a", "c")])
    assert abs(layout.x[2, 1] - layout.x["b"]) >= 50 + GAP


def test_what_stands_crossed_is_uncrossed() -> None:
    boxes = [Box(name, layer, 40) for layer, names in enumerate(("ab", "cd")) for name in names]
    layout = Layout.of(boxes, [("a", "d"), ("b", "c")])
    assert (layout.x["a"] < layout.x["b"]) == (layout.x["d"] < layout.x["c"])


def test_nothing_is_laid_out_of_nothing() -> None:
    assert Layout.of([], []).width == 0


@given(values=st.lists(st.integers(-20, 20), min_size=1, max_size=8))
def test_the_nearest_nondecreasing_sequence(values: list[int]) -> None:
    """Each value is the largest, over where one begins, of the smallest, over where one ends, of the means."""
    found = nondecreasing(values)
    for here in range(len(values)):
        expected = max(
            min(sum(values[begin:end]) / (end - begin) for end in range(here + 1, len(values) + 1))
            for begin in range(here + 1)
        )
        assert abs(found[here] - expected) < 1e-9
