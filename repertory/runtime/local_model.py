"""The local model as an actor: its life is the life of the server process."""

from dataclasses import dataclass

from repertory.actors import Actor, Exit
from repertory.errors import LMConnectionError
from repertory.events import LocalModelExited, LocalModelStarted
from repertory.providers.local import LocalModelSettings, LocalServerProcess

START_TIMEOUT = 120.0  # seconds; a large model takes its time to load
STOP_TIMEOUT = 3.0  # seconds from SIGTERM to SIGKILL


@dataclass(slots=True)
class ServerAddress:
    """Where the model's server is at present; written by the actor, read by the endpoint before each attempt."""

    url: str | None = None

    def __call__(self) -> str | None:
        return self.url


class LocalModel(Actor[None]):
    """Starts the server process, ends when it ends, and takes it along when it stops."""

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
