"""What a message costs: tell and ask, beside the asyncio.Queue that one would write by hand."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from benchmarks.timing import Sample, Side, side_by_side
from repertory.actors import Actor, ActorSystem, Message, handles

TELLS = 20_000  # in one batch: all sent, then all handled
ASKS = 2_000
ASKERS = 64  # together they make about as many asks
TURNS = 4  # batches of each side in one round
YIELD_EVERY = 256  # messages after which the fair consumer lets others run, as an actor does


@dataclass(frozen=True, slots=True)
class Count(Message[None]):
    """To be counted."""


@dataclass(frozen=True, slots=True)
class Echo(Message[int]):
    """To be sent back."""

    number: int


Request: TypeAlias = tuple[Echo, "asyncio.Future[int]"]
Ask: TypeAlias = Callable[[Echo], Awaitable[int]]


class Tally:
    """Counts down a batch and tells whoever waits for its end."""

    def __init__(self) -> None:
        self.left = 0
        self.done: asyncio.Future[None]

    def expect(self, messages: int) -> None:
        """Begin a batch."""
        self.left = messages
        self.done = asyncio.get_running_loop().create_future()

    def count(self) -> None:
        """One message of the batch has been handled."""
        self.left -= 1
        if not self.left:
            self.done.set_result(None)


class Counter(Actor[None]):
    """Handles tells."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    @handles(Count)
    async def count(self, message: Count) -> None:
        """Count it."""
        self._tally.count()


class Echoer(Actor[None]):
    """Answers asks."""

    @handles(Echo)
    async def echo(self, message: Echo) -> int:
        """Send it back."""
        return message.number


async def tell_ratio(scale: int) -> Sample:
    """A batch of tells until the last is handled, beside put_nowait and a consumer task, bounded alike.

    The consumer awaits the very method that is the actor's handler.
    """
    batch = TELLS // scale
    message = Count()
    tally = Tally()
    handle = Counter(tally).count
    plain: asyncio.Queue[Count] = asyncio.Queue(batch)
    fair: asyncio.Queue[Count] = asyncio.Queue(batch)
    consumers = [asyncio.create_task(_consume(plain, handle)), asyncio.create_task(_consume_fairly(fair, handle))]
    system = ActorSystem()
    ref = await system.spawn(lambda: Counter(tally), name="counter", mailbox=batch)

    async def ours() -> None:
        tally.expect(batch)
        for _ in range(batch):
            ref.tell(message)
        await tally.done

    def raw(queue: asyncio.Queue[Count]) -> Side:
        async def work() -> None:
            tally.expect(batch)
            for _ in range(batch):
                queue.put_nowait(message)
            await tally.done

        return work

    seconds = await side_by_side({"raw": raw(plain), "fair": raw(fair), "ours": ours}, TURNS)
    await system.stop()
    await _cancel(*consumers)
    each = {side: total / (TURNS * batch) * 1e6 for side, total in seconds.items()}
    return {
        "tell_ratio": each["raw"] / each["ours"],
        "tell_ratio.beside_yielding_consumer": each["fair"] / each["ours"],
        "tell_ratio.raw_us": each["raw"],
        "tell_ratio.ours_us": each["ours"],
    }


async def ask_ratios(scale: int) -> Sample:
    """Asks one after the other and of 64 askers at once, beside a queue of (message, future) and a worker."""
    queue: asyncio.Queue[Request] = asyncio.Queue()
    worker = asyncio.create_task(_answer(queue, Echoer().echo))
    system = ActorSystem()
    ref = await system.spawn(Echoer, name="echo")

    async def request(message: Echo) -> int:
        reply: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        queue.put_nowait((message, reply))
        return await reply

    asks = ASKS // scale

    async def inline() -> None:
        loop = asyncio.get_running_loop()
        for number in range(asks):
            reply: asyncio.Future[int] = loop.create_future()
            queue.put_nowait((Echo(number), reply))
            await reply

    ways: dict[str, Ask] = {"raw": request, "ours": partial(ref.ask, timeout=None), "deadline": ref.ask}
    alone = await side_by_side(
        {"inline": inline} | {name: partial(_ask, ask, asks) for name, ask in ways.items()}, TURNS
    )
    crowd = await side_by_side({name: partial(_ask_at_once, ask, asks) for name, ask in ways.items()}, TURNS)
    await system.stop()
    await _cancel(worker)
    each = {side: total / (TURNS * asks) * 1e6 for side, total in alone.items()}
    of_64 = {side: total / (TURNS * (asks // ASKERS) * ASKERS) * 1e6 for side, total in crowd.items()}
    return {
        "ask_ratio": each["raw"] / each["ours"],
        "ask_ratio.beside_inline_code": each["inline"] / each["ours"],
        "ask_ratio.raw_us": each["raw"],
        "ask_ratio.ours_us": each["ours"],
        "ask_deadline_ratio": each["raw"] / each["deadline"],
        "ask_deadline_ratio.raw_us": each["raw"],
        "ask_deadline_ratio.ours_us": each["deadline"],
        "ask64_ratio": of_64["raw"] / of_64["ours"],
        "ask64_ratio.with_default_deadline": of_64["raw"] / of_64["deadline"],
        "ask64_ratio.raw_us": of_64["raw"],
        "ask64_ratio.ours_us": of_64["ours"],
    }


async def _ask(ask: Ask, asks: int) -> None:
    for number in range(asks):
        await ask(Echo(number))


async def _ask_at_once(ask: Ask, asks: int) -> None:
    await asyncio.gather(*(_ask(ask, asks // ASKERS) for _ in range(ASKERS)))


async def _consume(queue: asyncio.Queue[Count], handle: Callable[[Count], Awaitable[None]]) -> None:
    while True:
        await handle(await queue.get())


async def _consume_fairly(queue: asyncio.Queue[Count], handle: Callable[[Count], Awaitable[None]]) -> None:
    while True:
        for _ in range(YIELD_EVERY):
            await handle(await queue.get())
        await asyncio.sleep(0)


async def _answer(queue: asyncio.Queue[Request], handle: Callable[[Echo], Awaitable[int]]) -> None:
    """The least that a worker must do: pass on the handler's error, and heed that the asker may be gone."""
    while True:
        message, reply = await queue.get()
        try:
            answer = await handle(message)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the asker's
            if not reply.done():
                reply.set_exception(error)
        else:
            if not reply.done():
                reply.set_result(answer)


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
