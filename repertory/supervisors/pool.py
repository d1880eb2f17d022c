"""A pool: replicas of one child behind one reference."""

from collections.abc import Callable
from typing import Any, TypeVar

from repertory.actors import Actor, ActorRef, Message
from repertory.actors.ref import DEFAULT_TIMEOUT
from repertory.actors.system import ActorSystem
from repertory.errors import ConfigError
from repertory.supervisors.child import ChildSpec
from repertory.supervisors.supervisor import Supervisor

ReplyT = TypeVar("ReplyT")

BETWEEN_LIVES = 1e9  # what being between two lives adds to a replica's load: chosen last


class Pool(Supervisor):
    """A one_for_one supervisor of ``replicas`` equal children, spoken to through a `PoolRef`.

    Args:
        start: Makes the actor object of each life of each replica.
        replicas: How many, at least 1.
        concurrency: Messages that each replica may handle at a time.
        mailbox: Messages that may wait for each replica.
    """

    def __init__(
        self,
        start: Callable[[], Actor[Any]],
        *,
        replicas: int,
        concurrency: int = 1,
        mailbox: int = 10_000,
        shutdown: float | None = 5.0,
        intensity: int = 5,
        period: float = 10.0,
    ) -> None:
        if replicas < 1:
            raise ConfigError(f"Pool: replicas = {replicas!r}", hint="It must be at least 1.")
        super().__init__(
            [
                ChildSpec(
                    id=replica_id(number),
                    start=start,
                    concurrency=concurrency,
                    mailbox=mailbox,
                    shutdown=shutdown,
                )
                for number in range(replicas)
            ],
            intensity=intensity,
            period=period,
        )


class PoolRef:
    """Speaks to the replica with the least to do.

    Its choice costs one look at each replica. A replica between two lives counts as busy: its messages wait,
    those of the others do not.
    """

    __slots__ = ("_turn", "path", "replicas")

    def __init__(self, system: ActorSystem, path: str, replicas: int) -> None:
        self._turn = 0
        self.path = path
        self.replicas = tuple(ActorRef(system, f"{path}/{replica_id(number)}") for number in range(replicas))

    async def ask(self, message: Message[ReplyT], *, timeout: float | None = DEFAULT_TIMEOUT) -> ReplyT:
        """As `ActorRef.ask`, of the replica with the least to do."""
        return await self._least_loaded().ask(message, timeout=timeout)

    def busiest(self) -> ActorRef:
        """The replica with the most to do."""
        return max(self.replicas, key=lambda replica: replica.load)

    def _least_loaded(self) -> ActorRef:
        # Ties go round, so that equal replicas share the work evenly.
        count = len(self.replicas)
        self._turn = (self._turn + 1) % count
        best, best_load = self.replicas[self._turn], float("inf")
        for offset in range(count):
            replica = self.replicas[(self._turn + offset) % count]
            load = replica.load if replica.running else replica.load + BETWEEN_LIVES
            if load == 0:
                return replica
            if load < best_load:
                best, best_load = replica, load
        return best


def replica_id(number: int) -> str:
    """The child id of the ``number``-th replica, from 0."""
    return f"replica-{number}"
