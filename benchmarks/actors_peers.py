"""An ask beside the ask of other actor libraries: pykka's threads and xoscar's coroutines."""

from functools import partial
from importlib.util import find_spec

from benchmarks.actors_messages import Echo, Echoer
from benchmarks.timing import Sample, Side, one_core, side_by_side, wall_seconds
from repertory.actors import ActorRef, ActorSystem

ASKS = 1_000
TURNS = 2


def not_installed(library: str) -> str | None:
    """Why there is no figure for ``library``; None if there is one."""
    return None if find_spec(library) else f"{library} is not installed: pip install 'repertory[bench]'"


async def pykka_ratio(scale: int) -> Sample:
    """An ask with its default deadline beside `ask` of a `ThreadingActor`, in elapsed time."""
    sample = await _beside_pykka(ASKS // scale)
    with one_core():
        pinned = await _beside_pykka(ASKS // scale)
    return sample | {
        "pykka_ratio.on_one_core": pinned["pykka_ratio"],
        "pykka_ratio.theirs_on_one_core_us": pinned["pykka_ratio.theirs_us"],
    }


async def _beside_pykka(asks: int) -> Sample:
    import pykka

    class PykkaEchoer(pykka.ThreadingActor):  # type: ignore[misc]  # an extra: mypy does not look inside
        def on_receive(self, message: Echo) -> int:
            return message.number

    actor = PykkaEchoer.start()

    async def theirs() -> None:
        for number in range(asks):
            actor.ask(Echo(number), block=False).get()

    try:
        return await _beside("pykka", theirs, asks)
    finally:
        actor.stop()


async def xoscar_ratio(scale: int) -> Sample:
    """An ask with its default deadline beside a call of an actor in a pool of this process, in elapsed time."""
    import xoscar

    class XoscarEchoer(xoscar.Actor):  # type: ignore[misc]  # xoscar ships no types
        async def echo(self, number: int) -> int:
            return number

    asks = ASKS // scale
    pool = await xoscar.create_actor_pool("127.0.0.1", n_process=0)
    async with pool:
        address = pool.external_address
        sent = await xoscar.create_actor(XoscarEchoer, uid="echo", address=address)
        # A reference that was looked up where the actor lives calls its method in the caller's own task.
        direct = await xoscar.actor_ref(uid="echo", address=address)

        async def theirs() -> None:
            for number in range(asks):
                await sent.echo(number)

        async def call() -> None:
            for number in range(asks):
                await direct.echo(number)

        sample = await _beside("xoscar", theirs, asks)
        seconds = await side_by_side({"call": call}, TURNS, wall_seconds)
        return sample | {"xoscar_ratio.direct_call_us": seconds["call"] / (TURNS * asks) * 1e6}


async def _beside(library: str, theirs: Side, asks: int) -> Sample:
    system = ActorSystem()
    ref = await system.spawn(Echoer, name="echo")
    seconds = await side_by_side({"theirs": theirs, "ours": partial(_ask, ref, asks)}, TURNS, wall_seconds)
    await system.stop()
    key = f"{library}_ratio"
    return {
        key: seconds["theirs"] / seconds["ours"],
        f"{key}.theirs_us": seconds["theirs"] / (TURNS * asks) * 1e6,
        f"{key}.ours_us": seconds["ours"] / (TURNS * asks) * 1e6,
    }


async def _ask(ref: ActorRef, asks: int) -> None:
    for number in range(asks):
        await ref.ask(Echo(number))
