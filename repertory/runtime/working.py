"""How much work is under way, for whoever waits until there is none."""

import asyncio


class Working:
    """Counts those who are within it: ``with working: ...``.

    Invariant: ``idle`` is set exactly while ``count`` is 0.
    """

    __slots__ = ("count", "idle")

    def __init__(self) -> None:
        self.count = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def __enter__(self) -> None:
        if not self.count:
            self.idle.clear()
        self.count += 1

    def __exit__(self, *_error: object) -> None:
        self.count -= 1
        if not self.count:
            self.idle.set()
