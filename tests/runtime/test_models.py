"""From configuration to endpoints: no setting is passed over."""

from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from repertory.clock import SystemClock
from repertory.errors import ConfigError
from repertory.events import Hooks
from repertory.providers.prices import Price
from repertory.providers.settings import EndpointSettings
from repertory.runtime.config import make_config
from repertory.runtime.lm_config import LMBreaker, LMBudget, LMConfig, LMLimits, LMPrice, LMTransport, Table
from repertory.runtime.models import Surroundings, make_endpoint
from repertory.store import MemoryLedger


@pytest.mark.local_model
@pytest.mark.parametrize("model", ["local", "openai/x"])
async def test_every_provider_heeds_the_common_settings(model: str) -> None:
    config = LMConfig(
        model=model,
        api_key_env="",
        structured_output=False,
        timeout=7,
        connect_timeout=3,
        attempts=2,
        limits=LMLimits(requests_per_minute=5, concurrency=1),
    )
    around = Surroundings(SystemClock(), Hooks(), Random(0), None, MemoryLedger())
    endpoint, child = make_endpoint("m", config, around)
    settings: EndpointSettings = endpoint.settings
    assert (settings.name, settings.schema_dialect, settings.timeout) == ("m", None, 7)
    assert (settings.transport.connect_timeout, settings.attempts) == (3, 2)
    assert (settings.limits.requests_per_minute, settings.limits.max_concurrency) == (5, 1)
    assert (child is not None) == (model == "local")
    await endpoint.close()


AROUND = Surroundings(SystemClock(), Hooks(), Random(0), None, MemoryLedger())

# Each setting of an endpoint, away from its default, and where it arrives if not under the same name.
LIMITS: dict[str, Any] = {
    "requests_per_minute": 5.0,
    "tokens_per_minute": 70.0,
    "concurrency": 3,
    "adaptive": False,
    "waiting": 9,
}
BREAKER: dict[str, Any] = {
    **{"window_calls": 30, "window_seconds": 31.0, "minimum_volume": 6, "failure_rate": 0.4, "slow_seconds": 8.0},
    **{"slow_rate": 0.7, "open_seconds": 2.0, "open_seconds_cap": 33.0, "probes": 2},
}
BUDGET = {"max_tokens": 77, "media_tokens": {"image": 5000}, "call_cap": Decimal("0.5")}
PRICE = {"input": Decimal(1), "output": Decimal(2), "cache_read": Decimal(3), "cache_write": Decimal(4)}
ARRIVES_AS = {"concurrency": "max_concurrency", "waiting": "max_waiting"}
PLAIN: dict[str, Any] = {
    **{"timeout": 7.0, "first_token_timeout": 5.0, "next_token_timeout": 4.0, "attempts": 2, "retry_share": 0.2},
    "context_window": 9999,
}
SHAPE = {"model", "base_url", "api_key_env", "structured_output", "connect_timeout"}
LOCAL_ONLY = {"threads", "parallel", "context"}


def _transport(tmp_path: Path) -> dict[str, Any]:
    return {
        **{"verify": False, "proxy": "http://127.0.0.1:3128", "proxy_login_env": "PROXY_LOGIN"},
        **{"headers": {"X-Team": "qa"}, "header_envs": {"X-Gateway": "GATEWAY"}},
        **{"keep_alive": 3.0, "max_body": 4096, "dns_ttl": 6.0},
    }


def _whole(table: type[Table], given: dict[str, Any], *, but: set[str] | frozenset[str] = frozenset()) -> Any:
    """The table with every setting given, or this test knows less than there is."""
    assert set(table.model_fields) == set(given) | but
    config = table(**given)
    defaults = table.model_construct()
    assert not [name for name in given if getattr(config, name) == getattr(defaults, name, None)]
    return config


async def test_every_setting_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY", "g")
    monkeypatch.setenv("PROXY_LOGIN", "me:pw")
    transport = _transport(tmp_path)
    files = {"ca_file", "client_certificate", "client_key", "client_key_password_env"}  # tested in test_transport
    tables = {
        "limits": _whole(LMLimits, LIMITS),
        "breaker": _whole(LMBreaker, BREAKER),
        "budget": _whole(LMBudget, BUDGET),
        "price": _whole(LMPrice, PRICE),
        "transport": _whole(LMTransport, transport, but=files),
    }
    config = _whole(
        LMConfig,
        {**PLAIN, **tables, "model": "compatible/x", "base_url": "http://127.0.0.1:9/v1", "connect_timeout": 3.0},
        but=SHAPE | LOCAL_ONLY,
    )
    endpoint, _ = make_endpoint("m", config, AROUND)
    settings = endpoint.settings
    await endpoint.close()
    for name, value in PLAIN.items():
        assert getattr(settings, name) == value, name
    for part, given in (("limits", LIMITS), ("breaker", BREAKER), ("budget", BUDGET), ("transport", transport)):
        for name, value in given.items():
            assert getattr(getattr(settings, part), ARRIVES_AS.get(name, name)) == value, (part, name)
    assert settings.budget.price == Price.flat(**PRICE)
    assert settings.transport.connect_timeout == 3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"breaker": LMBreaker(minimum_volume=30)}, "lm.m: breaker: minimum_volume = 30"),
        ({"timeout": float("inf")}, "lm.m: endpoint m: timeout = inf"),
        ({"transport": LMTransport(header_envs={"X-A": "NOPE"})}, "lm.m: transport: header_envs.X-A"),
        ({"base_url": None}, "lm.m.base_url is missing"),
    ],
)
def test_a_wrong_setting_is_said_to_be_that_models(wrong: dict[str, Any], said: str) -> None:
    config = LMConfig(**{"model": "compatible/x", "base_url": "http://127.0.0.1:9/v1", **wrong})
    with pytest.raises(ConfigError) as error:
        make_endpoint("m", config, AROUND)
    assert error.value.message.startswith(said)


@pytest.mark.parametrize(
    "table",
    [
        {"lm": {"m": {"model": "compatible/x", "budget": {"media_tokens": {"image": -5000}}}}},
        {"budgets": {"global": {"dollars": "1e30"}}},
        {"budgets": {"global": {"tokens": 2**61}}},
    ],
)
def test_an_amount_that_no_wall_can_be_built_on_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"media_tokens\.image|budgets\.global"):
        make_config("test", table)


def test_accounts_may_have_the_names_that_applications_give_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPERTORY_BUDGETS__GLOBAL__DOLLARS", "5")
    config = make_config("test", {"budgets": {"tenant:x": {"dollars": 1}, "global": {"tokens": 3}}})
    assert {name: (each.dollars, each.tokens) for name, each in config.budgets.items()} == {
        "tenant:x": (Decimal(1), None),
        "global": (Decimal(5), 3),
    }


@pytest.mark.local_model
async def test_models_from_other_files_have_other_answers(tmp_path: Path) -> None:
    identities = set()
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
        endpoint, _ = make_endpoint("m", LMConfig(model=f"local/{tmp_path / name}"), AROUND)
        identities.add(endpoint.settings.identity)
        await endpoint.close()
    assert len(identities) == 2
