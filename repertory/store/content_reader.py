"""Reads the values of one run back, one after the other: what one has in common with the next is loaded once."""

from collections.abc import Mapping
from typing import Final

from repertory.store.content_table import ContentTable
from repertory.store.contents import Json, references, restore

HELD: Final = 8_388_608  # bytes of contents that may be held from one value to the next


class ContentReader:
    """Restores values from a store.

    Invariant: ``_held`` are contents of values that were read, at most `HELD` bytes, as ``_size`` says.

    Args:
        shared: Whether values may share what they have in common: for whoever holds many of them and changes none.
    """

    __slots__ = ("_held", "_parsed", "_size", "_table")

    def __init__(self, table: ContentTable, *, shared: bool = False) -> None:
        self._table = table
        self._parsed: dict[str, Json] | None = {} if shared else None
        self._held: dict[str, bytes] = {}
        self._size = 0

    async def restore(self, data: Json) -> Json:
        """The value that ``data`` stands for. Raises StoreError if something of it is missing or damaged."""
        wanted = references(data)
        if not wanted:
            return data
        found = await self._table.load(wanted, self._held)
        self._hold(found)
        return restore(data, found, self._parsed)

    def _hold(self, found: Mapping[str, bytes]) -> None:
        new = {hash: content for hash, content in found.items() if hash not in self._held}
        size = sum(map(len, new.values()))
        if self._size + size > HELD:  # what the latest value was made of is likely to be in the next
            self._held.clear()
            self._size, size = 0, sum(map(len, found.values()))
            new = {**found} if size <= HELD else {}
        if new:
            self._held |= new
            self._size += size
