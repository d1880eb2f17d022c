"""A witness that keeps all it is told, and raises where it is told what it was promised not to be."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal

from repertory.providers.messages import Usage
from repertory.providers.witness import Intent, Told


@dataclass(slots=True)
class Entry:
    """One attempt.

    Attributes:
        intent: What was to be written down.
        written: Whether that was done.
        ids: By which its answer was identified.
        ending: How it ended; None as long as it has not.
    """

    intent: Intent
    written: bool = False
    ids: list[str] = field(default_factory=list)
    ending: Told | None = None
    usage: Usage | None = None
    cost: Decimal | None = None


class Recorder:
    """The witness.

    Args:
        writes: What writing an intent down is; by default it is done at once.

    Attributes:
        entries: Of all attempts, in the order in which they were intended.
        keys: How many it was asked for.
        named: Set when an answer is first identified.
    """

    def __init__(self, writes: Callable[[Intent], Awaitable[None]] | None = None) -> None:
        self._writes = writes
        self._under_way: dict[int, Entry] = {}
        self.entries: list[Entry] = []
        self.keys = 0
        self.named = asyncio.Event()

    def key(self) -> str:
        self.keys += 1
        return f"k-{self.keys}"

    async def intend(self, intent: Intent) -> None:
        assert (intent.key, intent.attempt) not in self.attempts
        self._under_way[id(intent)] = entry = Entry(intent)
        self.entries.append(entry)
        if self._writes is not None:
            await self._writes(intent)
        entry.written = True

    def identified(self, intent: Intent, response_id: str) -> None:
        entry = self._under_way[id(intent)]
        assert entry.written
        assert response_id
        assert not entry.ids
        entry.ids.append(response_id)
        self.named.set()

    def settled(self, intent: Intent, ending: Told, usage: Usage, cost: Decimal | None) -> None:
        entry = self._under_way.pop(id(intent))  # a second time it is not there
        assert entry.written or ending == "unpaid"
        entry.ending, entry.usage, entry.cost = ending, usage, cost

    @property
    def endings(self) -> list[Told | None]:
        """Of all attempts, in order."""
        return [entry.ending for entry in self.entries]

    @property
    def attempts(self) -> list[tuple[str, int]]:
        """Keys and numbers, in order."""
        return [(entry.intent.key, entry.intent.attempt) for entry in self.entries]

    def charged(self, ending: Told) -> Decimal:
        """The sum of what was told as costs of attempts that ended so."""
        return sum((entry.cost or Decimal(0) for entry in self.entries if entry.ending == ending), Decimal(0))
