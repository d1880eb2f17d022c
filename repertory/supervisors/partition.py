"""The partition supervisor: equal children, each in charge of its share of all keys.

Semantics: Elixir's ``PartitionSupervisor``.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from repertory.actors import ActorRef, ActorSystem, handles
from repertory.actors.spec import is_count, is_name, refuse
from repertory.errors import ConfigError
from repertory.supervisors.backoff import Backoff
from repertory.supervisors.child import ChildSpec
from repertory.supervisors.decision import Strategy
from repertory.supervisors.messages import StartChild
from repertory.supervisors.supervisor import Supervisor

Key: TypeAlias = str | int | bytes


class PartitionSupervisor(Supervisor):
    """A supervisor of ``partitions`` children made alike, spoken to through a `PartitionRef`.

    The children's ids are the numbers of their partitions, from "0".

    Args:
        child: What each of them is; its own id is not used.
        partitions: How many, at least 1. Another number gives most keys to another child.

    Raises ConfigError naming the argument.
    """

    def __init__(
        self,
        child: ChildSpec,
        *,
        partitions: int,
        strategy: Strategy = "one_for_one",
        intensity: int = 5,
        period: float = 10.0,
        backoff: Backoff | None = None,
    ) -> None:
        if not isinstance(child, ChildSpec):
            refuse("PartitionSupervisor", "child", child, "a ChildSpec")
        _check_partitions("PartitionSupervisor", partitions)
        children: Sequence[ChildSpec] = [replace(child, id=str(number)) for number in range(partitions)]
        super().__init__(children, strategy=strategy, intensity=intensity, period=period, backoff=backoff)

    @handles(StartChild)
    async def start_child(self, message: StartChild) -> ActorRef:
        """Refuse: another child would be in charge of no key."""
        raise ConfigError(f"{self.path}: the number of partitions is fixed", hint="Raise partitions.")


class PartitionRef:
    """Finds the child in charge of a key.

    Args:
        path: The path of the `PartitionSupervisor`.
        partitions: The number it was given.

    Raises ConfigError naming the argument.
    """

    __slots__ = ("partitions", "path")

    def __init__(self, system: ActorSystem, path: str, partitions: int) -> None:
        if not is_name(path):
            refuse("PartitionRef", "path", path, "the path of a PartitionSupervisor")
        _check_partitions("PartitionRef", partitions)
        self.path = path
        self.partitions = tuple(system.ref(f"{path}/{number}") for number in range(partitions))

    def for_key(self, key: Key) -> ActorRef:
        """The child in charge of ``key``: always the same for equal keys, in every process and release."""
        return self.partitions[partition_of(key, len(self.partitions))]


def partition_of(key: Key, partitions: int) -> int:
    """The number of the partition of ``key``: the CRC-32 of its canonical bytes, scaled to ``partitions``.

    Raises TypeError for a key that has no canonical form.
    """
    match key:
        case str():
            data = b"s" + key.encode("utf-8", "surrogatepass")
        case int():
            data = b"i%d" % key
        case bytes():
            data = b"b" + key
        case _:
            raise TypeError(f"partition key {key!r} is a {type(key).__name__}; use a str, an int or bytes")
    # The upper bits: similar keys differ there, and any number of partitions gets its fair share.
    return zlib.crc32(data) * partitions >> 32


def _check_partitions(owner: str, partitions: int) -> None:
    if not is_count(partitions, 1):
        refuse(owner, "partitions", partitions, "a whole number, at least 1")
