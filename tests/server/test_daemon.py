"""The daemon in this process: starting, failing to start, failing later, stopping."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from yarl import URL

from repertory.cli.daemon_client import ask_tree, read_tree
from repertory.errors import ConfigError, ProgramError, RuntimeClosed
from repertory.modules import Module
from repertory.runtime.config import RuntimeConfig, load_config, make_config
from repertory.runtime.runtime import Runtime
from repertory.server.daemon import FAILED, Daemon, serve
from repertory.server.events import DaemonFailed, DaemonStopped, Draining, Listening
from repertory.server.stopping import Stop
from tests.endpoint import Hang, Hold, Reply, ScriptedEndpoint, Step
from tests.server.service import PATIENCE, PREDICT, SPAM, Recorder, mail

CONFIGS = Path(__file__).parents[2] / "configs"


class Running:
    """A daemon on a task, and what it tells."""

    def __init__(self, url: str, program: Module | None = None, **server: Any) -> None:
        self.recorder = Recorder()
        self.stop = Stop()
        self.runtime = Runtime(daemon_config(url, **server), hooks=[self.recorder])
        self._daemon = Daemon(self.runtime, {"mail": program or mail()}, CollectorRegistry())

    async def __aenter__(self) -> "Running":
        self.ended = asyncio.create_task(self._daemon.run(self.stop))
        self.url = (await self.recorder.first(Listening)).url
        self.client = aiohttp.ClientSession(self.url)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.client.close()
        self.ended.cancel()
        await asyncio.wait({self.ended})

    async def predict(self) -> tuple[int, dict[str, Any]]:
        async with self.client.post(PREDICT, json={"text": "Win!"}) as response:
            return response.status, await response.json(content_type=None)

    async def exit_code(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return await self.ended


def daemon_config(url: str = "http://127.0.0.1:9", **server: Any) -> RuntimeConfig:
    values = {
        "journal": False,
        "lm": {"default": {"model": "openai/scripted", "base_url": url, "api_key_env": ""}},
        "programs": {"mail": {"source": "mail.py:judge", "replicas": 2, "concurrency": 3}},
        "server": {"port": 0, "auth": False, "admin_socket": ""} | server,
    }
    return make_config("test", values)


async def test_it_serves_until_it_is_asked_to_stop() -> None:
    async with ScriptedEndpoint([Reply(SPAM)]) as endpoint, Running(endpoint.url) as daemon:
        listening = daemon.recorder.of(Listening)[0]
        assert listening.programs == ("mail",)
        assert not listening.auth
        assert listening.url.startswith("http://127.0.0.1:")
        assert not listening.url.endswith(":0")
        status, answer = await daemon.predict()
        assert (status, answer["outputs"]) == (200, {"label": "spam"})
        daemon.stop.request(15)
        assert await daemon.exit_code() == 0
        assert daemon.recorder.of(DaemonStopped) == [DaemonStopped(drained=True)]
        with pytest.raises(aiohttp.ClientConnectionError):
            await daemon.predict()


async def test_a_request_under_way_is_finished_and_no_other_begun() -> None:
    held = asyncio.Event()
    async with ScriptedEndpoint([Hold(held, Reply(SPAM))]) as endpoint, Running(endpoint.url) as daemon:
        asking = asyncio.create_task(daemon.predict())
        await endpoint.arrived.acquire()
        daemon.stop.request(15)
        await daemon.recorder.first(Draining)
        with pytest.raises(aiohttp.ClientConnectionError):
            await daemon.predict()
        held.set()
        assert (await asking)[0] == 200
        assert await daemon.exit_code() == 0
    assert len(endpoint.requests) == 1


async def test_a_kept_connection_gets_no_new_work_while_draining() -> None:
    held = asyncio.Event()
    script: list[Step] = [Reply(SPAM), Hold(held, Reply(SPAM))]
    async with ScriptedEndpoint(script) as endpoint, Running(endpoint.url) as daemon:
        async with aiohttp.ClientSession(daemon.url, connector=aiohttp.TCPConnector(limit=1)) as kept:
            async with kept.post(PREDICT, json={"text": "first"}) as response:
                assert response.status == 200
            asking = asyncio.create_task(daemon.predict())
            await endpoint.arrived.acquire()
            await endpoint.arrived.acquire()
            daemon.stop.request(15)
            await daemon.recorder.first(Draining)
            async with kept.post(PREDICT, json={"text": "second"}) as response:
                assert response.status == 503
                assert response.headers["Connection"] == "close"
                assert (await response.json(content_type=None))["code"] == "runtime_closed"
        held.set()
        assert (await asking)[0] == 200
        assert await daemon.exit_code() == 0


async def test_a_request_that_takes_too_long_is_answered_503_and_its_call_ended() -> None:
    async with ScriptedEndpoint([Hang()]) as endpoint, Running(endpoint.url, drain_timeout=0) as daemon:
        asking = asyncio.create_task(daemon.predict())
        await endpoint.arrived.acquire()
        daemon.stop.request(15)
        status, problem = await asking
        assert (status, problem["code"]) == (503, "runtime_closed")
        assert await daemon.exit_code() == 0
        assert daemon.recorder.of(DaemonStopped) == [DaemonStopped(drained=False)]
        async with asyncio.timeout(PATIENCE):
            await endpoint.client_left.wait()


async def test_a_body_that_is_still_on_its_way_at_the_end_is_answered_503() -> None:
    async with ScriptedEndpoint([]) as endpoint, Running(endpoint.url, drain_timeout=0) as daemon:
        where = URL(daemon.url)
        reader, writer = await asyncio.open_connection(where.host, where.port)
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        await writer.drain()
        async with aiohttp.ClientSession(daemon.url) as later, later.get("/health/live") as response:
            assert response.status == 200  # what was sent before is under way by now
        daemon.stop.request(15)
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readline()).split()[1] == b"503"
        writer.close()
        await writer.wait_closed()
        assert await daemon.exit_code() == 0


async def test_a_second_request_to_stop_does_not_wait() -> None:
    async with ScriptedEndpoint([Hang()]) as endpoint, Running(endpoint.url, drain_timeout=3600) as daemon:
        asking = asyncio.create_task(daemon.predict())
        await endpoint.arrived.acquire()
        daemon.stop.request(15)
        await daemon.recorder.first(Draining)
        daemon.stop.request(15)
        assert (await asking)[0] == 503
        assert await daemon.exit_code() == 128 + 15


async def test_a_stop_before_it_is_up_means_that_it_never_comes_up() -> None:
    recorder, stop = Recorder(), Stop()
    daemon = Daemon(Runtime(daemon_config(), hooks=[recorder]), {"mail": mail()}, CollectorRegistry())
    stop.request(15)
    assert await daemon.run(stop) == 0
    assert not recorder.of(Listening)


async def test_it_fails_when_the_supervision_tree_has_given_up() -> None:
    async with ScriptedEndpoint([]) as endpoint, Running(endpoint.url) as daemon:
        daemon.runtime.system.ref("root").kill(ZeroDivisionError("no more"))
        assert await daemon.exit_code() == FAILED
        assert "no more" in repr(daemon.recorder.of(DaemonFailed)[0].cause)
        assert not daemon.recorder.of(DaemonStopped)
        with pytest.raises(aiohttp.ClientConnectionError):
            await daemon.predict()


async def test_cancelling_it_leaves_nothing_behind() -> None:
    async with ScriptedEndpoint([Hang()]) as endpoint, Running(endpoint.url) as daemon:
        asking = asyncio.create_task(daemon.predict())
        await endpoint.arrived.acquire()
        daemon.ended.cancel()
        assert (await asking)[0] == 503
        with pytest.raises(asyncio.CancelledError):
            await daemon.ended
    with pytest.raises(RuntimeClosed):
        await daemon.runtime.start(mail(), name="other")


# --- the admin socket ---


async def test_the_admin_socket_answers_until_the_end(tmp_path: Path) -> None:
    admin, held = tmp_path / "admin" / "socket", asyncio.Event()
    async with (
        ScriptedEndpoint([Hold(held, Reply(SPAM))]) as endpoint,
        Running(endpoint.url, admin_socket=str(admin)) as daemon,
    ):
        assert daemon.recorder.of(Listening)[0].admin_socket == str(admin)
        asking = asyncio.create_task(daemon.predict())
        await endpoint.arrived.acquire()
        daemon.stop.request(15)
        await daemon.recorder.first(Draining)
        tree = read_tree(admin, await asyncio.to_thread(ask_tree, admin))
        assert [actor.path for actor in tree.actors] == ["root"]
        held.set()
        assert (await asking)[0] == 200
        assert await daemon.exit_code() == 0
        assert not admin.exists()


async def test_a_second_daemon_on_the_same_admin_socket_is_refused_before_anything_is_started(
    tmp_path: Path,
) -> None:
    admin = str(tmp_path / "admin" / "socket")
    async with ScriptedEndpoint([]) as endpoint, Running(endpoint.url, admin_socket=admin) as first:
        recorder = Recorder()
        runtime = Runtime(daemon_config(admin_socket=admin), hooks=[recorder])
        with pytest.raises(ConfigError, match="is in use: another daemon runs on this store"):
            await Daemon(runtime, {"mail": mail()}, CollectorRegistry()).run(Stop())
        assert not recorder.events
        assert await asyncio.to_thread(ask_tree, Path(admin))
        first.stop.request(15)
        assert await first.exit_code() == 0


# --- what is found before anything is started ---


@pytest.fixture
def occupied() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


async def test_an_occupied_port_is_named(occupied: int) -> None:
    recorder = Recorder()
    runtime = Runtime(daemon_config(port=occupied), hooks=[recorder])
    with pytest.raises(ConfigError, match=f"port {occupied} on 127.0.0.1 is in use") as raised:
        await Daemon(runtime, {"mail": mail()}, CollectorRegistry()).run(Stop())
    assert "server.port" in (raised.value.hint or "")
    assert not recorder.events


@pytest.mark.parametrize(
    ("host", "message"), [("no.such.host.invalid", "is no address"), ("192.0.2.1", "does not have that address")]
)
async def test_a_host_that_is_not_here_is_named(host: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_KEYS", "key")
    runtime = Runtime(daemon_config(host=host, auth=True, api_key_env="MAIL_KEYS"))
    with pytest.raises(ConfigError, match=message):
        await Daemon(runtime, {"mail": mail()}, CollectorRegistry()).run(Stop())


async def test_no_program_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"my\.toml: there is no program") as raised:
        await serve(make_config("my.toml", {"server": {"auth": False}}), "my.toml")
    assert "[programs." in (raised.value.hint or "")


async def test_a_program_that_is_not_there_is_found_before_the_model_is_started(tmp_path: Path) -> None:
    config = make_config(
        "test",
        {
            "lm": {"default": {"model": "local/no-such-model.gguf"}},
            "programs": {"mail": {"source": f"{tmp_path}/mail.py:judge"}},
            "server": {"auth": False},
        },
    )
    with pytest.raises(ProgramError, match=r"mail\.py: no such file"):
        await serve(config, "test")


async def test_a_missing_key_is_found_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_KEYS", raising=False)
    with pytest.raises(ConfigError, match="NO_KEYS"):
        Daemon(Runtime(daemon_config(auth=True, api_key_env="NO_KEYS")), {"mail": mail()}, CollectorRegistry())


def test_the_example_configurations_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    local, openai = load_config(CONFIGS / "local.toml"), load_config(CONFIGS / "openai.toml")
    assert local.programs["news"].source == openai.programs["news"].source == "examples/news.py:classify"
    assert (local.lm["default"].provider, openai.lm["default"].provider) == ("local", "openai")
    assert not local.server.auth
    assert openai.server.auth
    monkeypatch.setenv("REPERTORY_SERVER__PORT", "9000")
    monkeypatch.setenv("REPERTORY_API_KEYS", "a,b")
    overridden = load_config(CONFIGS / "openai.toml")
    assert overridden.server == openai.server.model_copy(update={"port": 9000})
