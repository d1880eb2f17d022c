"""What the tests of supervisors share: children that fail on command, and a look at the tree."""

from collections.abc import Callable, Sequence
from typing import Any

from repertory.actors import ActorRef, ActorSystem, Exit
from repertory.supervisors import (
    Backoff,
    ChildInfo,
    ChildSpec,
    CountChildren,
    DynamicSupervisor,
    Supervisor,
    WhichChildren,
)
from repertory.supervisors.child import Restart
from repertory.supervisors.decision import AutoShutdown, Strategy
from tests.actors.kernel import Finish, Probe, Raise, settle

ERROR = ValueError("broken")
ABNORMAL = Exit("error", ERROR)


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


class Unwanted(Child):
    """Says in each start that it is not wanted (OTP's ``ignore``)."""

    async def started(self) -> None:
        await super().started()
        self.stop()


class Starts:
    """Decides which starts fail: those whose number, from 1, is in ``failing``."""

    def __init__(self, failing: Callable[[int], bool]) -> None:
        self.failing = failing
        self.count = 0

    def __call__(self) -> BaseException | None:
        self.count += 1
        return ValueError(f"start {self.count}") if self.failing(self.count) else None


async def supervise(
    system: ActorSystem,
    children: Sequence[ChildSpec],
    *,
    strategy: Strategy = "one_for_one",
    intensity: int = 5,
    period: float = 10.0,
    auto_shutdown: AutoShutdown = "never",
    backoff: Backoff | None = None,
    **options: Any,
) -> ActorRef:
    """Start a supervisor at ``top``."""
    return await system.spawn(
        lambda: Supervisor(
            children,
            strategy=strategy,
            intensity=intensity,
            period=period,
            auto_shutdown=auto_shutdown,
            backoff=backoff,
        ),
        name="top",
        **options,
    )


async def supervise_dynamically(
    system: ActorSystem,
    template: ChildSpec | None = None,
    *,
    max_children: int | None = None,
    intensity: int = 5,
    **options: Any,
) -> ActorRef:
    """Start a dynamic supervisor at ``top``."""
    return await system.spawn(
        lambda: DynamicSupervisor(template=template, max_children=max_children, intensity=intensity),
        name="top",
        **options,
    )


async def end(ref: ActorRef, exit: Exit) -> None:
    """Have the actor end so, and what follows from it happen."""
    if exit.abnormal:
        assert isinstance(exit.error, Exception)
        ref.tell(Raise(exit.error))
    else:
        ref.tell(Finish(exit))
    await settle()


async def children_of(ref: ActorRef) -> dict[str, ChildInfo]:
    return {child.id: child for child in await ref.ask(WhichChildren())}


async def statuses(ref: ActorRef) -> dict[str, str]:
    return {id: child.status for id, child in (await children_of(ref)).items()}


async def restarts(ref: ActorRef) -> dict[str, int]:
    return {id: child.restarts for id, child in (await children_of(ref)).items()}


async def counts(ref: ActorRef) -> tuple[int, int, int, int]:
    """Specs, active, supervisors, workers."""
    found = await ref.ask(CountChildren())
    return found.specs, found.active, found.supervisors, found.workers


def causes(error: BaseException | None) -> list[type[BaseException]]:
    """What caused what, down to the root."""
    found = []
    while error is not None:
        found.append(type(error))
        error = error.__cause__
    return found
