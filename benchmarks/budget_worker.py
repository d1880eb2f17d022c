"""A process that makes calls and pays for them; it is there to be killed.

    python -m benchmarks.budget_worker STORE PORT PROGRESS SLOT WORKERS CALLS TASKS LEASE

It makes the calls whose number leaves SLOT when divided by WORKERS, from where the process before it in the slot
was killed: how far that came is in the file PROGRESS.
"""

import asyncio
import sys
from array import array
from contextlib import suppress
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path

import orjson

from benchmarks.budget_load import INPUT, OUTPUT, Call, call
from repertory.errors import BudgetExceeded, LMServerError
from repertory.providers.ending import Ending, outcome_of
from repertory.providers.messages import Usage
from repertory.store import Amount, Ledger, LedgerTable, Reservation, Store


class Progress:
    """How many calls each slot has begun, and how many of them were refused; it survives whoever counts."""

    def __init__(self, path: Path, workers: int) -> None:
        if not path.exists():
            path.write_bytes(bytes(16 * workers))
        with path.open("r+b") as file:
            self._map = mmap(file.fileno(), 0)
        self._counts = memoryview(self._map).cast("q")

    def begin(self, slot: int) -> int:
        """Count another call of ``slot``; return how many there were before."""
        self._counts[2 * slot] += 1
        return self._counts[2 * slot] - 1

    def refuse(self, slot: int) -> None:
        """Count another call that no budget paid for."""
        self._counts[2 * slot + 1] += 1

    def begun(self, slot: int) -> int:
        """Calls begun by ``slot``."""
        return self._counts[2 * slot]

    def totals(self) -> tuple[int, int]:
        """Calls begun by all slots, and those refused."""
        counts = array("q", self._counts)
        return sum(counts[::2]), sum(counts[1::2])


class Client:
    """A keep-alive connection that is opened anew after it was cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, line: str, content: dict[str, object]) -> tuple[int, dict[str, object]]:
        """Send ``content`` and return the answer; if that does not come the connection is cut."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        whole = False
        try:
            body = orjson.dumps(content)
            writer.write(f"{line} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            answer = await reader.readexactly(int(head[2].partition(b":")[2]))
            whole = True
            return int(head[0].split(b" ")[1]), orjson.loads(answer)
        finally:
            if not whole:
                self.close()

    def close(self) -> None:
        """Cut the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


@dataclass(slots=True)
class Worker:
    """Makes calls one after the other, as many at a time as there are tasks."""

    ledger: Ledger
    progress: Progress
    port: int
    slot: int
    workers: int
    calls: int  # of this slot
    told: set[str]  # accounts whose refusal has been told

    async def work(self) -> None:
        """Make calls until there are no more."""
        client = Client(self.port)
        while self.progress.begun(self.slot) < self.calls:
            made = call(self.progress.begin(self.slot) * self.workers + self.slot)
            try:
                reservation = await self.ledger.reserve(made.accounts, made.most)
            except BudgetExceeded as refusal:
                self.progress.refuse(self.slot)
                if refusal.account not in self.told:
                    self.told.add(refusal.account)
                    await client.request("POST /refusals", {"account": refusal.account})
                continue
            attempt = asyncio.create_task(self._attempt(client, made, reservation))
            if made.cancelled_after is not None:
                await asyncio.wait({attempt}, timeout=made.cancelled_after)
                attempt.cancel()
            with suppress(asyncio.CancelledError):
                await attempt
        client.close()

    async def _attempt(self, client: Client, made: Call, reservation: Reservation) -> None:
        """Make a call that has been paid for; nobody waits until its end is on disk."""
        content = {
            "number": made.number,
            "accounts": made.accounts,
            "prompt": "x" * made.prompt,
            "max_tokens": made.max_tokens,
        }
        try:
            status, counted = await client.request("POST /calls", content)
        except BaseException as broken:
            self._end(reservation, outcome_of(broken, sent=True), Amount())
            raise
        read, written = counted["input_tokens"], counted["output_tokens"]
        assert isinstance(read, int)
        assert isinstance(written, int)
        error = None if status == 200 else LMServerError(f"status {status}")
        ending = outcome_of(error, usage=Usage(read, written), status=status)
        self._end(reservation, ending, Amount(read * INPUT + written * OUTPUT, read + written))

    def _end(self, reservation: Reservation, ending: Ending, spent: Amount) -> None:
        match ending:
            case "settle":
                self.ledger.settle(reservation, spent)
            case "release":
                self.ledger.release(reservation)
            case "write_off":
                self.ledger.write_off(reservation)


async def main(location: str, progress: Path, numbers: list[int], lease: float) -> None:
    """Work with as many tasks as are wanted."""
    port, slot, workers, calls, tasks = numbers
    store = await Store.open(location)
    ledger = await LedgerTable.open(store, lease=lease)
    mine = len(range(slot, calls, workers))
    worker = Worker(ledger, Progress(progress, workers), port, slot, workers, mine, set())
    await asyncio.gather(*(worker.work() for _ in range(tasks)))
    await ledger.close()
    await store.close()


if __name__ == "__main__":
    _, location, port, progress, slot, workers, calls, tasks, lease = sys.argv
    numbers = [int(text) for text in (port, slot, workers, calls, tasks)]
    asyncio.run(main(location, Path(progress), numbers, float(lease)))
