"""What a store says about runs and their calls, held against the log of the endpoint that was asked.

A call is known by its idempotency key: one step's calls have keys that differ in the number behind the last dash.
"""

import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import select

from benchmarks.kill_endpoint import Asked
from benchmarks.kill_load import document, outputs
from repertory.store import Store
from repertory.store.tables import run_events, runs, uncertain_calls

Row = Any  # of SQLAlchemy


@dataclass(frozen=True, slots=True)
class Paid:
    """A call that the journal counts as paid for."""

    key: str
    input_tokens: int
    output_tokens: int
    nano: int


@dataclass(slots=True)
class Books:
    """What is in a store.

    Attributes:
        runs: By key.
        numbers: Of each run's events, in order.
        ends: How often each run has ended.
        steps: How often each step has an outcome, by run and step.
        of_steps: The steps that keys belong to, by what stands before the last dash.
        paid: Calls that are paid for, each time it is said.
        doubted: How often each key is listed as uncertain, and at most how many nano-dollars each costs.
    """

    runs: dict[str, Row] = field(default_factory=dict)
    numbers: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    ends: Counter[str] = field(default_factory=Counter)
    steps: Counter[tuple[object, ...]] = field(default_factory=Counter)
    of_steps: dict[str, tuple[object, ...]] = field(default_factory=dict)
    paid: list[Paid] = field(default_factory=list)
    doubted: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    async def read(cls, location: str) -> "Books":
        """What is in the store there."""
        store = await Store.open(location)
        try:
            books = cls({run.key: run for run in await store.read(select(runs))})
            intents: dict[tuple[str, int], str] = {}
            for event in await store.read(select(run_events).order_by(run_events.c.run_id, run_events.c.id)):
                books._take(event, orjson.loads(event.data), intents)
            for call in await store.read(select(uncertain_calls)):
                books.doubted[intents[call.run_id, call.event_id]].append(call.nano_most)
        finally:
            await store.close()
        return books

    @classmethod
    async def copied(cls, path: str) -> "Books":
        """What is in the file there, which is left as whoever was killed has left it."""
        with tempfile.TemporaryDirectory() as directory:
            for end in ("", "-wal"):
                with suppress(FileNotFoundError):
                    shutil.copy(f"{path}{end}", f"{directory}/copy.db{end}")
            return await cls.read(f"{directory}/copy.db")

    @property
    def closed(self) -> set[str]:
        """Keys that must not be asked any more: their answer, or their step's outcome, is recorded."""
        ended = {step for step, times in self.steps.items() if times}
        return {paid.key for paid in self.paid} | {base for base, step in self.of_steps.items() if step in ended}

    def _take(self, event: Row, data: dict[str, Any], intents: dict[tuple[str, int], str]) -> None:
        self.numbers[event.run_id].append(event.id)
        match event.kind:
            case "call":
                intents[event.run_id, event.id] = data["key"]
                self.of_steps[_base(data["key"])] = _step(event.run_id, data)
            case "step":
                self.steps[_step(event.run_id, data)] += 1
            case "done":
                self.ends[event.run_id] += 1
        for key, _, ending, read, written, nano in data.get("settled", ()):
            if ending == "paid":
                self.paid.append(Paid(key, read, written, nano))


class Audit:
    """Compares what was asked with what is recorded, after each kill and at the end."""

    def __init__(self) -> None:
        self._closed: dict[str, int] = {}  # keys that must not be asked any more, and how much had been by then

    def after_kill(self, books: Books, asked: Sequence[Asked]) -> None:
        """What is on disk now stays what it is."""
        for key in books.closed:
            self._closed.setdefault(key, len(asked))

    def figures(self, books: Books, asked: Sequence[Asked], wanted: int) -> dict[str, float]:
        """The figures, when all runs have ended, of which there should be one about each of the documents."""
        unlisted, difference = compared(books, asked)
        return {
            "kill_lost": len(_lost(books, wanted)),
            "kill_doubled": len(doubled(books)),
            "kill_reasked": sum(self._is_closed(number, one.key) for number, one in enumerate(asked)),
            "kill_unlisted": unlisted,
            "bill_difference": difference,
        }

    def _is_closed(self, number: int, key: str) -> bool:
        """Whether ``key`` was not to be asked any more when the request of this number came."""
        return any(number >= self._closed.get(name, number + 1) for name in (key, _base(key)))


def doubled(books: Books) -> list[object]:
    """Runs and steps that have more than one outcome, and answers that are counted more than once."""
    ends = [run for run, times in books.ends.items() if times > 1]
    steps = [step for step, times in books.steps.items() if times > 1]
    paid = [key for key, times in Counter(paid.key for paid in books.paid).items() if times > 1]
    return [*ends, *steps, *paid]


def compared(books: Books, asked: Iterable[Asked]) -> tuple[int, int]:
    """Billed requests that no entry accounts for, and by how many nano-dollars bill and ledger differ.

    The ledger's entries are the calls that are paid for, which must be on the bill to the token, and those that
    are listed as uncertain, each of which stands for at most one more request of its key, at most that dear.
    """
    bill: dict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        if one.nano:
            bill[one.key].append(one)
    unlisted, difference = 0, 0
    for paid in books.paid:
        billed = next((one for one in bill[paid.key] if _is_of(paid, one)), None)
        if billed is None:
            difference += paid.nano
        else:
            bill[paid.key].remove(billed)
    for key, left in bill.items():
        most = sorted(books.doubted.get(key, ()))
        for one in sorted(left, key=lambda one: one.nano, reverse=True):
            if most and most[-1] >= one.nano:
                most.pop()
            else:
                unlisted += 1
                difference += one.nano
    return unlisted, difference + _own_difference(books)


def _is_of(paid: Paid, one: Asked) -> bool:
    """Whether the ledger's entry is that of the request."""
    return (paid.input_tokens, paid.output_tokens, paid.nano) == (one.input_tokens, one.output_tokens, one.nano)


def _own_difference(books: Books) -> int:
    """By how many nano-dollars the totals of the runs differ from their entries."""
    spent: int = sum(run.nano_cost for run in books.runs.values()) - sum(paid.nano for paid in books.paid)
    most = sum(map(sum, books.doubted.values()))
    doubted: int = sum(run.nano_uncertain for run in books.runs.values()) - most
    return abs(spent) + abs(doubted)


def _lost(books: Books, wanted: int) -> list[int]:
    """The numbers of the documents about which there is not one run that has ended well."""
    about = defaultdict(list)
    for run in books.runs.values():
        about[orjson.loads(run.inputs)["document"]].append(run)
    found = {number: about[document(number)] for number in range(wanted)}
    return [number for number, runs in found.items() if len(runs) != 1 or not _is_right(books, number, runs[0])]


def _is_right(books: Books, number: int, run: Row) -> bool:
    """Whether the run about the document of this number has ended well, with a log that has no gap."""
    if run.status != "ok" or orjson.loads(run.outputs) != outputs(number):
        return False
    events = books.numbers[run.id]
    return events == list(range(1, len(events) + 1)) and books.ends[run.id] >= 1


def _base(key: str) -> str:
    return key.rpartition("-")[0]


def _step(run: str, data: dict[str, Any]) -> tuple[object, ...]:
    return run, data["step"], data["asked"], data["occurrence"]
