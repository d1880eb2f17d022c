"""What came of reading one value: the value, how it ended, and the changes that were made on the way."""

from dataclasses import dataclass, field

from repertory.signatures.changes import Change


@dataclass(slots=True)
class Reading:
    """What was read of one value.

    Attributes:
        start, end: The part of the text it was read from.
        value: The value; of one that ends too early, what is complete.
        complete: Whether its last bracket was there.
        lost: Whether something began and did not end: the text was cut off, or went on in a way not understood.
        meant: False if this is no JSON at all, but a bracket in prose.
        words_only: It is a list of nothing but unquoted words, as in prose.
    """

    start: int
    end: int
    value: object
    complete: bool
    lost: bool
    meant: bool
    words_only: bool
    changes: list[Change]


@dataclass(slots=True)
class Changes:
    """Changes as they are made; those that differ in nothing but their place become one."""

    _places: dict[str, list[str]] = field(default_factory=dict)

    def note(self, reason: str, place: str) -> None:
        """Note that something was read in a certain way at ``place``."""
        self._places.setdefault(reason, []).append(place)

    def listed(self) -> list[Change]:
        """One change for each reason, in the order they came up."""
        return [
            Change("repair", places[0], reason if len(places) == 1 else f"{reason} ({len(places)} times)")
            for reason, places in self._places.items()
        ]
