"""How connections are made: whom they trust, what they go through, and what they never tell."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from repertory.errors import ConfigError, LMAuthError, LMConnectionError
from repertory.providers.transport import HttpTransport
from repertory.providers.transport_settings import TransportSettings
from tests.endpoint import Reply, ScriptedEndpoint
from tests.tls import Authority, Proxy

PATH = "/chat/completions"
KEY = {"Authorization": SecretStr("Bearer canary-key"), "x-api-key": SecretStr("canary-key")}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def asked(url: str, settings: TransportSettings, environment: dict[str, str] | None = None) -> int:
    """The status of one answer."""
    transport = HttpTransport(url, name="qa", secret_headers=KEY, settings=settings, environment=environment or {})
    try:
        status, _, _ = await transport.post(PATH, b"{}", timeout=10)
    finally:
        await transport.close()
    return status


# --- TLS -----------------------------------------------------------------------------------------------------


async def test_an_authority_of_ones_own_is_trusted_if_named(authority: Authority) -> None:
    async with ScriptedEndpoint(lambda _: Reply(), tls=authority.server()) as server:
        assert await asked(server.url, TransportSettings(ca_file=authority.ca_file)) == 200
        with pytest.raises(LMConnectionError, match=r"qa: its certificate: .*\n  If its authority is your own"):
            await asked(server.url, TransportSettings())


async def test_a_server_on_loopback_may_go_unverified(authority: Authority) -> None:
    async with ScriptedEndpoint(lambda _: Reply(), tls=authority.server()) as server:
        assert await asked(server.url, TransportSettings(verify=False)) == 200


@pytest.mark.parametrize("host", ["10.0.0.7", "example.org", "127.0.0.1.example.org", "localhost.example.org"])
async def test_nobody_else_may(host: str) -> None:
    careless = TransportSettings(verify=False)
    with pytest.raises(ConfigError, match=rf"verify = false for {host}: .*read the key.*\n  Name the authority"):
        HttpTransport(f"https://{host}/v1", settings=careless)
    moved = HttpTransport(lambda: f"https://{host}/v1", settings=careless)
    with pytest.raises(ConfigError, match="verify = false"):
        await moved.post(PATH, b"{}", timeout=5)
    await moved.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "llm.localhost"])
def test_what_counts_as_loopback(host: str) -> None:
    TransportSettings(verify=False).check(f"https://{host}:8000/v1")


@pytest.mark.parametrize("password", [None, b"pass word"])
async def test_a_client_proves_who_it_is(authority: Authority, password: bytes | None) -> None:
    certificate, key = authority.certified("client", password)
    settings = TransportSettings(
        ca_file=authority.ca_file,
        client_certificate=certificate,
        client_key=key,
        client_key_password_env="KEY_PASSWORD" if password else "",
    )
    async with ScriptedEndpoint(lambda _: Reply(), tls=authority.server(client=True)) as server:
        assert await asked(server.url, settings, {"KEY_PASSWORD": "pass word"}) == 200
        with pytest.raises(LMConnectionError):
            await asked(server.url, TransportSettings(ca_file=authority.ca_file))


def test_a_certificate_that_cannot_be_used_is_named(authority: Authority) -> None:
    certificate, key = authority.certified("client", b"password")
    _, other = authority.certified("other")
    broken = authority.folder / "broken.pem"
    broken.write_text("nothing")
    for settings, told in (
        (TransportSettings(ca_file=Path("/nowhere")), "ca_file = '/nowhere': no such file"),
        (TransportSettings(ca_file=broken), "ca_file = .*: holds no certificates"),
        (TransportSettings(client_certificate=Path("/nowhere")), "client_certificate = '/nowhere': no such file"),
        (TransportSettings(client_certificate=certificate, client_key=key), "cannot be loaded with its key"),
        (TransportSettings(client_certificate=certificate, client_key=other), "cannot be loaded with its key"),
        (
            TransportSettings(client_certificate=certificate, client_key=key, client_key_password_env="NOT_SET"),
            r"variable NOT_SET is not set\n  Run: export NOT_SET",
        ),
    ):
        with pytest.raises(ConfigError, match=told):
            HttpTransport("https://example.org", settings=settings, environment={})


# --- the proxy -----------------------------------------------------------------------------------------------


async def test_tls_runs_through_the_proxy_and_it_learns_no_secret(authority: Authority) -> None:
    async with ScriptedEndpoint(lambda _: Reply(), tls=authority.server()) as server, Proxy() as proxy:
        settings = TransportSettings(
            ca_file=authority.ca_file,
            proxy=proxy.url,
            proxy_login_env="PROXY_LOGIN",
            headers={"X-Team": "qa"},
            header_envs={"X-Gateway-Token": "GATEWAY"},
        )
        environment = {"PROXY_LOGIN": "user:pass:word", "GATEWAY": "canary-token"}
        assert await asked(server.url, settings, environment) == 200
    (head,) = proxy.asked
    assert head.startswith("CONNECT 127.0.0.1:")
    assert "Proxy-Authorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n" in head
    assert "canary" not in head
    assert "X-Team" not in head
    seen = server.requests[0].headers
    assert (seen["authorization"], seen["x-api-key"]) == ("Bearer canary-key", "canary-key")
    assert (seen["x-team"], seen["x-gateway-token"]) == ("qa", "canary-token")
    assert seen["content-type"] == "application/json"
    assert "proxy-authorization" not in seen


async def test_a_proxy_without_a_login_is_told_none(authority: Authority) -> None:
    async with ScriptedEndpoint(lambda _: Reply(), tls=authority.server()) as server, Proxy() as proxy:
        assert await asked(server.url, TransportSettings(ca_file=authority.ca_file, proxy=proxy.url)) == 200
    assert "authorization" not in proxy.asked[0].lower()
    assert "canary" not in proxy.asked[0]


async def test_what_a_proxy_refuses_is_told_as_the_proxys() -> None:
    for answer, kind, told in (
        (
            "407 Proxy Authentication Required",
            LMAuthError,
            r"qa: the proxy wants another login\n  Set .*login_env",
        ),
        ("502 Bad Gateway", LMConnectionError, "qa: the proxy answered 502"),
    ):
        async with Proxy(answer) as proxy:
            settings = TransportSettings(proxy=proxy.url, proxy_login_env="LOGIN")
            with pytest.raises(kind, match=told) as caught:
                await asked("https://example.org/v1", settings, {"LOGIN": "user:canary-password"})
            assert "canary" not in repr(caught.value)
            assert caught.value.__cause__ is None
    with pytest.raises(LMConnectionError, match="qa: the connection to the proxy failed"):
        await asked("https://example.org/v1", settings, {"LOGIN": "user:canary-password"})


# --- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"proxy": "https://p:3128"}, r"proxy = 'https://p:3128': expected http://HOST"),
        ({"proxy": "p:3128"}, "expected http://HOST"),
        ({"proxy": "http://p:99999"}, "expected http://HOST"),
        ({"proxy": "http://user:canary@p"}, r"proxy holds a user name or password\n  Give them in an environment"),
        ({"proxy": "socks5://user:canary@p"}, r"proxy = \(not shown"),
        ({"proxy_login_env": "LOGIN"}, "proxy_login_env is given without proxy"),
        (
            {"headers": {"Authorization": "canary"}},
            r"headers.Authorization: by its name a secret.*\n  Name the env",
        ),
        ({"headers": {"X-Portkey-Api-Key": "canary"}}, "by its name a secret"),
        ({"headers": {"X Team": "qa"}}, "'X Team' is no header's name"),
        ({"headers": {"X-Team": "a\r\nb"}}, "has characters that no header may have"),
        ({"headers": {"Host": "a"}}, "headers.Host: is set by the transport itself"),
        ({"header_envs": {"Content-Length": "A"}}, "is set by the transport itself"),
        ({"client_key": Path("k")}, "client_key is given without client_certificate"),
        ({"ca_file": Path("k"), "verify": False}, "nothing would be checked by it"),
        ({"keep_alive": 0}, "keep_alive = 0: expected a number above 0"),
        ({"max_body": -1}, "max_body = -1"),
        ({"dns_ttl": float("inf")}, "dns_ttl = inf"),
        ({"connect_timeout": float("nan")}, "connect_timeout = nan"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_no_secret_is_shown(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        TransportSettings(**fields)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "environment", "told"),
    [
        (
            {"header_envs": {"X-Token": "T"}},
            {},
            r"header_envs.X-Token: the environment variable T is not set\n  Run",
        ),
        (
            {"header_envs": {"X-Token": "T"}},
            {"T": "canary\n"},
            "variable T has characters that no header may have",
        ),
        ({"proxy": "http://p", "proxy_login_env": "L"}, {"L": "canary"}, "variable L does not hold USER:PASSWORD"),
        (
            {"proxy": "http://p", "proxy_login_env": "L"},
            {"L": ":canary"},
            "variable L does not hold USER:PASSWORD",
        ),
    ],
)
def test_a_variable_that_does_not_hold_its_secret_is_named(
    fields: dict[str, Any], environment: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        HttpTransport("https://example.org", settings=TransportSettings(**fields), environment=environment)
    assert "canary" not in str(caught.value)


def test_words_that_only_contain_a_secrets_name_are_plain() -> None:
    TransportSettings(headers={"X-Portkey-Provider": "openai", "X-Monkey": "1"})


# --- connections that were kept ------------------------------------------------------------------------------


class Connections:
    """A server that answers the first request of a connection and closes it, silently, at the second."""

    def __init__(self, answers: int = 1) -> None:
        self.opened = 0
        self.closed = asyncio.Event()
        self.requests = 0
        self.answers = answers  # of each connection

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        for _ in range(self.answers):
            await reader.readuntil(b"{}")
            self.requests += 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        if await reader.read(1):
            self.requests += 1
        writer.close()
        self.closed.set()


@asynccontextmanager
async def serving(connections: Connections) -> AsyncIterator[str]:
    server = await asyncio.start_server(connections.serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_cut_off_on_a_kept_connection_is_sent_once(stream: bool) -> None:
    """Nobody knows whether the peer had taken it: sending it again is for those who can pay for it twice."""
    async with serving(connections := Connections()) as url:
        transport = HttpTransport(url)
        await transport.post(PATH, b"{}", timeout=10)
        send = transport.open if stream else transport.post
        with pytest.raises(LMConnectionError) as cut:
            await send(PATH, b"{}", timeout=10)
        assert not cut.value.unsent
        assert (connections.opened, connections.requests) == (1, 2)
        await transport.close()
