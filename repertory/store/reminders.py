"""Durable reminders: when which actor is to be reminded of what."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ReminderRow:
    """One reminder; ``path`` and ``name`` tell it from all others.

    Attributes:
        due_at: Seconds since the Unix epoch.
        every: Seconds between repetitions; None: it comes once.
    """

    path: str
    name: str
    due_at: float
    every: float | None


class ReminderRows(Protocol):
    """Where reminders are kept. What is asked for first is done first."""

    async def put(self, path: str, name: str, due_at: float, every: float | None) -> None:
        """Keep a reminder, in place of the one of this path and name; on disk at the return. Raises StoreError."""
        ...

    async def delete(self, path: str, name: str, due_at: float | None = None) -> None:
        """Keep it no more, where there is one and, if ``due_at`` is given, it is still due then.

        On disk at the return. Raises StoreError.
        """
        ...

    async def all(self) -> list[ReminderRow]:
        """All reminders, the earliest first. Raises StoreError."""
        ...

    async def due_before(self, time: float) -> list[ReminderRow]:
        """Those due before ``time``, the earliest first. Raises StoreError."""
        ...
