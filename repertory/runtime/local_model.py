"""The local model as an actor: its life is the life of the server process, as long as that answers."""

from dataclasses import dataclass

from repertory.actors import Actor, Exit
from repertory.errors import LMConnectionError, LMTimeout
from repertory.events import LocalModelExited, LocalModelStarted
from repertory.providers.local import LocalModelSettings, LocalServerProcess, is_healthy

START_TIMEOUT = 120.0  # seconds; a large model takes its time to load
STOP_TIMEOUT = 3.0  # seconds from SIGTERM to SIGKILL
PROBE_INTERVAL = 5.0  # seconds from one probe's end to the next
PROBE_TIMEOUT = 5.0  # seconds; a server whose slots all compute answers a probe in milliseconds
SILENT_PROBES = 3  # this many in a row, and it is taken for frozen


@dataclass(slots=True)
class ServerAddress:
    """Where the model's server is at present; written by the actor, read by the endpoint before each attempt."""

    url: str | None = None

    def __call__(self) -> str | None:
        return self.url


class LocalModel(Actor[None]):
    """Starts the server process, ends when it ends or falls silent, and takes it along when it stops."""

    def __init__(self, name: str, settings: LocalModelSettings, address: ServerAddress) -> None:
        self._name = name
        self._address = address
        self._process = LocalServerProcess(settings)

    async def started(self) -> None:
        """Start the process and wait until it answers."""
        url = await self._process.start(START_TIMEOUT)
        self._address.url = url
        if hooks := self.system.hooks:
            hooks.emit(LocalModelStarted(self._name, self._process.pid, url))
        self.background(self._watch())
        self.background(self._probe(url))

    async def stopping(self, exit: Exit) -> None:
        """Stop the process, if it is still there."""
        self._address.url = None
        await self._process.stop(STOP_TIMEOUT)

    async def _watch(self) -> None:
        status = await self._process.wait()
        self._address.url = None
        if hooks := self.system.hooks:
            hooks.emit(LocalModelExited(self._name, self._process.pid, status))
        raise LMConnectionError(f"the local model's process ended with status {status}", endpoint=self._name)

    async def _probe(self, url: str) -> None:
        """Raise once the server is silent: one that hangs, or was stopped, does not end by itself."""
        silent = 0
        while silent < SILENT_PROBES:
            await self.system.clock.sleep(PROBE_INTERVAL)
            silent = 0 if await is_healthy(url, timeout=PROBE_TIMEOUT) else silent + 1
        raise LMTimeout(
            f"the local model's process {self._process.pid} is there but did not answer {silent} probes in a row",
            endpoint=self._name,
        )
