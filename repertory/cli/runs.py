"""``repertory runs``: what is known of runs, and what can be said to them."""

import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from repertory.cli.daemon_client import retry_run
from repertory.cli.exit_codes import ExitCode
from repertory.cli.ps import socket_of
from repertory.cli.run_store import RunStore, store_of, with_store
from repertory.cli.runs_view import described_call, event_line, run_lines, runs_table, steps_table, uncertain_table
from repertory.errors import ConfigError
from repertory.server.run_json import described_events, described_run, described_step, run_line
from repertory.signatures.json_text import load_json

ResultT = TypeVar("ResultT")

UNITS: Final = MappingProxyType({"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0})
WIDEST: Final = 1000  # cells of a table
AGE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")


@dataclass(frozen=True, slots=True)
class RunsReport:
    """Shows what a store knows of runs.

    Args:
        config: The daemon's configuration, which names the store; None: the default one.
        store: The store itself, instead of a configuration.
        as_json: Whether as JSON, one object a line, for other programs.
    """

    console: Console
    config: Path | None
    store: str | None
    as_json: bool = False

    def list(self, program: str | None, status: str | None, limit: int) -> ExitCode:
        """The latest runs. Raises ConfigError, StoreError, as all below."""
        runs = self._read(lambda store: store.latest(program, status, limit))
        return self._tell(map(run_line, runs), runs_table(runs, time.time()))

    def show(self, id: str) -> ExitCode:
        """One run. Raises RunUnknown, as all below."""
        run = self._read(lambda store: store.status(id))
        return self._tell([described_run(run)], Text("\n").join(run_lines(run)))

    def steps(self, id: str) -> ExitCode:
        """The steps of a run that have ended."""
        steps = self._read(lambda store: store.steps(id))
        return self._tell(map(described_step, steps), steps_table(steps))

    def events(self, id: str, after: int) -> ExitCode:
        """The events of a run, page by page: there may be many."""

        async def show(store: RunStore) -> None:
            async for event in store.events(id, after):
                self._tell(described_events([event]), event_line(event))

        self._read(show)
        return ExitCode.OK

    def uncertain(self, id: str | None, limit: int) -> ExitCode:
        """The calls of which nobody knows whether they were billed."""
        calls = self._read(lambda store: store.uncertain(id, limit))
        return self._tell(map(described_call, calls), uncertain_table(calls))

    def cancel(self, id: str) -> ExitCode:
        """Ask a run to stop. Raises WrongRunState if it has ended."""
        self._read(lambda store: store.tell(id, "cancel", {}))
        return self._said(f"Left word that {id} is to stop")

    def signal(self, id: str, name: str, value: str | None) -> ExitCode:
        """Send a run a signal. Raises WrongRunState if it has ended."""
        data = {"name": name, "value": _value(value)}
        self._read(lambda store: store.tell(id, "signal", data))
        return self._said(f"Left the signal {name} for {id}")

    def prune(self, older_than: str) -> ExitCode:
        """Clear away runs that ended long ago."""
        age = parse_age(older_than)
        pruned = self._read(lambda store: store.prune(age))
        told = f"Removed {pruned.removed} runs and {pruned.contents} pieces of large values."
        return self._tell([{"removed": pruned.removed, "contents": pruned.contents}], Text(told))

    def _read(self, work: Callable[[RunStore], Awaitable[ResultT]]) -> ResultT:
        return with_store(store_of(self.config, self.store), work)

    def _said(self, what: str) -> ExitCode:
        self.console.print(
            f"{what}: the process that executes it hears of it within a second, or once there is one.",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
        return ExitCode.OK

    def _tell(self, as_json: Iterable[Mapping[str, Any]], shown: RenderableType) -> ExitCode:
        if self.as_json:
            for each in as_json:
                # Escaped beyond ASCII: what models and servers say must not steer a terminal that shows it.
                self.console.out(json.dumps(each), highlight=False)
        elif isinstance(shown, Table):
            # As wide as it is: a run's id that is cut short is of no use.
            room = self.console.options.update(max_width=WIDEST)
            self.console.width = max(self.console.width, self.console.measure(shown, options=room).maximum)
            self.console.print(shown, highlight=False)
        else:
            self.console.print(shown, highlight=False, soft_wrap=True)
        return ExitCode.OK


def retry(id: str, config: Path | None, socket: Path | None, console: Console) -> ExitCode:
    """Have the daemon go on with a run that failed, was cancelled or is held.

    Raises DaemonUnreachable, ConfigError if the daemon cannot.
    """
    run = retry_run(socket_of(config, socket), id)
    console.print(f"{id} goes on: it is {run}.", markup=False, highlight=False)
    return ExitCode.OK


def parse_age(text: str) -> float:
    """Seconds in ``text``, such as 30d or 12h. Raises ConfigError."""
    found = AGE.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"--older-than {text!r}: expected a number and a unit", hint="Write 30d, 12h, 90m or 45s."
        )
    return float(found[1]) * UNITS[found[2]]


def _value(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return load_json(text)
    except ValueError:
        raise ConfigError(
            f"the signal's value {text!r} is not JSON", hint="""A text is quoted twice: '"yes"'."""
        ) from None
