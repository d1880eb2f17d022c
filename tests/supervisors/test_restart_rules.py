"""Which end is followed by a restart, beyond OTP's table (which is in test_otp_exit_reasons.py)."""

import pytest

from repertory.actors import ActorSystem, Exit
from repertory.supervisors import ChildSpec
from repertory.supervisors.child import Restart
from tests.actors.kernel import Echo, Finish, Raise, settle
from tests.supervisors.tree import Child, child, children_of, supervise

ERROR = ValueError("broken")
NORMAL = Exit("normal")


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
