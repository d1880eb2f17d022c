"""What the tests of supervisors share: children that fail on command, and a look at the tree."""

from collections.abc import Callable, Sequence
from typing import Any

from repertory.actors import ActorRef, ActorSystem, Exit
from repertory.supervisors import ChildInfo, ChildSpec, Supervisor, WhichChildren
from repertory.supervisors.child import Restart
from tests.actors.kernel import Probe


class Child(Probe):
    """A Probe that writes its path with what happened, and starts only as often as it is allowed to."""

    def __init__(
        self, log: list[object] | None = None, fails: Callable[[], BaseException | None] = lambda: None
    ) -> None:
        super().__init__(log)
        self._fails = fails

    async def started(self) -> None:
        if (error := self._fails()) is not None:
            raise error
        self.log.append(f"+{self.path}")

    async def stopping(self, exit: Exit) -> None:
        self.log.append(f"-{self.path} {exit.kind}")


def child(id: str, log: list[object] | None = None, restart: Restart = "permanent", **options: Any) -> ChildSpec:
    return ChildSpec(id=id, start=lambda: Child(log), restart=restart, **options)


class Starts:
    """Decides which starts fail: those whose number, from 1, is in ``failing``."""

    def __init__(self, failing: Callable[[int], bool]) -> None:
        self.failing = failing
        self.count = 0

    def __call__(self) -> BaseException | None:
        self.count += 1
        return ValueError(f"start {self.count}") if self.failing(self.count) else None


async def supervise(
    system: ActorSystem, children: Sequence[ChildSpec], *, intensity: int = 5, period: float = 10.0, **options: Any
) -> ActorRef:
    """Start a supervisor at ``top``."""
    return await system.spawn(
        lambda: Supervisor(children, intensity=intensity, period=period), name="top", **options
    )


async def children_of(ref: ActorRef) -> dict[str, ChildInfo]:
    return {child.id: child for child in await ref.ask(WhichChildren())}


async def statuses(ref: ActorRef) -> dict[str, str]:
    return {id: child.status for id, child in (await children_of(ref)).items()}
