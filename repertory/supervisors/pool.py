"""A pool: replicas of one child behind one reference."""

import heapq
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from repertory.actors import Actor, ActorRef, ActorSystem, Cell, Exit, Message, handles
from repertory.actors.ref import DEFAULT_TIMEOUT
from repertory.actors.spec import Overflow, is_count, refuse
from repertory.errors import ActorDown, ConfigError, NameTaken, StartFailed
from repertory.events import PoolScaled, RestartFailed
from repertory.supervisors.backoff import Backoff
from repertory.supervisors.child import ChildSpec, Restart, Shutdown
from repertory.supervisors.messages import StartChild
from repertory.supervisors.scaling import Autoscaler, Scaling
from repertory.supervisors.supervisor import Supervisor

ReplyT = TypeVar("ReplyT")


@dataclass(frozen=True, slots=True)
class _Look(Message[None]):
    pass


class Pool(Supervisor):
    """A one_for_one supervisor of equal children, spoken to through a `PoolRef`.

    What waits for a replica that ends goes to the others at once. Between ``replicas`` and ``max_replicas``
    their number follows the messages that wait; a replica that is to go takes no new ones and first finishes
    those it has.

    Invariant: ``members`` are those children that new messages may go to, ``_draining`` those that are to go.

    Args:
        start: Makes the actor object of each life of each replica.
        replicas: How many it begins with and keeps at least, at least 1.
        max_replicas: How many there may be; None: no more than ``replicas``.
        scaling: When one is added or taken away.
        shutdown: As in `ChildSpec`; so are the others that are not those of `Supervisor`.

    Raises ConfigError naming the argument.
    """

    def __init__(
        self,
        start: Callable[[], Actor[Any]],
        *,
        replicas: int = 1,
        max_replicas: int | None = None,
        scaling: Scaling | None = None,
        concurrency: int = 1,
        mailbox: int = 10_000,
        overflow: Overflow = "reject",
        restart: Restart = "permanent",
        start_timeout: float = 30.0,
        shutdown: Shutdown | None = None,
        intensity: int = 5,
        period: float = 10.0,
        backoff: Backoff | None = None,
    ) -> None:
        if not is_count(replicas, 1):
            refuse("Pool", "replicas", replicas, "a whole number, at least 1")
        if max_replicas is not None and not is_count(max_replicas, replicas):
            refuse(
                "Pool", "max_replicas", max_replicas, f"a whole number, at least replicas = {replicas}, or None"
            )
        if scaling is not None and not isinstance(scaling, Scaling):
            refuse("Pool", "scaling", scaling, "a Scaling, or None")
        self._replica = ChildSpec(
            id=replica_id(0),
            start=start,
            concurrency=concurrency,
            mailbox=mailbox,
            overflow=overflow,
            restart=restart,
            start_timeout=start_timeout,
            shutdown=shutdown,
        )
        super().__init__(
            [replace(self._replica, id=replica_id(number)) for number in range(replicas)],
            intensity=intensity,
            period=period,
            backoff=backoff,
        )
        self._bounds = (replicas, max_replicas if max_replicas is not None else replicas)
        self._scaling = scaling if scaling is not None else Scaling()
        self._autoscaler: Autoscaler | None = None
        self._draining: set[str] = set()
        self._turn = 0
        self.members: tuple[Cell, ...] = ()

    # --- routing ---

    def least_loaded(self) -> Cell | None:
        """The member with the least to do; None if there is none.

        The choice costs one look at each member. Ties go round, so that equal replicas share the work evenly.
        """
        members = self.members
        count = len(members)
        if not count:
            return None
        turn = self._turn = (self._turn + 1) % count
        best, best_load = None, 0
        for offset in range(turn, turn + count):
            cell = members[offset if offset < count else offset - count]
            load = cell.pressure
            if load == 0:
                return cell
            if best is None or load < best_load:
                best, best_load = cell, load
        return best

    # --- its children ---

    async def started(self) -> None:
        """Start the replicas."""
        await super().started()
        minimum, maximum = self._bounds
        if maximum > minimum:
            self._autoscaler = Autoscaler(self._scaling, minimum, maximum, self.system.clock)
            self.send_every(self._scaling.every, _Look())

    def child_ended(self, cell: Cell, exit: Exit) -> None:
        """A replica's life has ended by itself: what waits for it goes to the others."""
        self._hand_over(cell)
        super().child_ended(cell, exit)

    async def _start(self, id: str, cell: Cell) -> None:
        try:
            await super()._start(id, cell)
        finally:
            self._count_members()
        for other in self.members:  # those that wait for a life need not wait any longer
            if not other.running:
                self._hand_over(other)

    async def _terminate(self, id: str) -> None:
        self._draining.add(id)
        self._count_members()
        self._hand_over(self._cells[id])
        try:
            await super()._terminate(id)
        finally:
            self._draining.discard(id)

    def _forget(self, id: str) -> None:
        super()._forget(id)
        self._draining.discard(id)
        self._count_members()

    def _count_members(self) -> None:
        self.members = tuple(
            cell for id, cell in self._cells.items() if id not in self._draining and not cell.closed
        )

    def _hand_over(self, cell: Cell) -> None:
        """Give what waits for ``cell``, which takes no more, to the members that do."""
        if cell.depth and (running := [other for other in self.members if other.running]):
            _share(cell.surrender(), running)

    @handles(StartChild)
    async def start_child(self, message: StartChild) -> ActorRef:
        """Refuse: all children are replicas."""
        raise ConfigError(
            f"{self.path}: a Pool starts its replicas itself", hint="Raise replicas or max_replicas."
        )

    # --- scaling ---

    @handles(_Look)
    async def _look(self, message: _Look) -> None:
        """Let go of replicas that have drained, then see whether there are too many or too few."""
        for id in [id for id in self._draining if self._cells[id].load == 0]:
            await self._terminate(id)
        assert self._autoscaler is not None
        members = self.members
        waiting = sum(cell.depth for cell in members)
        idle = sum(cell.pressure == 0 for cell in members)
        step = self._autoscaler.look(len(members), waiting, idle)
        if step > 0:
            await self._grow()
        elif step < 0:
            self._shrink(members)
        if len(self.members) != len(members) and self.system.hooks:
            self.system.hooks.emit(PoolScaled(self.path, len(self.members), waiting))

    async def _grow(self) -> None:
        if self._draining:  # the nearest one at hand
            id = self._draining.pop()
            self._restarts.specs[id] = replace(self._replica, id=id)
            self._count_members()
        else:
            number = 0
            while (id := replica_id(number)) in self._cells:
                number += 1
            try:
                await self._add(id, replace(self._replica, id=id))
            except (StartFailed, NameTaken) as error:  # the next row of looks tries again
                if self.system.hooks:
                    self.system.hooks.emit(RestartFailed(f"{self.path}/{id}", error))
                return
        # It has its share of what waits already: nobody sends that anew.
        if running := [cell for cell in self.members if cell.running]:
            _share([item for cell in running for item in cell.surrender()], running)

    def _shrink(self, members: Iterable[Cell]) -> None:
        """Let the replica with the least to do drain, among equals the newest."""
        _, _, cell = min((cell.pressure, -number, cell) for number, cell in enumerate(members))
        # It is not started again, should it crash before it has drained.
        self._restarts.specs[cell.id] = replace(self._replica, id=cell.id, restart="temporary")
        self._draining.add(cell.id)
        self._count_members()


class PoolRef:
    """Speaks to the replica with the least to do; it outlives the lives of the pool at its path."""

    __slots__ = ("_cell", "_system", "path")

    def __init__(self, system: ActorSystem, path: str) -> None:
        self._system = system
        self._cell: Cell | None = None
        self.path = path

    def ask(
        self, message: Message[ReplyT], *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Coroutine[Any, Any, ReplyT]:
        """As `ActorRef.ask`, of the replica with the least to do."""
        return self._least_loaded().ask(message, timeout=timeout)

    def tell(self, message: Message[Any]) -> None:
        """As `ActorRef.tell`, to the replica with the least to do."""
        self._least_loaded().tell(message)

    @property
    def replicas(self) -> tuple[ActorRef, ...]:
        """Those that messages may go to at present, in start order."""
        pool = self._pool()
        return tuple(cell.ref for cell in pool.members) if pool is not None else ()

    def busiest(self) -> ActorRef:
        """The replica with the most to do. Raises ActorDown if there is none."""
        replicas = self.replicas
        if not replicas:
            raise self._nobody()
        return max(replicas, key=lambda replica: replica.load)

    def _least_loaded(self) -> ActorRef:
        pool = self._pool()
        cell = pool.least_loaded() if pool is not None else None
        if cell is None:
            raise self._nobody()
        return cell.ref

    def _pool(self) -> Pool | None:
        cell = self._cell
        if cell is None or cell.closed:
            cell = self._cell = self._system.find_cell(self.path)
        pool = cell.actor if cell is not None else None
        return pool if isinstance(pool, Pool) else None

    def _nobody(self) -> ActorDown:
        return ActorDown(f"the pool at {self.path!r} has no replica", hint="It is starting, stopping or gone.")


def replica_id(number: int) -> str:
    """The child id of the ``number``-th replica, from 0."""
    return f"replica-{number}"


def _share(items: Iterable[Any], cells: Sequence[Cell]) -> None:
    """Deal out messages, each to the one of ``cells`` that then has the least to do."""
    loads = [(cell.load, number) for number, cell in enumerate(cells)]
    heapq.heapify(loads)
    shares: list[list[Any]] = [[] for _ in cells]
    for item in items:
        load, number = loads[0]
        shares[number].append(item)
        heapq.heapreplace(loads, (load + 1, number))
    for cell, share in zip(cells, shares, strict=True):
        cell.accept(share)
