"""Who may ask."""

import pytest
from prometheus_client import CollectorRegistry

from repertory.errors import ConfigError
from repertory.runtime.config import ServerConfig
from repertory.runtime.runtime import Runtime
from repertory.server.app import make_app
from repertory.server.auth import ApiKeys, is_loopback
from repertory.testing import ScriptedLM
from tests.server.service import SPAM, serving

KEYS = "MAIL_KEYS"


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEYS, " first-key, second-key ,,")


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("authorization", ["Bearer first-key", "bearer second-key", "Bearer  second-key"])
async def test_each_key_opens(authorization: str) -> None:
    async with serving(ScriptedLM([SPAM]), auth=True, api_key_env=KEYS) as service:
        assert (await service.predict(headers={"Authorization": authorization}))[0] == 200


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer first-ke",
        "Bearer first-key, second-key",
        "Basic first-key",
    ],
)
async def test_nothing_else_does(authorization: str) -> None:
    lm = ScriptedLM([SPAM])
    async with serving(lm, auth=True, api_key_env=KEYS) as service:
        status, headers, problem = await service.predict(headers={"Authorization": authorization})
    assert (status, problem["code"]) == (401, "unauthorized")
    assert headers["WWW-Authenticate"].startswith("Bearer ")
    assert "first-key" not in str(problem)
    assert not lm.requests


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/health/live/", 401),
        ("/metrics", 401),
        ("/v1/programs", 401),
        ("/nowhere", 401),
        ("/health%2Flive", 401),
    ],
)
async def test_only_health_is_open(path: str, status: int) -> None:
    service = serving(ScriptedLM([]), auth=True, api_key_env=KEYS)
    async with service as served, served.client.get(path) as response:
        assert response.status == status


@pytest.mark.usefixtures("keys")
async def test_a_key_opens_the_metrics() -> None:
    headers = {"Authorization": "Bearer first-key"}
    service = serving(ScriptedLM([]), auth=True, api_key_env=KEYS, headers=headers)
    async with service as served, served.client.get("/metrics") as response:
        assert response.status == 200


@pytest.mark.parametrize("value", [None, "", " , "])
def test_no_key_to_ask_for_names_the_variable_and_a_command(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEYS, raising=False)
    if value is not None:
        monkeypatch.setenv(KEYS, value)
    with pytest.raises(ConfigError, match=KEYS) as raised:
        make_app(Runtime(store=None), ServerConfig(api_key_env=KEYS), CollectorRegistry())
    assert f"export {KEYS}=$(python3 -c" in (raised.value.hint or "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org", ""])
def test_without_keys_only_a_loopback_host_is_served(host: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.auth = false") as raised:
        make_app(Runtime(store=None), ServerConfig(auth=False, host=host), CollectorRegistry())
    assert "auth = true" in (raised.value.hint or "")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8321", "127.0.0.1.evil.org", "[::", "10.0.0.1"])
async def test_without_keys_a_foreign_name_is_refused(host: str) -> None:
    async with serving(ScriptedLM([SPAM])) as service:
        status, _, problem = await service.predict(headers={"Host": host})
    assert (status, problem["code"]) == (421, "host_refused")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8321", "[::1]:8321"])
async def test_without_keys_this_machine_is_served(host: str) -> None:
    async with serving(ScriptedLM([SPAM])) as service:
        assert (await service.predict(headers={"Host": host}))[0] == 200


def test_loopback_is_told_from_what_looks_like_it() -> None:
    hosts = ["127.0.0.1", "127.8.8.8", "::1", "localhost", "localhost.", "0.0.0.0", "localhost.com", "1270.0.0.1"]
    assert [is_loopback(host) for host in hosts] == [True] * 5 + [False] * 3


def test_keys_cannot_be_read_back() -> None:
    keys = ApiKeys(["first-key"])
    assert "first-key" in keys
    assert "first-key" not in repr(vars(keys))
