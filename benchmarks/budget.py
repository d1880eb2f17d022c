"""Whether budgets are a wall: what is billed beyond a limit, and what of it can be spent, while all goes wrong.

    python -m benchmarks.budget --json [--postgres]

Method: processes with many tasks each make calls that five levels of accounts pay for (`budget_load`), against
an endpoint in a process of its own that bills every answer it made (`billing_endpoint`). Some calls end with an
error status, some are cancelled after they were sent, and now and then a process is killed with SIGKILL and another
takes its place. ``budget_overshoot_cents`` is the most that any account was billed above its limit.
``budget_utilisation`` is the smallest share of its limit that an account had been billed when it refused a call
for the first time: what is missing to 1 was reserved for calls under way, or charged for calls of which nobody knows
what they cost. ``reservations_left`` counts those still there once all leases have run out.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import func, select

from benchmarks.billing_endpoint import billing_endpoint
from benchmarks.budget_load import SEED, limits
from benchmarks.budget_worker import Client, Progress
from repertory.store import Balance, LedgerTable, Store
from repertory.store.tables import ledger_reservations
from tests.store.postgres import running_server

NANO_PER_CENT = 10**7
LOOK = 0.01  # seconds between two looks at how far the workers are
PATIENCE = 600.0  # seconds


@dataclass(frozen=True, slots=True)
class Load:
    """How much is done, by how many."""

    calls: int = 100_000
    kills: int = 50
    processes: int = 4
    tasks: int = 64  # in each process
    lease: float = 10.0


@dataclass(slots=True)
class Workers:
    """The processes that make the calls, one a slot."""

    load: Load
    arguments: list[str]  # store, port, file of the progress
    progress: Progress
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: int = 0

    def run(self) -> None:
        """Have all calls made, killing workers on the way."""
        load, rng = self.load, Random(SEED)
        marks = sorted(rng.uniform(0.02, 0.95) * load.calls for _ in range(load.kills))
        until = time.monotonic() + PATIENCE
        try:
            for slot in range(load.processes):
                self._start(slot)
            while self.running:
                time.sleep(LOOK)
                assert time.monotonic() < until, "the workers take too long"
                self._reap()
                if marks and self.progress.totals()[0] >= marks[0] and self.running:
                    self._kill(rng.choice(sorted(self.running)))
                    marks.pop(0)
        finally:
            for process in self.running.values():
                process.kill()
                process.wait()

    def _start(self, slot: int) -> None:
        load = self.load
        numbers = [str(number) for number in (slot, load.processes, load.calls, load.tasks, load.lease)]
        command = [sys.executable, "-m", "benchmarks.budget_worker", *self.arguments, *numbers]
        self.running[slot] = subprocess.Popen(command)

    def _kill(self, slot: int) -> None:
        process = self.running.pop(slot)
        process.kill()
        process.wait()
        self.kills += 1
        self._start(slot)

    def _reap(self) -> None:
        for slot, process in list(self.running.items()):
            status = process.poll()
            if status is not None:
                assert status == 0, f"a worker ended with status {status}"
                del self.running[slot]


@contextmanager
def location(postgres: bool) -> Iterator[str]:
    """Where a new store may be."""
    with ExitStack() as stack:
        if postgres:
            yield stack.enter_context(running_server(fsync=True)).new_database()
        else:
            yield str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "budget.db")


def measure(load: Load, *, postgres: bool = False) -> dict[str, Any]:
    """Run it all and return the figures."""
    with location(postgres) as store, tempfile.TemporaryDirectory() as directory, billing_endpoint() as port:
        asyncio.run(_set_limits(store, load))
        progress = Path(directory) / "progress"
        workers = Workers(load, [store, str(port), str(progress)], Progress(progress, load.processes))
        began = time.monotonic()
        workers.run()
        seconds = time.monotonic() - began
        bill = asyncio.run(_bill(port))
        balances, left = asyncio.run(_balances(store, load))
        calls, refusals = workers.progress.totals()
        return {
            **_figures(bill, balances),
            "reservations_left": left,
            "calls": calls,
            "refusals": refusals,
            "answers_billed": bill["answers"],
            "error_statuses": bill["failures"],
            "kills": workers.kills,
            "seconds": round(seconds, 1),
            "store": "postgresql" if postgres else "sqlite",
        }


async def _set_limits(location: str, load: Load) -> None:
    store = await Store.open(location)
    ledger = await LedgerTable.open(store, lease=load.lease)
    for account, limit in limits(load.calls).items():
        await ledger.limit(account, limit)
    await ledger.close()
    await store.close()


async def _bill(port: int) -> dict[str, Any]:
    await asyncio.sleep(0.1)  # what clients have left behind is still being generated, and billed
    client = Client(port)
    _, bill = await client.request("GET /bill", {})
    client.close()
    return bill


async def _balances(location: str, load: Load) -> tuple[dict[str, Balance], int]:
    """All accounts once every lease has run out, and how many reservations there are then."""
    store = await Store.open(location)
    ledger = await LedgerTable.open(store, lease=load.lease)
    await asyncio.sleep(load.lease)
    await ledger.sweep()
    balances = {account: await ledger.balance(account) for account in limits(load.calls)}
    rows = (await store.read(select(func.count()).select_from(ledger_reservations)))[0][0]
    await ledger.close()
    await store.close()
    return balances, rows + sum(balance.reservations for balance in balances.values())


def _figures(bill: dict[str, Any], balances: dict[str, Balance]) -> dict[str, Any]:
    overshoot, utilisation = 0, {}
    for account, balance in balances.items():
        billed, limit = bill["billed"].get(account, 0), balance.limit.nano_dollars
        if limit is not None:
            overshoot = max(overshoot, billed - limit)
            if account in bill["refused"]:
                utilisation[account] = round(bill["refused"][account] / limit, 4)
    total = balances["global"]
    return {
        "budget_overshoot_cents": overshoot / NANO_PER_CENT,
        "budget_utilisation": min(utilisation.values(), default=None),
        "utilisation_by_account": utilisation,
        "uncertain_share": round(total.uncertain.nano_dollars / max(1, total.spent.nano_dollars), 4),
        # What was not uncertain was billed, and whatever was billed was charged.
        "books_agree": all(
            balance.spent.nano_dollars - balance.uncertain.nano_dollars
            <= bill["billed"].get(account, 0)
            <= balance.spent.nano_dollars
            for account, balance in balances.items()
        ),
        "billed_dollars": round(bill["billed"]["global"] / 10**9, 4),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--postgres", action="store_true", help="a PostgreSQL server instead of a SQLite file")
    arguments = parser.parse_args()
    figures = measure(Load(arguments.calls, arguments.kills), postgres=arguments.postgres)
    if arguments.json:
        machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "loop": "asyncio"}
        print(json.dumps({**figures, "machine": machine}, indent=2))
        return
    for key, value in figures.items():
        print(f"{key:24} {value}")


if __name__ == "__main__":
    main()
