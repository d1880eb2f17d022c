"""Configuration: file, environment, defaults, and errors that say what to write instead."""

from pathlib import Path

import pytest

from repertory.errors import ConfigError
from repertory.runtime.config import RetentionConfig, RuntimeConfig, load_config, make_config
from repertory.runtime.lm_config import LMConfig, LMLimits
from repertory.runtime.memory_levels import Reading
from repertory.testing import FakeClock


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.upper().startswith("REPERTORY_")]:
        monkeypatch.delenv(name)


def load(tmp_path: Path, text: str) -> RuntimeConfig:
    path = tmp_path / "c.toml"
    path.write_text(text)
    return load_config(path)


def test_the_environment_wins_value_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPERTORY_SERVER__PORT", "9000")
    monkeypatch.setenv("REPERTORY_LM__DEFAULT__LIMITS__CONCURRENCY", "7")
    monkeypatch.setenv("REPERTORY_STORE", "elsewhere.db")
    config = load(
        tmp_path,
        'store = "here.db"\n[server]\nport = 1\nauth = false\n'
        '[lm.default]\nmodel = "local"\nlimits.requests_per_minute = 60\n',
    )
    assert (config.server.port, config.server.auth, config.store) == (9000, False, "elsewhere.db")
    assert config.lm["default"].limits == LMLimits(requests_per_minute=60, concurrency=7)


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPERTORY_LM__DEFAULT__MODEL", "openai/x")
    monkeypatch.setenv("REPERTORY_SERVER__PORT", "9000")
    config = make_config("the environment", {})
    assert (config.lm["default"].model, config.server.port, config.server.auth) == ("openai/x", 9000, True)


def test_the_memory_is_limited_in_bytes_however_they_are_written(tmp_path: Path) -> None:
    assert load(tmp_path, '[memory]\nlimit = "1.5GiB"').memory.limit == 3 * 2**29
    assert load(tmp_path, "[memory]\nlimit = 500_000_000").memory.limit == 500_000_000
    assert RuntimeConfig().memory.limit is None


def test_what_the_configuration_takes_for_levels_the_levels_take_too(tmp_path: Path) -> None:
    levels = load(tmp_path, "[memory]\nhigh = 0.5\ncritical = 0.6\ndwell = 0").memory.levels(FakeClock())
    assert [levels.take(Reading(used, 100)) for used in (49, 50, 60, 54, 44)] == [
        *("normal", "high", "critical", "high", "normal")
    ]


def test_the_key_list_of_the_daemon_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPERTORY_API_KEYS", "secret")
    assert "secret" not in repr(make_config("the environment", {}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port = 1", "c.toml: port is not a known setting"),
        ("[lm.default]\nthreads = 2", "c.toml: lm.default.model is missing\n  Write: model = ..."),
        (
            '[lm.a]\nmodel = "local"\nlimits.requests_per_minute = "500/min"',
            "unable to parse string as a number; got a str. Write: requests_per_minute = 500",
        ),
        (
            "[server]\nport = 70000",
            "c.toml: server.port = 70000\n  Input should be less than or equal to 65535; got",
        ),
        ('[log]\nformat = "xml"', "c.toml: log.format = 'xml'\n  Input should be 'json' or 'console'; got a str."),
        (
            '[memory]\nlimit = "lots"',
            "c.toml: memory.limit = 'lots'\n"
            '  could not parse value and unit from byte string; got a str. Write: limit = "2GiB"',
        ),
        (
            "[memory]\nhigh = 0.9\ncritical = 0.8",
            "c.toml: memory.critical = 0.8\n  Value error, it must be above memory.high = 0.9",
        ),
        (
            "[retention]\nkeep_days = 0",
            "c.toml: retention.keep_days = 0\n  Input should be greater than 0; got a int.",
        ),
        (
            "[retention]\nkeep_runs = 0",
            "c.toml: retention.keep_runs = 0\n  Input should be greater than or equal to 1",
        ),
        (
            '[retention]\nkeep_days = "30d"',
            "c.toml: retention.keep_days = '30d'\n  Input should be a valid number, unable to parse",
        ),
        ("[retention]\nkeep_hours = 1", "c.toml: retention.keep_hours is not a known setting"),
        ("[server]\nport = 1\nport = 2", "c.toml: is not TOML: Cannot overwrite a value"),
    ],
)
def test_errors_name_file_field_value_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)


def test_a_wrong_value_in_the_environment_is_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("repertory_server__port", "many")
    with pytest.raises(ConfigError, match=r"^REPERTORY_SERVER__PORT: server\.port = 'many'\n"):
        load(tmp_path, "[server]\nport = 1\n")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"c\.toml: is not TOML"):
        load_config(tmp_path / "c.toml")


def test_the_key_comes_from_the_environment_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    config = LMConfig(model="openai/x")
    key = config.api_key("MY_KEY")
    assert key is not None
    assert (key.get_secret_value(), "sk-secret" in repr((config, key))) == ("sk-secret", False)
    monkeypatch.setenv("MY_KEY", "")
    with pytest.raises(ConfigError, match=r"MY_KEY is not set\n  Run: export MY_KEY="):
        config.api_key("MY_KEY")
    assert LMConfig(model="openai/x", api_key_env="").api_key("") is None


@pytest.mark.parametrize(
    "setting", ["api_key_env", "transport.proxy_login_env", "transport.client_key_password_env"]
)
def test_a_secret_in_place_of_a_variables_name_is_not_shown(tmp_path: Path, setting: str) -> None:
    path = tmp_path / "f.toml"
    path.write_text(f'[lm.default]\nmodel = "compatible/x"\n{setting} = "sk-canary:7"\n')
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert "sk-canary" not in f"{error.value!r} {error.value}"
    assert f"lm.default.{setting} is not a variable's name" in str(error.value)


def test_a_header_in_place_of_its_variables_name_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.toml"
    path.write_text('[lm.default]\nmodel = "compatible/x"\ntransport.header_envs.X-Token = "sk-canary:7"\n')
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert "sk-canary" not in str(error.value)
    path.write_text('[lm.default]\nmodel = "compatible/x"\n')
    monkeypatch.setenv("REPERTORY_LM__DEFAULT__TRANSPORT__HEADER_ENVS__X_TOKEN", "sk-canary:7")
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert "sk-canary" not in str(error.value)


def test_what_has_ended_is_kept_for_ever_unless_told_otherwise(tmp_path: Path) -> None:
    assert load(tmp_path, "").retention == RetentionConfig(keep_days=None, keep_runs=None, compact_days=None)
    config = load(tmp_path, "[retention]\nkeep_days = 30\nkeep_runs = 100_000\ncompact_days = 0.5\n")
    assert config.retention == RetentionConfig(keep_days=30, keep_runs=100_000, compact_days=0.5)
