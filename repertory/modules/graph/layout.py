"""A layered layout: where vertices go so that lines run downwards, cross little, and do not bend much.

After Sugiyama, Tagawa and Toda 1981 (doi:10.1109/TSMC.1981.4308636): long lines are given a bend in each layer
they pass, layers are sorted by the mean place of neighbours, and each layer is shifted towards them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

SWEEPS: Final = 8
"""Times the layers are sorted and shifted, down and up in turn; later ones change next to nothing."""

GAP: Final = 28.0  # between neighbours in a layer
BEND: Final = 12.0  # the width that is kept free for a line that passes a layer


@dataclass(frozen=True, slots=True)
class Box:
    """What takes place in a layer, as wide as ``width``."""

    id: str
    layer: int
    width: float


@dataclass(slots=True)
class Layout:
    """Centres of boxes, and of the bends of lines.

    Invariant: ``_layers`` holds every box and bend once, from left to right; ``x`` its centre, at least half the
    widths and a gap away from its neighbour's.

    Attributes:
        x: Centres, by id; of the bends of line ``number`` in ``layer`` by ``(number, layer)``.
    """

    x: dict[object, float] = field(default_factory=dict)
    _layers: list[list[object]] = field(default_factory=list)
    _width: dict[object, float] = field(default_factory=dict)
    _above: dict[object, list[object]] = field(default_factory=dict)
    _below: dict[object, list[object]] = field(default_factory=dict)

    @classmethod
    def of(cls, boxes: Sequence[Box], lines: Sequence[tuple[str, str]]) -> "Layout":
        """The layout of ``boxes``; each of ``lines`` leads from a box to one in a deeper layer."""
        layout = cls(_layers=[[] for _ in range(max((box.layer for box in boxes), default=-1) + 1)])
        for box in boxes:
            layout._put(box.id, box.layer, box.width)
        layer = {box.id: box.layer for box in boxes}
        for number, (source, target) in enumerate(lines):
            before: object = source
            for passed in range(layer[source] + 1, layer[target]):
                bend = (number, passed)
                layout._put(bend, passed, BEND)
                layout._join(before, bend)
                before = bend
            layout._join(before, target)
        layout._arrange()
        return layout

    @property
    def width(self) -> float:
        """From the left edge of the leftmost box, which is at 0, to the right edge of the rightmost."""
        return max((self.x[each] + self._width[each] / 2 for each in self.x), default=0.0)

    def _put(self, what: object, layer: int, width: float) -> None:
        self._layers[layer].append(what)
        self._width[what] = width
        self._above[what], self._below[what] = [], []

    def _join(self, upper: object, lower: object) -> None:
        self._below[upper].append(lower)
        self._above[lower].append(upper)

    def _arrange(self) -> None:
        for layer in self._layers:
            self._place(layer, {})
        for sweep in range(SWEEPS):
            down = sweep % 2 == 0
            neighbours = self._above if down else self._below
            for layer in self._layers if down else reversed(self._layers):
                wanted = {each: self._mean(neighbours[each], self.x[each]) for each in layer}
                layer.sort(key=wanted.__getitem__)
                self._place(layer, wanted)
        left = min((self.x[each] - self._width[each] / 2 for each in self.x), default=0.0)
        for each in self.x:
            self.x[each] -= left

    def _mean(self, neighbours: Iterable[object], otherwise: float) -> float:
        places = [self.x[each] for each in neighbours]
        return sum(places) / len(places) if places else otherwise

    def _place(self, layer: Sequence[object], wanted: Mapping[object, float]) -> None:
        """Put ``layer`` as near to where it is ``wanted`` as its order and its widths allow."""
        offsets, offset = [], 0.0
        for number, each in enumerate(layer):
            if number:
                offset += (self._width[layer[number - 1]] + self._width[each]) / 2 + GAP
            offsets.append(offset)
        centred = [offset - offsets[-1] / 2 for offset in offsets] if offsets else []
        free = [
            wanted.get(each, centre) - offset for each, centre, offset in zip(layer, centred, offsets, strict=True)
        ]
        for each, shift, offset in zip(layer, nondecreasing(free), offsets, strict=True):
            self.x[each] = shift + offset


def nondecreasing(values: Sequence[float]) -> list[float]:
    """The nondecreasing sequence nearest to ``values`` in least squares.

    By pooling adjacent violators (Ayer et al. 1955, doi:10.1214/aoms/1177728423).
    """
    pools: list[tuple[float, int]] = []  # mean and number
    for value in values:
        mean, number = value, 1
        while pools and pools[-1][0] > mean:
            before, size = pools.pop()
            mean, number = (before * size + mean * number) / (size + number), size + number
        pools.append((mean, number))
    return [mean for mean, number in pools for _ in range(number)]
