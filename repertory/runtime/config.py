"""Configuration: one TOML file, overridden by ``REPERTORY_...`` environment variables.

``REPERTORY_SERVER__PORT=9000`` overrides ``[server] port``. Secrets are named, never written: ``api_key_env``
says which environment variable holds the key.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from repertory.errors import ConfigError

DEFAULT_STORE = ".repertory/store.db"
PREFIX = "REPERTORY_"  # of the environment variables
DELIMITER = "__"  # between the parts of a setting's name in them


Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
VariableName: TypeAlias = Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LMLimits(_Table):
    """How hard an endpoint may be used.

    Attributes:
        requests_per_minute: Most requests sent in any minute; None: no limit.
        concurrency: Most requests in flight; None: no limit (for ``local``: its slots).
    """

    requests_per_minute: float | None = Field(default=None, gt=0)
    concurrency: int | None = Field(default=None, ge=1)


class LMConfig(_Table):
    """One language model.

    Attributes:
        model: ``local`` (the packaged model), ``local/PATH.gguf``, or ``PROVIDER/NAME`` with a provider of
            ``repertory.providers.catalog``, such as ``openai/gpt-4.1-mini``; ``compatible/NAME`` for any endpoint
            that speaks OpenAI Chat Completions.
        base_url: Where the endpoint is; None is where the provider usually is.
        api_key_env: Environment variable that holds its key; "" for an endpoint without one, None for the
            provider's usual one.
        structured_output: Whether it constrains replies to a JSON schema.
        timeout: Seconds one attempt may take; a run's deadline bounds them all.
        connect_timeout: Seconds to open a connection.
        attempts: Most attempts of a call, the first included.
        threads: ``local`` only: threads that compute; None is as many as there are processors, at most 4.
        parallel: ``local`` only: requests answered at the same time.
        context: ``local`` only: tokens of context, shared by these.
    """

    model: str
    base_url: str | None = None
    api_key_env: VariableName | None = None
    structured_output: bool = True
    timeout: float = Field(default=60.0, gt=0)
    connect_timeout: float = Field(default=10.0, gt=0)
    attempts: int = Field(default=3, ge=1)
    limits: LMLimits = LMLimits()
    threads: int | None = Field(default=None, ge=1)
    parallel: int = Field(default=4, ge=1)
    context: int = Field(default=8192, ge=256)

    @property
    def provider(self) -> str:
        """The part of ``model`` before the slash."""
        return self.model.partition("/")[0]

    def api_key(self, variable: str) -> SecretStr | None:
        """The key from the environment. Raises ConfigError if the variable is not set."""
        if not variable:
            return None
        key = os.environ.get(variable, "")
        if not key:
            raise ConfigError(
                f"{self.model}: the environment variable {variable} is not set",
                hint=f'Run: export {variable}=...   (or set api_key_env = "" if it needs no key)',
            )
        return SecretStr(key)


class ProgramConfig(_Table):
    """One program the daemon serves.

    Attributes:
        source: ``path.py:name`` or ``package.module:name``.
        replicas: Actors for each of its predictors.
        concurrency: Predictions each of these works on at a time.
    """

    source: str
    replicas: int = Field(default=1, ge=1)
    concurrency: int = Field(default=64, ge=1)


class ServerConfig(_Table):
    """The daemon's HTTP side.

    Attributes:
        auth: Whether requests need an API key; without, only a loopback host is accepted.
        api_key_env: Environment variable that holds the keys, separated by commas.
        request_timeout: Seconds a prediction may take.
        drain_timeout: Seconds that requests under way get to finish when the daemon is asked to stop.
        max_body_bytes: Largest request body.
        admin_socket: Path of the Unix socket through which ``repertory ps`` asks; "": none. None: beside the
            store.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8321, ge=0, le=65535)
    auth: bool = True
    api_key_env: str = "REPERTORY_API_KEYS"
    request_timeout: float = Field(default=60.0, gt=0)
    drain_timeout: float = Field(default=20.0, ge=0)
    max_body_bytes: int = Field(default=1_048_576, ge=1)
    admin_socket: str | None = None


class LogConfig(_Table):
    """What the daemon writes to standard error."""

    format: Literal["json", "console"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class RuntimeConfig(BaseSettings):
    """Everything a runtime can be told.

    Attributes:
        store: Path of the SQLite file that keeps runs and parameters.
        journal: Whether runs are journaled, so that they can be resumed; off, nothing outlives the process.
        lm: The language models by name; predictors use ``default`` unless they name another.
        programs: What ``repertory serve`` serves, by name.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        nested_model_default_partial_update=True,
    )

    store: str = DEFAULT_STORE
    journal: bool = True
    lm: dict[str, LMConfig] = Field(default_factory=dict)
    programs: dict[Name, ProgramConfig] = Field(default_factory=dict)
    server: ServerConfig = ServerConfig()
    log: LogConfig = LogConfig()

    @property
    def admin_socket(self) -> Path | None:
        """Where an operator on the same machine reaches the daemon; None if nowhere."""
        path = self.server.admin_socket
        if path is None:
            # In a directory of its own: that of the store may be open to others, and is not ours to close.
            path = f"{DEFAULT_STORE if '://' in self.store else self.store}.admin/socket"
        return Path(path) if path else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, the file (handed in as keywords) over defaults."""
        return env_settings, init_settings


def load_config(path: str | Path) -> RuntimeConfig:
    """Read a TOML file. Raises ConfigError naming the file, the field, its value and the remedy."""
    path = Path(path)
    try:
        values = _read_toml(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", hint="Start from configs/local.toml.") from None
    except IsADirectoryError:
        raise ConfigError(
            f"{path}: is a directory", hint="Name a TOML file, such as configs/local.toml."
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint="Check its permissions.") from None
    except ValueError as error:  # TOML syntax, or not UTF-8
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    return make_config(str(path), values)


def make_config(source: str, values: dict[str, Any]) -> RuntimeConfig:
    """A configuration from plain values; ``source`` is what errors call their origin."""
    try:
        return RuntimeConfig(**values)
    except ValidationError as error:
        raise _config_error(source, error) from None
    except SettingsError as error:  # a table given as a whole, and not as JSON
        raise ConfigError(
            f"the environment: {error}", hint="Set single values, such as REPERTORY_LM__DEFAULT__MODEL=local."
        ) from None


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    with path.open("rb") as file:
        return tomllib.load(file)


def _config_error(source: str, error: ValidationError) -> ConfigError:
    fault = error.errors(include_url=False)[0]
    field = ".".join(str(step) for step in fault["loc"])
    variable = f"{PREFIX}{DELIMITER.join(str(step) for step in fault['loc'])}".upper()
    if variable in map(str.upper, os.environ):
        source = variable  # the environment wins, so it is what has to be mended
    if fault["type"] == "extra_forbidden":
        return ConfigError(f"{source}: {field} is not a known setting", hint="docs/configuration.md lists them.")
    if fault["type"] == "missing":
        return ConfigError(f"{source}: {field} is missing", hint=f"Write: {field.rpartition('.')[2]} = ...")
    if fault["type"] == "model_type":
        return ConfigError(f"{source}: {field} is not a table", hint=f"Write: [{field}]")
    value = fault["input"]
    if field.endswith("api_key_env"):  # likely the key itself: not to be shown
        return ConfigError(f"{source}: {field} is not a variable's name", hint="Never write the key itself.")
    hint = f"{fault['msg']}; got a {type(value).__name__}."
    number = str(value).partition("/")[0].strip()
    if fault["type"] in ("float_parsing", "int_parsing") and number.replace(".", "", 1).isdigit():
        hint += f" Write: {field.rpartition('.')[2]} = {number}"
    return ConfigError(f"{source}: {field} = {value!r}", hint=hint)
