"""The ids of runs, and the keys that these are derived from."""

import re
from hashlib import blake2b
from random import Random
from typing import Final

from repertory.clock import Clock

_MADE: Final = re.compile(r"~([0-9a-f]{12})[0-9a-f]{20}")


class RunKeys:
    """Makes keys for runs that are given none.

    The ids derived from these are in the order of time, so that the rows of runs which are under way together are
    side by side in the database: a transaction writes far fewer of its pages.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Not the operating system's: asking it means to let another thread have the interpreter.
        self._random = Random()

    def new(self) -> str:
        """A key that no other run has."""
        return f"~{int(self._clock.time() * 1000):012x}{self._random.getrandbits(80):020x}"


def run_id(program: str, key: str) -> str:
    """The id of the run of ``program`` under ``key``: the same wherever and whenever it is asked for."""
    id = blake2b(f"{program}\0{key}".encode(), digest_size=16).hexdigest()
    if key[:1] == "~" and (made := _MADE.fullmatch(key)) is not None:
        return made[1] + id[12:]
    return id
