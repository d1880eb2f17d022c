"""What an endpoint is and how it is treated."""

import math
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import SecretStr

from repertory.errors import ConfigError
from repertory.providers import openai_chat
from repertory.providers.breaker import BreakerSettings
from repertory.providers.budget import BudgetSettings
from repertory.providers.limits import LimitSettings
from repertory.providers.messages import SchemaDialect
from repertory.providers.transport import BaseURL
from repertory.providers.transport_settings import TransportSettings
from repertory.providers.wire import Quirks, WireProtocol

POSITIVE = ("timeout", "first_token_timeout", "next_token_timeout", "attempts", "context_window")


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What an endpoint is and how it is treated.

    Args:
        name: What events, errors and metrics call it.
        model: The model's name at the provider.
        base_url: Where ``/chat/completions`` is appended, usually ending in ``/v1``; or a function that says so
            at each attempt, None while the endpoint is not up.
        api_key: Sent as a bearer token; None sends none.
        api_key_env: The environment variable the key came from, named in remedies.
        schema_dialect: The subset of JSON Schema it constrains replies with; None if it does not constrain them.
        protocol: What it speaks: a module such as ``openai_chat``.
        quirks: How it departs from that.
        timeout: Most seconds one attempt may take. A call's deadline bounds all of its attempts; a call without
            one has ``timeout * attempts``, waits included. A stream that goes on may take until then.
        first_token_timeout: Most seconds until a stream brings something; None leaves it to ``timeout``.
        next_token_timeout: Most seconds from one piece of a stream to the next; None leaves it to ``timeout``.
        attempts: Most attempts a call makes, the first included.
        retry_share: Most attempts that are retries, as a share of the calls.
        patience: An attempt cut off by its caller's deadline counts as a failure of the endpoint only if nobody
            had an answer from it for this many seconds: hurried callers must not shut out patient ones as long
            as anything is answered, and a dead endpoint must not hide behind hurried callers.
        breaker: When its circuit opens.
        limits: How much it is sent at a time and a minute.
        transport: How it is reached.
        provider: Whose prices and models apply: a name of ``catalog.PROVIDERS``; "" is nobody's.
        context_window: Most tokens of a request and its reply; None: nobody knows.
        budget: What its calls may cost those who pay.
    """

    name: str
    model: str
    base_url: BaseURL
    api_key: SecretStr | None = None
    api_key_env: str = ""
    schema_dialect: SchemaDialect | None = "openai_strict"
    protocol: WireProtocol = openai_chat
    quirks: Quirks = field(default_factory=Quirks)
    timeout: float = 60.0
    first_token_timeout: float | None = None
    next_token_timeout: float | None = None
    attempts: int = 3
    retry_share: float = 0.1
    patience: float = 10.0
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    transport: TransportSettings = field(default_factory=TransportSettings)
    provider: str = ""
    context_window: int | None = None
    budget: BudgetSettings = field(default_factory=BudgetSettings)

    def __post_init__(self) -> None:
        if isinstance(self.base_url, str):
            self._check_url(self.base_url)
        if self.api_key is not None:
            self._check_key(self.api_key.get_secret_value())
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"endpoint {self.name}: {name} = {value}: expected a number above 0")

    @property
    def identity(self) -> str:
        """What tells its answers from those of others: what it speaks, where it is and its model, no secret.

        Headers are part of where it is, since gateways go by them; of what it is, how replies are held to schemas.
        """
        where = self.base_url if isinstance(self.base_url, str) else self.name
        protocol = getattr(self.protocol, "__name__", type(self.protocol).__name__)
        transport = self.transport
        headers = [*sorted(transport.headers.items()), *sorted(transport.header_envs.items())]
        return " ".join(map(str, (protocol, where, self.model, self.quirks.constrains, *headers)))

    def _check_url(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # of the address or the port
            known = False
        if "@" in url:
            raise ConfigError(
                f"endpoint {self.name}: base_url holds a user name or password",
                hint="Give the secret as api_key: a URL shows up in logs.",
            )
        if "?" in url or "#" in url:
            raise ConfigError(
                f"endpoint {self.name}: base_url has a query or a fragment, behind which no path can be appended",
                hint="Leave it out. A key belongs into api_key, or a header of the transport's header_envs.",
            )
        if not known:
            raise ConfigError(
                f"endpoint {self.name}: base_url = {url!r}: expected http(s)://host[:port]/path",
                hint='For instance: base_url = "https://api.openai.com/v1"',
            )

    def _check_key(self, key: str) -> None:
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            source = self.api_key_env or "api_key"
            raise ConfigError(
                f"endpoint {self.name}: the API key in {source} is empty or has characters no key has",
                hint="Look for a line break or a space that was copied along.",
            )
