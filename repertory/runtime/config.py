"""Configuration: one TOML file, overridden by ``REPERTORY_...`` environment variables.

``REPERTORY_SERVER__PORT=9000`` overrides ``[server] port``. Secrets are named, never written: ``api_key_env``
says which environment variable holds the key.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ByteSize, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from repertory.clock import Clock
from repertory.errors import ConfigError
from repertory.runtime.lm_config import BudgetConfig, CacheConfig, LMConfig, RouteConfig, Table
from repertory.runtime.memory_levels import LevelSettings, MemoryLevels
from repertory.runtime.program_config import ProgramConfig

DEFAULT_STORE = ".repertory/store.db"
PREFIX = "REPERTORY_"  # of the environment variables
DELIMITER = "__"  # between the parts of a setting's name in them


Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class ServerConfig(Table):
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


class SchedulerConfig(Table):
    """How steps of runs share the process.

    Attributes:
        steps: Steps that may be under way at a time, over all runs; the others take turns.
        runs: Submitted runs that may be under way at a time; the others wait on disk, and are begun by their
            priority and in the order in which they were accepted.
    """

    steps: int = Field(default=4096, ge=1)
    runs: int = Field(default=1000, ge=1)


class RetentionConfig(Table):
    """How long the store keeps what has ended; by default everything, for ever.

    Attributes:
        keep_days: Days after its end for which a run is kept; None: any number.
        keep_runs: Ended runs kept at most, the latest; None: any number.
        compact_days: Days after its end for which the whole log of a run is kept, and not its outcomes alone;
            None: any number.
    """

    keep_days: float | None = Field(default=None, gt=0)
    keep_runs: int | None = Field(default=None, ge=1)
    compact_days: float | None = Field(default=None, ge=0)


class LogConfig(Table):
    """What the daemon writes to standard error."""

    format: Literal["json", "console"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class MemoryConfig(Table):
    """What becomes of work while memory is short.

    Attributes:
        guard: Whether memory is watched; off: nothing is refused or given up.
        limit: Most bytes of resident memory the process is to have, as a number or as ``"2GiB"``; None: what its
            control groups and the machine leave it.
        high: Share of the limit at which caches shrink, idle actors go and batch work is refused.
        critical: Share of the limit at which nothing but interactive work is begun.
        margin: How far the share must fall below these before a level is left.
        dwell: Seconds a level lasts at least.
        patience: Seconds critical lasts before work under way is ended.
    """

    guard: bool = True
    limit: ByteSize | None = Field(default=None, gt=0)
    high: float = Field(default=0.80, gt=0, lt=1)
    critical: float = Field(default=0.90, gt=0, lt=1)
    margin: float = Field(default=0.05, ge=0, lt=1)
    dwell: float = Field(default=5.0, ge=0)
    patience: float = Field(default=5.0, gt=0)

    @field_validator("critical", "margin")
    @classmethod
    def _fits_high(cls, value: float, info: ValidationInfo) -> float:
        high = info.data.get("high")  # missing where it is itself wrong
        if high is not None and info.field_name == "critical" and value <= high:
            raise ValueError(f"it must be above memory.high = {high}")
        if high is not None and info.field_name == "margin" and value >= high:
            raise ValueError(f"it must be below memory.high = {high}")
        return value

    def levels(self, clock: Clock) -> MemoryLevels:
        """The levels as configured."""
        settings = LevelSettings(self.high, self.critical, self.margin, self.dwell, self.patience)
        return MemoryLevels(clock, settings)


class RuntimeConfig(BaseSettings):
    """Everything a runtime can be told.

    Attributes:
        store: Path of the SQLite file that keeps runs and parameters.
        journal: Whether runs are journaled, so that they can be resumed; off, nothing outlives the process.
        lm: The language models by name; predictors use ``default`` unless they name another.
        route: Routes over these by name, which predictors can use as they use a model.
        cache: Whether answers are given again.
        budgets: What accounts may spend, by name; ``global`` pays for every call, others where a run names them.
        programs: What ``repertory serve`` serves, by name.
        memory: What becomes of work while memory is short.
        retention: How long the store keeps what has ended.
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
    route: dict[str, RouteConfig] = Field(default_factory=dict)
    cache: CacheConfig = CacheConfig()
    budgets: dict[str, BudgetConfig] = Field(default_factory=dict)
    programs: dict[Name, ProgramConfig] = Field(default_factory=dict)
    scheduler: SchedulerConfig = SchedulerConfig()
    memory: MemoryConfig = MemoryConfig()
    retention: RetentionConfig = RetentionConfig()
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
    if any(str(step).endswith(("_env", "_envs")) for step in fault["loc"]):  # likely the secret: not to be shown
        return ConfigError(f"{source}: {field} is not a variable's name", hint="Never write the secret itself.")
    hint = f"{fault['msg']}; got a {type(value).__name__}."
    number = str(value).partition("/")[0].strip()
    if fault["type"] in ("float_parsing", "int_parsing") and number.replace(".", "", 1).isdigit():
        hint += f" Write: {field.rpartition('.')[2]} = {number}"
    if fault["type"].startswith("byte_size"):
        hint += f' Write: {field.rpartition(".")[2]} = "2GiB"'
    return ConfigError(f"{source}: {field} = {value!r}", hint=hint)
