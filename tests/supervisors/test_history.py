"""Random histories of a one_for_one supervisor agree with a model of a few lines."""

import asyncio
from dataclasses import dataclass

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import booleans, integers, sampled_from

from repertory.actors import ActorSystem, Exit
from repertory.errors import ActorDown, NameTaken, RestartLimitReached, StartFailed
from repertory.events import ActorRestarted, Event, Hooks, RestartFailed, SupervisorGaveUp
from repertory.supervisors import ChildSpec, StartChild, StopChild, Supervisor
from repertory.supervisors.child import Restart
from repertory.testing import FakeClock
from tests.actors.kernel import Echo, Finish, Raise, of, settle
from tests.supervisors.tree import Child, children_of
from tests.virtual_time import VirtualTimeLoop

PERIOD = 10.0
IDS = ("a", "b", "c", "d")


@dataclass
class Expected:
    restart: Restart
    status: str = "running"
    restarts: int = 0


class OneForOne(RuleBasedStateMachine):
    """Model: the children in start order, and the times of all restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.exits: list[Exit] = []
        self.complaints: list[object] = []
        self.children: dict[str, Expected] = {}
        self.restarted_at: list[float] = []
        self.restarted = self.failed = 0
        self.failing_starts = 0
        self.gave_up = False

    @initialize(intensity=integers(0, 4), static=sampled_from(["", "a", "ab", "abc"]))
    def start_supervisor(self, intensity: int, static: str) -> None:
        self.intensity = intensity
        self.children = {id: Expected("permanent") for id in static}

        async def start() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: self.complaints.append(context))
            self.system = ActorSystem(clock=self.clock, hooks=Hooks([self.events.append]))
            specs = [self._spec(id, "permanent") for id in static]
            self.top = await self.system.spawn(
                lambda: Supervisor(specs, intensity=intensity, period=PERIOD),
                name="top",
                on_exit=self.exits.append,
            )

        self.runner.run(start())

    def _spec(self, id: str, restart: Restart) -> ChildSpec:
        return ChildSpec(id=id, start=lambda: Child(None, self._next_start), restart=restart)

    def _next_start(self) -> BaseException | None:
        if self.failing_starts == 0:
            return None
        self.failing_starts -= 1
        return ValueError("no fuel")

    # --- what the model expects ---

    def _expect_end(self, id: str, *, abnormal: bool, failing: int) -> None:
        expected = self.children[id]
        if expected.restart == "temporary":
            del self.children[id]
        elif expected.restart == "transient" and not abnormal:
            expected.status = "stopped"
        else:
            self._expect_restart(expected, failing)

    def _expect_restart(self, expected: Expected, failing: int) -> None:
        for attempt in range(failing + 1):
            now = self.clock.monotonic()
            self.restarted_at.append(now)
            if sum(now - time < PERIOD for time in self.restarted_at) > self.intensity:
                self.gave_up = True
                return
            expected.restarts += 1
            if attempt < failing:
                self.failed += 1
            else:
                self.restarted += 1

    # --- what happens ---

    @precondition(lambda self: not self.gave_up)
    @rule(id=sampled_from(IDS), restart=sampled_from(["permanent", "transient", "temporary"]), fails=booleans())
    def start_child(self, id: str, restart: Restart, fails: bool) -> None:
        async def start() -> type[BaseException] | None:
            try:
                await self.top.ask(StartChild(self._spec(id, restart)), timeout=None)
            except (NameTaken, StartFailed) as error:
                return type(error)
            return None

        taken = id in self.children
        self.failing_starts = int(fails and not taken)
        outcome = self.runner.run(start())
        assert outcome is (NameTaken if taken else StartFailed if fails else None)
        if outcome is None:
            self.children[id] = Expected(restart)

    @precondition(lambda self: not self.gave_up)
    @rule(id=sampled_from(IDS))
    def stop_child(self, id: str) -> None:
        assert self.runner.run(self.top.ask(StopChild(id), timeout=None)) == (id in self.children)
        self.children.pop(id, None)

    @precondition(lambda self: not self.gave_up)
    @rule(id=sampled_from(IDS), how=sampled_from(["crash", "kill", "finish"]), failing=integers(0, 2))
    def end_child(self, id: str, how: str, failing: int) -> None:
        if id not in self.children or self.children[id].status != "running":
            return
        restarts = self.children[id].restart == "permanent" or (
            self.children[id].restart == "transient" and how != "finish"
        )
        self.failing_starts = failing if restarts else 0

        async def end() -> None:
            ref = self.system.ref(f"top/{id}")
            if how == "crash":
                ref.tell(Raise(ValueError("broken")))
            elif how == "kill":
                ref.kill(ValueError("killed"))
            else:
                ref.tell(Finish(Exit("normal")))
            await settle()

        self.runner.run(end())
        self._expect_end(id, abnormal=how != "finish", failing=failing)
        self.failing_starts = 0

    @rule(seconds=sampled_from([1.0, 2.5, 5.0, 9.5, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # --- what must hold ---

    @invariant()
    def the_supervisor_agrees_with_the_model(self) -> None:
        if self.gave_up:
            self._assert_gone()
            return
        assert self.exits == []
        seen = self.runner.run(children_of(self.top))
        assert list(seen) == list(self.children)
        for id, expected in self.children.items():
            assert (seen[id].status, seen[id].restarts) == (expected.status, expected.restarts)
            assert self.system.ref(f"top/{id}").running == (expected.status == "running")
        assert len(of(ActorRestarted, self.events)) == self.restarted
        assert len(of(RestartFailed, self.events)) == self.failed
        assert of(SupervisorGaveUp, self.events) == []

    def _assert_gone(self) -> None:
        async def ask(path: str) -> bool:
            try:
                await self.system.ref(path).ask(Echo(1), timeout=None)
            except ActorDown:
                return False
            return True

        (exit,) = self.exits
        assert exit.kind == "shutdown"
        assert isinstance(exit.error, RestartLimitReached)
        assert len(of(SupervisorGaveUp, self.events)) == 1
        assert not any(self.runner.run(ask(path)) for path in ("top", *(f"top/{id}" for id in IDS)))

    def teardown(self) -> None:
        async def stop() -> set[asyncio.Task[object]]:
            await self.system.stop()
            await asyncio.sleep(0)
            return asyncio.all_tasks() - {asyncio.current_task()}

        try:
            if hasattr(self, "system"):
                assert self.runner.run(stop()) == set()
                assert self.complaints == []
        finally:
            self.runner.close()


TestOneForOne = OneForOne.TestCase
TestOneForOne.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
