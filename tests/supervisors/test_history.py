"""Random histories of a supervisor agree with `Model`, in every start, stop, answer and count."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar, get_args

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from repertory.actors import ActorSystem, Exit, Message
from repertory.errors import RepertoryError, RestartLimitReached, StartFailed
from repertory.events import ActorRestarted, Event, Hooks, RestartFailed, SupervisorGaveUp
from repertory.supervisors import (
    Backoff,
    ChildSpec,
    DeleteChild,
    RestartChild,
    StartChild,
    StopChild,
    Supervisor,
    TerminateChild,
    WhichChildren,
)
from repertory.supervisors.child import Restart
from repertory.supervisors.decision import AutoShutdown, Strategy
from tests.actors.kernel import Finish, Raise, of, settle
from tests.supervisors.model import Answer, Kid, Model, StartOutcome
from tests.supervisors.tree import Child, counts
from tests.virtual_time import LoopClock, VirtualTimeLoop

T = TypeVar("T")

TICK = 1 / 8  # seconds each step takes, so that what happens within it counts as happening at one moment
PERIOD = 10.0
DELAY = 2.89  # seconds of back-off: no multiple of TICK, so that no restart falls due while a step is under way

ids = st.sampled_from("abcd")
restart_types: st.SearchStrategy[Restart] = st.sampled_from(get_args(Restart))
scripts = st.lists(st.sampled_from(["ok", "ok", "fail", "fail", "ignore"]), max_size=4)
static_scripts = st.sampled_from([[], [], [], ["ignore"], ["ok", "ignore"], ["ok", "ok", "fail"]])
places = st.integers(0, 3)
endings = st.sampled_from(["error", "error", "killed", "normal", "shutdown"])
requests = st.sampled_from(["start", "terminate", "terminate", "restart", "delete", "stop", "which"])


@st.composite
def new_kids(draw: st.DrawFn) -> Kid:
    restart = draw(restart_types)
    return Kid(
        draw(ids), restart, significant=restart != "permanent" and draw(st.sampled_from([True, True, True, False]))
    )


class OrderlyLoop(VirtualTimeLoop):
    """Of two timers set for the same delay, the one set first goes off first."""

    def time(self) -> float:
        self._jumping.now += 1e-9
        return super().time()


class SteppedClock(LoopClock):
    """Stands still within a step."""

    def monotonic(self) -> float:
        return super().monotonic() // TICK * TICK


class Scripted(Child):
    """Starts as the script says."""

    def __init__(self, log: list[object], script: list[StartOutcome]) -> None:
        super().__init__(log)
        self.script = script

    async def started(self) -> None:
        outcome = self.script.pop(0) if self.script else "ok"
        self.log.append(f"{ {'ok': '+', 'fail': '!', 'ignore': '?'}[outcome] }{self.path}")
        if outcome == "fail":
            raise ValueError("no fuel")
        if outcome == "ignore":
            self.stop()


class History(RuleBasedStateMachine):
    """Whatever is done, is done to a supervisor and to its model."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=OrderlyLoop)
        self.events: list[Event] = []
        self.exits: list[Exit] = []
        self.complaints: list[object] = []
        self.log: list[object] = []
        self.script: list[StartOutcome] = []
        self.model: Model | None = None

    @property
    def up(self) -> bool:
        return self.model is not None and self.model.gone is None

    # --- one step of both ---

    def _step(self, work: Coroutine[Any, Any, T]) -> T:
        async def do() -> T:
            result = await work
            await settle()
            await self._next_tick(1)
            return result

        return self.runner.run(do())

    async def _next_tick(self, ticks: int) -> None:
        now = asyncio.get_running_loop().time()
        await asyncio.sleep((now // TICK + ticks) * TICK + 1e-4 - now)

    def _set_scripts(self, script: list[StartOutcome]) -> Model:
        assert self.model is not None
        self.script[:] = script
        self.model.script = list(script)
        return self.model

    async def _ask(self, request: str, kid: Kid) -> Answer:
        messages: dict[str, Message[Any]] = {
            "terminate": TerminateChild(kid.id),
            "restart": RestartChild(kid.id),
            "delete": DeleteChild(kid.id),
            "stop": StopChild(kid.id),
            "which": WhichChildren(),
        }
        message = messages.get(request) or StartChild(self._spec(kid))
        try:
            answer = await self.system.ref("top").ask(message, timeout=None)
        except RepertoryError as error:
            return type(error)
        if request == "which":
            return [(child.id, child.status) for child in answer]
        return answer if request == "stop" else "done"

    def _spec(self, kid: Kid) -> ChildSpec:
        return ChildSpec(
            id=kid.id,
            start=lambda: Scripted(self.log, self.script),
            restart=kid.restart,
            significant=kid.significant,
        )

    def _end(self, id: str, ending: str) -> None:
        ref = self.system.ref(f"top/{id}")
        if ending == "error":
            ref.tell(Raise(ValueError("broken")))
        elif ending == "killed":
            ref.kill(ValueError("killed"))
        else:
            ref.tell(Finish(Exit("normal" if ending == "normal" else "shutdown")))

    def _at(self, place: int) -> str:
        """The id of the child at ``place``, or one that no child has."""
        kids = self.model.kids if self.model is not None else []
        return kids[place].id if place < len(kids) else f"nobody {place}"

    # --- what happens ---

    @initialize()
    def start_system(self) -> None:
        async def start() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: self.complaints.append(context))
            self.system = ActorSystem(clock=SteppedClock(), hooks=Hooks([self.events.append]))

        self._step(start())

    @precondition(lambda self: not self.up)
    @rule(
        strategy=st.sampled_from(get_args(Strategy)),
        intensity=st.sampled_from([8, 3, 1, 0, 5]),
        auto_shutdown=st.sampled_from(get_args(AutoShutdown)),
        delay=st.sampled_from([None, DELAY]),
        kids=st.lists(new_kids(), min_size=2, max_size=4, unique_by=lambda kid: kid.id),
        script=static_scripts,
    )
    def start_supervisor(
        self,
        strategy: Strategy,
        intensity: int,
        auto_shutdown: AutoShutdown,
        delay: float | None,
        kids: list[Kid],
        script: list[StartOutcome],
    ) -> None:
        kids = [replace(kid, significant=kid.significant and auto_shutdown != "never") for kid in kids]
        self.log.clear()
        self.events.clear()
        self.exits.clear()
        self.model = Model(strategy, intensity, PERIOD, auto_shutdown, delay, TICK)
        self._set_scripts(script).start(kids)
        specs = [self._spec(kid) for kid in kids]
        backoff = Backoff(initial=delay, maximum=delay, factor=1, jitter=0) if delay is not None else None

        async def start() -> bool:
            try:
                await self.system.spawn(
                    lambda: Supervisor(
                        specs,
                        strategy=strategy,
                        intensity=intensity,
                        period=PERIOD,
                        auto_shutdown=auto_shutdown,
                        backoff=backoff,
                    ),
                    name="top",
                    on_exit=self.exits.append,
                )
            except StartFailed:
                return False
            return True

        assert self._step(start()) == self.up
        self.model.advance(TICK)

    @precondition(lambda self: self.up)
    @rule(place=places, ending=endings, script=scripts)
    def end_child(self, place: int, ending: str, script: list[StartOutcome]) -> None:
        self._end_children([self._at(place)], ending, script)

    @precondition(lambda self: self.up)
    @rule(two=st.permutations(range(4)), ending=endings, script=scripts)
    def end_two_children_in_the_same_turn(self, two: list[int], ending: str, script: list[StartOutcome]) -> None:
        self._end_children([self._at(place) for place in two[:2]], ending, script)

    def _end_children(self, ids: list[str], ending: str, script: list[StartOutcome]) -> None:
        model = self._set_scripts(script)
        kind = "error" if ending == "killed" else ending
        ended = [id for id in ids if model.dies(id, kind)]

        async def end() -> None:
            for id in ended:
                self._end(id, ending)

        self._step(end())
        model.settle()
        model.advance(TICK)

    @precondition(lambda self: self.up)
    @rule(kid=new_kids(), script=scripts)
    def start_child(self, kid: Kid, script: list[StartOutcome]) -> None:
        self._ask_both("start", replace(kid), script)

    @precondition(lambda self: self.up)
    @rule(request=requests, place=places, script=scripts)
    def ask(self, request: str, place: int, script: list[StartOutcome]) -> None:
        self._ask_both(request, Kid(self._at(place)), script)

    def _ask_both(self, request: str, kid: Kid, script: list[StartOutcome]) -> None:
        model = self._set_scripts(script)
        assert self._step(self._ask(request, kid)) == model.ask(request, kid)
        model.settle()
        model.advance(TICK)

    @precondition(lambda self: self.up)
    @rule(place=places, ending=endings, request=requests, asked=places, script=scripts)
    def end_child_and_ask_in_the_same_turn(
        self, place: int, ending: str, request: str, asked: int, script: list[StartOutcome]
    ) -> None:
        """The end is heeded first; a restart that has failed is tried again after the answer."""
        id, kid = self._at(place), Kid(self._at(asked))
        model = self._set_scripts(script)
        ended = model.dies(id, "error" if ending == "killed" else ending)

        async def end_and_ask() -> Answer:
            if ended:
                self._end(id, ending)
            return await self._ask(request, kid)

        answer = self._step(end_and_ask())
        model.heed_ends()
        assert answer == model.ask(request, kid)
        model.settle()
        model.advance(TICK)

    @precondition(lambda self: self.up and self.model is not None and len(self.model.log) > 20)
    @rule()
    def stop_supervisor(self) -> None:
        model = self._set_scripts([])
        model.stop()
        self._step(self.system.ref("top").stop(timeout=None))

    @rule(ticks=st.sampled_from([8, 20, 40, 75, 79]), script=scripts)
    def time_passes(self, ticks: int, script: list[StartOutcome]) -> None:
        if self.model is not None:
            self._set_scripts(script).advance(ticks * TICK)
        self.runner.run(self._next_tick(ticks))

    # --- what must hold ---

    @invariant()
    def the_supervisor_agrees_with_the_model(self) -> None:
        model = self.model
        if model is None:
            return
        assert self.log == model.log
        assert self.script == model.script
        assert len(of(ActorRestarted, self.events)) == model.restarted
        assert len(of(RestartFailed, self.events)) == model.failed
        assert len(of(SupervisorGaveUp, self.events)) == (model.gone == "gave_up")
        assert self.complaints == []
        if model.gone is not None:
            self._assert_gone(model.gone)
            return
        assert self.exits == []
        top = self.system.ref("top")
        seen = self.runner.run(top.ask(WhichChildren(), timeout=None))
        assert [(child.id, child.status, child.restarts) for child in seen] == [
            (kid.id, kid.status, kid.restarts) for kid in model.kids
        ]
        assert [self.system.ref(child.path).running for child in seen] == [kid.alive for kid in model.kids]
        running = sum(kid.alive for kid in model.kids)
        assert self.runner.run(counts(top)) == (len(model.kids), running, 0, len(model.kids))

    def _assert_gone(self, why: str) -> None:
        assert all(self.system.find_cell(f"top/{id}") is None for id in "abcd")
        assert self.system.roots() == ()
        if why == "start_failed":
            assert self.exits == []
            return
        (exit,) = self.exits
        assert exit.kind == "shutdown"
        assert isinstance(exit.error, RestartLimitReached) == (why == "gave_up")

    def teardown(self) -> None:
        async def stop() -> set[asyncio.Task[Any]]:
            await self.system.stop()
            await asyncio.sleep(0)
            return asyncio.all_tasks() - {asyncio.current_task()}

        try:
            if hasattr(self, "system"):
                assert self.runner.run(stop()) == set()
                if self.up and self.model is not None:
                    self.model.stop()
                    assert self.log == self.model.log
                assert self.complaints == []
        finally:
            self.runner.close()


def check_histories(number: int) -> None:
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=number,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


def test_c_history_agrees_with_the_model() -> None:
    check_histories(400)


@pytest.mark.slow
def test_c_thousands_of_histories_agree_with_the_model() -> None:
    check_histories(3000)
