"""What the tests of pools share."""

import asyncio
from collections.abc import Callable
from typing import Any

from repertory.actors import ActorSystem
from repertory.supervisors import Pool, PoolRef
from tests.actors.kernel import Gate, Hold, settle
from tests.supervisors.tree import Child


async def pool_of(
    system: ActorSystem,
    replicas: int,
    start: Callable[[], Child] = Child,
    *,
    mailbox: int = 100,
    **options: Any,
) -> PoolRef:
    await system.spawn(lambda: Pool(start, replicas=replicas, mailbox=mailbox, **options), name="pool")
    return PoolRef(system, "pool")


def loads(pool: PoolRef) -> list[int]:
    return [replica.load for replica in pool.replicas]


async def hold_all(pool: PoolRef, number: int) -> tuple[list[Gate], "list[asyncio.Task[str]]"]:
    """Have so many replicas at work, one message each."""
    gates = [Gate() for _ in range(number)]
    tasks = [asyncio.create_task(pool.ask(Hold(gate), timeout=None)) for gate in gates]
    await settle()
    return gates, tasks


async def outcome_of(task: "asyncio.Task[str]") -> object:
    return (await asyncio.gather(task, return_exceptions=True))[0]
