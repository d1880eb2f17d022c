"""litellm's proxy, from a virtual environment of its own, in front of a scripted upstream of ours.

It takes Anthropic's and Google's formats and asks the upstream in OpenAI's: a translation that nobody here wrote.
"""

import asyncio
import json
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import MappingProxyType

from pydantic import SecretStr

from repertory.clock import SystemClock
from repertory.errors import LMError
from repertory.events import Hooks
from repertory.providers import anthropic_2023, anthropic_messages, google_generate
from repertory.providers.endpoint import Endpoint
from repertory.providers.settings import EndpointSettings
from repertory.providers.transport import HttpTransport
from repertory.providers.wire import WireProtocol
from tests.endpoint import Raw, ScriptedEndpoint, Seen, Status, Step

PROGRAM = Path(__file__).parents[3] / ".venv-litellm/bin/litellm"
START = 90.0  # seconds: generous, for machines busy with other tests
UPSTREAM_KEY = "sk-upstream"

CHAT, RESPONSES = "by-chat", "by-responses"
"""Its models: how it asks the upstream."""

ROOTS: MappingProxyType[str, tuple[WireProtocol, str]] = MappingProxyType(
    {
        "anthropic": (anthropic_messages, "/v1"),
        "anthropic-2023": (anthropic_2023, "/v1"),
        "google": (google_generate, "/v1beta"),
    }
)

# It must not outlive a test run that is killed, so the kernel ends it with its parent; see prctl(2).
LAUNCH = (
    "import ctypes, os, signal, sys;"
    "sys.platform == 'linux' and ctypes.CDLL(None).prctl(1, signal.SIGKILL);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@dataclass(slots=True)
class Proxy:
    """The running proxy.

    Attributes:
        url: Its root; each protocol has a path of its own below it.
        key: What it lets callers in with.
        upstream: Whom it asks.
        log: The file that it writes to.
    """

    url: str
    key: SecretStr
    upstream: ScriptedEndpoint
    log: Path
    _steps: list[Step] = field(default_factory=list)

    def script(self, *steps: Step) -> None:
        """Let the upstream take these steps next, and forget what it was asked before."""
        self._steps[:] = steps
        self.upstream.requests.clear()

    def endpoint(self, peer: str, *, model: str = CHAT, key: SecretStr | None = None) -> Endpoint:
        """An endpoint that speaks to it as ``peer``, one of ``ROOTS``; it makes one attempt."""
        protocol, root = ROOTS[peer]
        settings = EndpointSettings(
            peer, model, self.url + root, api_key=key or self.key, protocol=protocol, attempts=1
        )
        return Endpoint(settings, clock=SystemClock(), hooks=Hooks(), rng=Random(1))


@asynccontextmanager
async def running_proxy(folder: Path) -> AsyncIterator[Proxy]:
    """Start it, wait until it takes requests, and end it in the end."""
    steps: list[Step] = []
    async with ScriptedEndpoint(lambda seen: _next_step(steps, seen)) as upstream:
        key = SecretStr("sk-" + secrets.token_hex(24))
        port = _free_port()
        proxy = Proxy(f"http://127.0.0.1:{port}", key, upstream, folder / "litellm.log", steps)
        with _process(_command(folder, upstream.url, port), _environment(folder, key), proxy.log) as process:
            await _until_ready(process, proxy)
            yield proxy


@contextmanager
def _process(command: list[str], environment: dict[str, str], log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A process in a session of its own, ended by its id."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _next_step(steps: list[Step], seen: Seen) -> Step:
    if seen.path.endswith("/models"):
        return Raw(b'{"object":"list","data":[]}')  # it asks of its own accord, now and then
    return steps.pop(0) if steps else Status(500, "script exhausted")


def _command(folder: Path, upstream: str, port: int) -> list[str]:
    def model(name: str, route: str) -> dict[str, object]:
        parameters = {"model": f"{route}/scripted-1", "api_base": upstream, "api_key": UPSTREAM_KEY}
        return {"model_name": name, "litellm_params": parameters}

    config = {
        "model_list": [model(CHAT, "hosted_vllm"), model(RESPONSES, "openai")],
        "litellm_settings": {"telemetry": False, "num_retries": 0},
        # A failure that a test asks for must not shut out the next test.
        "router_settings": {"disable_cooldowns": True, "num_retries": 0},
    }
    file = folder / "litellm.yaml"
    file.write_text(json.dumps(config))  # YAML is a superset of JSON
    return [str(PROGRAM), "--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]


def _environment(folder: Path, key: SecretStr) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "LITELLM_MASTER_KEY": key.get_secret_value(),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_MODE": "PRODUCTION",  # reads no .env file
        "DISABLE_ADMIN_UI": "True",
        "NO_DOCS": "True",
        # Whatever else it would fetch from outside fails at once: nobody listens there.
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


async def _until_ready(process: "subprocess.Popen[bytes]", proxy: Proxy) -> None:
    transport = HttpTransport(proxy.url, name="litellm")
    try:
        async with asyncio.timeout(START):
            while not await _answers(transport):
                if process.poll() is not None:
                    raise AssertionError(f"litellm's proxy ended before it was ready:\n{tail(proxy.log)}")
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"litellm's proxy was not ready within {START:g} s:\n{tail(proxy.log)}") from None
    finally:
        await transport.close()


async def _answers(transport: HttpTransport) -> bool:
    try:
        status, _, _ = await transport.get("/health/liveliness", timeout=5)
    except LMError:
        return False
    return status == 200


def tail(log: Path, lines: int = 60) -> str:
    """The last lines of its output."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
