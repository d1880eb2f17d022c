"""Which end of which child is followed by a restart: OTP's table, and the specification that declares it."""

import pytest

from repertory.actors import Actor, ActorSystem, Exit, Message
from repertory.errors import ActorDown, ConfigError
from repertory.events import ActorRestarted, Event
from repertory.supervisors import ChildSpec, Pool, Supervisor
from repertory.supervisors.child import Restart
from tests.actors.kernel import Echo, Finish, Raise, of, settle
from tests.supervisors.tree import Child, child, children_of, supervise

ERROR = ValueError("broken")
NORMAL, SHUTDOWN, ABNORMAL = Exit("normal"), Exit("shutdown"), Exit("error", ERROR)


def ending(exit: Exit) -> Message[None]:
    return Raise(ERROR) if exit.abnormal else Finish(exit)


@pytest.mark.parametrize(
    ("restart", "exit", "expected"),
    [
        pytest.param("permanent", NORMAL, "running", id="permanent_normal"),
        pytest.param("permanent", SHUTDOWN, "running", id="permanent_shutdown"),
        pytest.param("permanent", ABNORMAL, "running", id="permanent_abnormal"),
        pytest.param("transient", NORMAL, "stopped", id="transient_normal"),
        pytest.param("transient", SHUTDOWN, "stopped", id="transient_shutdown"),
        pytest.param("transient", ABNORMAL, "running", id="transient_abnormal"),
        pytest.param("temporary", NORMAL, "forgotten", id="temporary_normal"),
        pytest.param("temporary", SHUTDOWN, "forgotten", id="temporary_shutdown"),
        pytest.param("temporary", ABNORMAL, "forgotten", id="temporary_abnormal"),
    ],
)
async def test_what_follows_the_end_of_a_child(
    system: ActorSystem, events: list[Event], restart: Restart, exit: Exit, expected: str
) -> None:
    top = await supervise(system, [child("a", restart=restart), child("bystander")])
    ref = system.ref("top/a")
    ref.tell(ending(exit))
    await settle()
    children = await children_of(top)
    restarted = expected == "running"
    assert (children["a"].status if "a" in children else "forgotten") == expected
    assert [(event.path, event.incarnation, event.cause) for event in of(ActorRestarted, events)] == (
        [("top/a", 2, exit.error)] if restarted else []
    )
    if "a" in children:
        assert children["a"].restarts == int(restarted)
        assert children["a"].last_error is exit.error
    if restarted:
        assert await ref.ask(Echo(1)) == 1
    else:
        with pytest.raises(ActorDown):
            await ref.ask(Echo(1))
    assert children["bystander"].restarts == 0
    assert await system.ref("top/bystander").ask(Echo(1)) == 1


@pytest.mark.parametrize("restart", ["permanent", "transient"])
async def test_a_kill_is_an_abnormal_end(system: ActorSystem, restart: Restart) -> None:
    top = await supervise(system, [child("a", restart=restart)])
    system.ref("top/a").kill(ERROR)
    await settle()
    assert (await children_of(top))["a"].restarts == 1
    assert await system.ref("top/a").ask(Echo(1)) == 1


async def test_a_crash_in_stopping_makes_a_normal_end_abnormal(system: ActorSystem) -> None:
    class Messy(Child):
        async def stopping(self, exit: Exit) -> None:
            raise ERROR

    top = await supervise(system, [ChildSpec(id="a", start=Messy, restart="transient")])
    await system.ref("top/a").ask(Finish(NORMAL))
    await settle()
    children = await children_of(top)
    assert (children["a"].restarts, children["a"].last_error) == (1, ERROR)


async def test_an_error_of_a_childs_background_work_restarts_it(system: ActorSystem) -> None:
    class Polling(Child):
        async def echo(self, message: Echo) -> int:
            self.background(self.raise_(Raise(ERROR)))
            return message.value

    top = await supervise(system, [ChildSpec(id="a", start=Polling)])
    assert await system.ref("top/a").ask(Echo(1)) == 1
    await settle()
    children = await children_of(top)
    assert (children["a"].restarts, children["a"].last_error) == (1, ERROR)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("id", ""),
        ("id", "a/b"),
        ("start", None),
        ("restart", "sometimes"),
        ("shutdown", -1),
        ("start_timeout", 0),
        ("concurrency", 0),
        ("mailbox", 0),
    ],
)
def test_sup_start_map_faulty_specs_are_refused_naming_the_argument(argument: str, value: object) -> None:
    arguments: dict[str, object] = {"id": "a", "start": Child, argument: value}
    with pytest.raises(ConfigError, match=f"ChildSpec: {argument} = {value!r}") as caught:
        ChildSpec(**arguments)  # type: ignore[arg-type]  # wrong on purpose
    assert str(caught.value.hint).startswith("It must be")


def test_sup_start_map_unknown_fields_are_refused() -> None:
    with pytest.raises(TypeError, match="significant"):
        ChildSpec(id="a", start=Child, significant=True)  # type: ignore[call-arg]  # wrong on purpose


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Supervisor(intensity=-1), "Supervisor: intensity = -1"),
        (lambda: Supervisor(period=0), "Supervisor: period = 0"),
        (lambda: Pool(Child, replicas=0), "Pool: replicas = 0"),
    ],
)
def test_sup_flags_that_make_no_sense_are_refused(make: type[Actor[None]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()
