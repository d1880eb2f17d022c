"""Which endpoint a sticky key belongs to: weighted rendezvous hashing.

Sources: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM ToN 1998; the weights
by the logarithmic method of Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", SPAA 2005.
"""

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from repertory.providers.candidate import Candidate

# So many bits, and not a float's 53, that the largest number drawn stays below 1 when half a step is added.
BITS = 52


class Homes:
    """Gives every key a home among the candidates present.

    Invariant: a key's home depends on nothing but the key, the names and weights of the candidates present, and
    each name's own part in that on no other name: when a candidate goes, only its keys move, and they come back
    with it. It is the same in every process.

    Args:
        weights: The share of keys of each name; 0 gives it none.
    """

    __slots__ = ("_seeds",)

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._seeds = {
            name: (weight, blake2b(name.encode() + b"\0", digest_size=8)) for name, weight in weights.items()
        }

    def of(self, key: str, candidates: Sequence[Candidate]) -> Candidate | None:
        """The home of ``key``; None if no candidate is there, or none that takes keys."""
        encoded = key.encode(errors="surrogatepass")
        home, best = None, 0.0
        for candidate in candidates:
            score = self._score(candidate.name, encoded)
            if score > best:
                home, best = candidate, score
        return home

    def _score(self, name: str, key: bytes) -> float:
        weight, seed = self._seeds[name]
        digest = seed.copy()
        digest.update(key)
        drawn = ((int.from_bytes(digest.digest()) >> (64 - BITS)) + 0.5) / 2**BITS  # between 0 and 1, never either
        return -weight / math.log(drawn)
