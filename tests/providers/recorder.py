"""A witness that keeps all it is told, and fails when it is told in another order than it was promised."""

import asyncio
from collections.abc import Callable
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
        name: What its keys begin with.

    Attributes:
        entries: Of all attempts, in the order in which they were intended; those ``beside`` share the list.
        keys: How many it was asked for.
    """

    def __init__(self, writes: Callable[[Intent], "asyncio.Future[None]"] | None = None, name: str = "k") -> None:
        self._writes = writes
        self._name = name
        self._others = 0
        self._open: Entry | None = None
        self.entries: list[Entry] = []
        self.keys = 0

    def key(self) -> str:
        assert self._open is None
        self.keys += 1
        return f"{self._name}-{self.keys}"

    async def intend(self, intent: Intent) -> None:
        assert self._open is None, "the attempt before has not been settled"
        self._open = entry = Entry(intent)
        self.entries.append(entry)
        if self._writes is not None:
            await self._writes(intent)
        entry.written = True

    def identified(self, response_id: str) -> None:
        assert self._open is not None
        assert self._open.written
        assert response_id
        assert not self._open.ids
        self._open.ids.append(response_id)

    def settled(self, ending: Told, usage: Usage, cost: Decimal | None) -> None:
        assert self._open is not None, "settled twice, or nothing was intended"
        assert self._open.written or ending == "unpaid"
        self._open.ending, self._open.usage, self._open.cost = ending, usage, cost
        self._open = None

    def beside(self) -> "Recorder":
        self._others += 1
        other = Recorder(self._writes, f"{self._name}-beside-{self._others}")
        other.entries = self.entries
        return other

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
