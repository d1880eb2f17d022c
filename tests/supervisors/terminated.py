"""A program that is told to stop while 10,000 asks are in flight; prints what became of them as JSON.

Run as ``python -m tests.supervisors.terminated <strategy>``; it prints a line ``ready`` when they are.
"""

import asyncio
import gc
import json
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

from repertory.actors import Actor, ActorSystem, Message, handles
from repertory.errors import ActorDown
from repertory.events import ActorCrashed, Event, Hooks
from repertory.supervisors import ChildSpec, Supervisor
from repertory.supervisors.decision import Strategy

ASKS = 10_000
GROUPS, WORKERS = 2, 5  # supervisors below the top, and workers below each


@dataclass(frozen=True, slots=True)
class Work(Message[int]):
    number: int


class Worker(Actor[None]):
    """Works only when the signal has come: of the first messages to each, some crash it and some hang."""

    def __init__(self, busy: asyncio.Semaphore, terminating: asyncio.Event, handled: Counter[int]) -> None:
        self.busy = busy
        self.terminating = terminating
        self.handled = handled

    @handles(Work)
    async def work(self, message: Work) -> int:
        self.handled[message.number] += 1
        self.busy.release()
        await self.terminating.wait()
        if message.number == 3:
            raise ValueError("it crashes")
        if message.number == 5:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return message.number

    async def stopping(self, exit: Any) -> None:
        await asyncio.sleep(0)


async def main(strategy: Strategy) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    complaints: list[object] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    terminating = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, terminating.set)
    busy = asyncio.Semaphore(0)
    handled: Counter[int] = Counter()
    crashes: list[Event] = []
    system = ActorSystem(
        hooks=Hooks([lambda event: crashes.append(event) if isinstance(event, ActorCrashed) else None])
    )
    workers = [
        ChildSpec(id=str(number), start=lambda: Worker(busy, terminating, handled), shutdown=0.2)
        for number in range(WORKERS)
    ]
    groups = [
        ChildSpec(id=f"group{number}", start=lambda: Supervisor(workers, strategy=strategy))
        for number in range(GROUPS)
    ]
    await system.spawn(lambda: Supervisor(groups, strategy=strategy), name="top")

    outcomes: list[list[object]] = [[] for _ in range(ASKS)]

    async def ask(number: int) -> None:
        ref = system.ref(f"top/group{number % GROUPS}/{number // GROUPS % WORKERS}")
        try:
            outcomes[number].append(await ref.ask(Work(number), timeout=None))
        except (ActorDown, ValueError) as error:
            outcomes[number].append(error)

    asks = [asyncio.create_task(ask(number)) for number in range(ASKS)]
    for _ in range(GROUPS * WORKERS):
        await busy.acquire()
    print("ready", flush=True)  # noqa: T201  # what the test waits for
    await terminating.wait()
    in_flight = sum(not task.done() for task in asks)
    await system.stop()
    await asyncio.sleep(0)
    # Nobody is left to give an outcome: all have theirs, or never will.
    unanswered = sum(not task.done() for task in asks)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    del asks
    gc.collect()
    replies = [number for number, outcome in enumerate(outcomes) if outcome == [number]]
    return {
        "in_flight": in_flight,
        "unanswered": unanswered,
        "outcomes": dict(Counter(len(outcome) for outcome in outcomes)),
        "kinds": dict(Counter(type(outcome).__name__ for (outcome,) in outcomes)),
        "handled_twice": sum(times > 1 for times in handled.values()),
        "replied_unhandled": sum(number not in handled for number in replies),
        "crashes": len(crashes),
        "tasks_left": [repr(task) for task in left],
        "complaints": [repr(context) for context in complaints],
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(cast(Strategy, sys.argv[1])), debug=False)))  # noqa: T201  # the result
