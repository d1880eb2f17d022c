"""What the log of an ended run can do without: the course of what has its outcome in there."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

PIECES: Final = ("delta", "reset")  # of answers: an ended run has no readers that watch them come
CALLS: Final = ("call", "response")  # superseded by the step's outputs

Key: TypeAlias = tuple[str, str, int]  # of a step: its name, what was asked, and for which time


class Compaction:
    """Collects, from the events of an ended run, those about calls that can go.

    Invariant: what can go are calls of steps that have their outputs, and the responses to them. A call that also
    tells the end of another one goes only if that one does. So whoever goes on from what is left finds the same:
    all outcomes, and of a step that is to be tried again, what its calls have brought and cost.
    """

    __slots__ = ("_calls", "_finished", "_responses")

    def __init__(self) -> None:
        self._finished: set[Key] = set()
        self._calls: list[tuple[int, str, Key, frozenset[str]]] = []  # the last: whose ends it tells
        self._responses: list[tuple[int, str]] = []

    def take(self, id: int, kind: str, data: Mapping[str, Any]) -> None:
        """Go on to an event of the kind ``call``, ``response`` or ``step``."""
        match kind:
            case "call":
                settled = frozenset(key for key, *_ in data.get("settled", ()))
                self._calls.append((id, data.get("key", ""), _step(data), settled))
            case "response":
                self._responses.append((id, data.get("key", "")))
            case "step":
                if data.get("error") is None:
                    self._finished.add(_step(data))
                else:
                    self._finished.discard(_step(data))

    def superseded(self) -> list[int]:
        """The numbers of the events that can go."""
        closed = {key for _, key, _, _ in self._calls}
        closed -= {key for _, key, step, _ in self._calls if step not in self._finished}
        calls = [id for id, key, _, settled in self._calls if key in closed and settled <= closed]
        return calls + [id for id, key in self._responses if key in closed]


def _step(data: Mapping[str, Any]) -> Key:
    return data.get("step", ""), data.get("asked", ""), data.get("occurrence", 0)
