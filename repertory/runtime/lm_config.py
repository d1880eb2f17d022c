"""Configuration of language models: endpoints, the routes over them, and who pays.

Secrets are named, never written: ``api_key_env`` says which environment variable holds the key.
"""

import os
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from repertory.errors import ConfigError
from repertory.store.ledger import MOST

VariableName: TypeAlias = Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")]


class Table(BaseModel):
    """A table of the configuration: what it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LMLimits(Table):
    """How hard an endpoint may be used.

    Attributes:
        requests_per_minute: Most requests sent in any minute; None: no limit.
        tokens_per_minute: Most tokens, asked and answered, in a minute; None: no limit.
        concurrency: Most requests in flight; None: no limit (for ``local``: its slots).
        adaptive: Whether fewer are in flight while the endpoint shows that it has too much to do.
        waiting: Most calls that wait for their turn; more are refused.
    """

    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    concurrency: int | None = Field(default=None, ge=1)
    adaptive: bool = True
    waiting: int = Field(default=10_000, ge=0)


class LMBreaker(Table):
    """When an endpoint's circuit opens; see ``repertory.providers.breaker.BreakerSettings``."""

    window_calls: int = Field(default=20, ge=1)
    window_seconds: float = Field(default=120.0, gt=0)
    minimum_volume: int = Field(default=5, ge=1)
    failure_rate: float = Field(default=0.5, gt=0, le=1)
    slow_seconds: float | None = Field(default=None, gt=0)
    slow_rate: float = Field(default=0.8, gt=0, le=1)
    open_seconds: float = Field(default=1.0, gt=0)
    open_seconds_cap: float = Field(default=30.0, gt=0)
    probes: int = Field(default=1, ge=1)


class LMPrice(Table):
    """Dollars per million tokens, for models whose price nobody has published or that were bargained for.

    Attributes:
        cache_read: Of input read from the provider's cache; None: as other input.
        cache_write: Of input written to it; None: as other input.
    """

    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)
    cache_read: Decimal | None = Field(default=None, ge=0)
    cache_write: Decimal | None = Field(default=None, ge=0)


class LMBudget(Table):
    """What bounds the calls of an endpoint where accounts pay for them.

    Attributes:
        max_tokens: What a reply is cut at where its caller sets no bound.
        media_tokens: Most tokens of one ``image``, ``audio`` or ``file``.
        call_cap: Dollars that one attempt surely costs at most, where that cannot be worked out.
    """

    max_tokens: int | None = Field(default=None, ge=1)
    media_tokens: dict[Literal["image", "audio", "file"], Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict
    )
    call_cap: Decimal | None = Field(default=None, ge=0)


class LMTransport(Table):
    """How an endpoint is reached; see ``repertory.providers.transport_settings.TransportSettings``."""

    ca_file: Path | None = None
    verify: bool = True
    client_certificate: Path | None = None
    client_key: Path | None = None
    client_key_password_env: VariableName = ""
    proxy: str = ""
    proxy_login_env: VariableName = ""
    headers: dict[str, str] = Field(default_factory=dict)
    header_envs: dict[str, VariableName] = Field(default_factory=dict)
    keep_alive: float = Field(default=15.0, gt=0)
    max_body: int = Field(default=16 * 2**20, ge=1)
    dns_ttl: float = Field(default=60.0, gt=0)


class LMConfig(Table):
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
        first_token_timeout: Seconds until a stream brings something; None leaves it to ``timeout``.
        next_token_timeout: Seconds from one piece of a stream to the next; None leaves it to ``timeout``.
        connect_timeout: Seconds to open a connection.
        attempts: Most attempts of a call, the first included.
        retry_share: Most attempts that are retries, as a share of the calls.
        context_window: Most tokens it reads; None is what is known of the model.
        price: What it costs; None is what is known of the model.
        budget: What bounds its calls where accounts pay for them.
        threads: ``local`` only: threads that compute; None is as many as there are processors, at most 4.
        parallel: ``local`` only: requests answered at the same time.
        context: ``local`` only: tokens of context, shared by these.
    """

    model: str
    base_url: str | None = None
    api_key_env: VariableName | None = None
    structured_output: bool = True
    timeout: float = Field(default=60.0, gt=0)
    first_token_timeout: float | None = Field(default=None, gt=0)
    next_token_timeout: float | None = Field(default=None, gt=0)
    connect_timeout: float = Field(default=10.0, gt=0)
    attempts: int = Field(default=3, ge=1)
    retry_share: float = Field(default=0.1, ge=0, le=1)
    limits: LMLimits = LMLimits()
    breaker: LMBreaker = LMBreaker()
    transport: LMTransport = LMTransport()
    context_window: int | None = Field(default=None, ge=1)
    price: LMPrice | None = None
    budget: LMBudget = LMBudget()
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


class RouteConfig(Table):
    """A route over language models: one name for several.

    Attributes:
        of: Their names, the first choice first.
        policy: By what the one to ask is chosen; see docs/routes.md.
        weights: For ``weighted``: each one's part of the calls.
        hedge: Whether a second one is asked where the first takes unusually long.
        share: The part of the time left that one may use while another stands behind it.
    """

    of: tuple[str, ...] = Field(min_length=1)
    policy: Literal["fallback", "weighted", "least_latency", "cheapest"] = "fallback"
    weights: dict[str, int] = Field(default_factory=dict)
    hedge: bool = False
    share: float = Field(default=1.0, gt=0, le=1)


class CacheConfig(Table):
    """Whether answers are given again.

    Attributes:
        enabled: Off: every call asks.
        megabytes: Of answers kept in memory.
        ttl: Seconds an answer is fresh.
        stale_for: Seconds after that in which it will do where no endpoint answers and the caller allows it.
        stored: Whether answers are kept in the store as well.
    """

    enabled: bool = False
    megabytes: float = Field(default=64.0, gt=0)
    ttl: float = Field(default=86_400.0, gt=0)
    stale_for: float = Field(default=604_800.0, ge=0)
    stored: bool = True


class BudgetConfig(Table):
    """What an account may spend.

    Attributes:
        dollars: None: any amount.
        tokens: None: any number.
    """

    dollars: Decimal | None = Field(default=None, ge=0, le=10**9)
    tokens: int | None = Field(default=None, ge=0, le=MOST)
