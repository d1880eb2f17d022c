"""A process that is told to end while 10,000 asks are in flight ends clean."""

import json
import signal
import sys
from subprocess import PIPE, Popen
from typing import Any

import pytest

PROGRAM = """
import asyncio, collections, gc, json, signal, sys
from repertory.actors import Actor, ActorSystem, Message, handles
from repertory.supervisors import ChildSpec, Supervisor

class Work(Message[int]):
    def __init__(self, number):
        self.number = number

class Worker(Actor[None]):
    @handles(Work)
    async def work(self, message):
        if message.number % 3 == 0:  # a third waits for another, which has as much to do
            return await self.system.ref("tree/slow").ask(Work(message.number + 1), timeout=None)
        await asyncio.sleep(0 if message.number % 7 else 0.02)
        return message.number

class Closing(Worker):
    async def stopping(self, exit):
        await asyncio.sleep(0.01)

async def main():
    complaints, asks = [], []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(repr(context)))
    told = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    settled = collections.Counter()
    async with ActorSystem() as system:
        await system.spawn(
            lambda: Supervisor([
                ChildSpec(id="slow", start=Closing, concurrency=3, shutdown=float(sys.argv[1]) or "brutal"),
                *(ChildSpec(id=f"light-{n}", start=Worker, concurrency=1 + n % 2) for n in range(4)),
                *(ChildSpec(id=f"closing-{n}", start=Closing, passivate_after=5, lazy=True) for n in range(4)),
            ]),
            name="tree",
        )
        paths = [f"tree/{kind}-{n}" for kind in ("light", "closing") for n in range(4)]
        for number in range(10_000):
            ask = system.ref(paths[number % 8]).ask(Work(number), timeout=None if number % 2 else 60)
            asks.append(asyncio.create_task(ask))
            asks[-1].add_done_callback(lambda task: settled.update([task]))
        while sum(settled.values()) < 100:
            await asyncio.sleep(0)
        print("busy", flush=True)
        await told.wait()
    outcomes = await asyncio.gather(*asks, return_exceptions=True)
    alive = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    kinds = collections.Counter(type(outcome).__name__ for outcome in outcomes)
    once = all(settled[ask] == 1 for ask in asks)
    del asks, outcomes
    gc.collect()
    await asyncio.sleep(0)
    print(json.dumps({"kinds": kinds, "alive": alive, "complaints": complaints, "once": once}))

asyncio.run(main())
"""


@pytest.mark.parametrize("shutdown", ["1", "0"])
def test_a_process_stopped_with_10_000_asks_in_flight_leaves_nothing_behind(shutdown: str) -> None:
    command = [sys.executable, "-W", "always", "-c", PROGRAM, shutdown]
    with Popen(command, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    told: dict[str, Any] = json.loads(out)
    assert told["alive"] == []
    assert told["complaints"] == []
    assert told["once"]
    assert sum(told["kinds"].values()) == 10_000
    assert set(told["kinds"]) == {"int", "ActorDown"}
    assert told["kinds"]["ActorDown"] > 1_000
