"""The language models of a runtime: from configuration to endpoints and routes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from repertory.clock import Clock
from repertory.errors import ConfigError
from repertory.events import Hooks
from repertory.providers.breaker import BreakerSettings
from repertory.providers.budget import BudgetSettings
from repertory.providers.cache import ReplyCache
from repertory.providers.catalog import PROVIDERS, provider_named
from repertory.providers.endpoint import Endpoint
from repertory.providers.limits import LimitSettings
from repertory.providers.local import LocalModelSettings, command, endpoint_settings
from repertory.providers.policies import Cheapest, Fallback, Hedged, LeastLatency, Policy, Weighted
from repertory.providers.prices import Price, known_model
from repertory.providers.route import Route
from repertory.providers.settings import EndpointSettings
from repertory.providers.transport_settings import TransportSettings
from repertory.runtime.lm_config import LMConfig, RouteConfig
from repertory.runtime.local_model import START_TIMEOUT, STOP_TIMEOUT, LocalModel, ServerAddress
from repertory.store import Ledger
from repertory.supervisors import ChildSpec


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the endpoints and routes of a runtime share."""

    clock: Clock
    hooks: Hooks
    rng: Random
    cache: ReplyCache | None
    ledger: Ledger


def make_endpoint(name: str, config: LMConfig, around: Surroundings) -> tuple[Endpoint, ChildSpec | None]:
    """The endpoint of a configured model, and the child that must run for it, if any.

    Raises ConfigError naming the setting and the remedy.
    """
    child: ChildSpec | None = None
    try:
        if config.provider == "local":
            settings, child = _local(name, config)
        else:
            settings = _remote(name, config, around.clock)
        endpoint = Endpoint(
            settings,
            clock=around.clock,
            hooks=around.hooks,
            rng=around.rng,
            cache=around.cache,
            ledger=around.ledger,
        )
    except ConfigError as error:
        if error.message.startswith(f"lm.{name}."):
            raise
        raise ConfigError(f"lm.{name}: {error.message}", hint=error.hint) from None
    return endpoint, child


def make_route(name: str, config: RouteConfig, endpoints: Mapping[str, Endpoint], around: Surroundings) -> Route:
    """The route of this name over some of ``endpoints``. Raises ConfigError naming the setting and the remedy."""
    for each in config.of:
        if each not in endpoints:
            raise ConfigError(
                f"route.{name}.of: there is no language model {each!r}",
                hint=f"There are: {', '.join(endpoints)}. Add one: [lm.{each}]",
            )
    candidates = [endpoints[each] for each in config.of]
    try:
        return Route(
            *(name, candidates, _policy(config)),
            clock=around.clock,
            hooks=around.hooks,
            rng=around.rng,
            share=config.share,
        )
    except ConfigError as error:
        raise ConfigError(f"route.{name}: {error.message}", hint=error.hint) from None


def _policy(config: RouteConfig) -> Policy:
    if config.weights and config.policy != "weighted":
        raise ConfigError(
            f"weights are given, but policy = {config.policy!r}",
            hint='Write: policy = "weighted", or leave them out.',
        )
    policy: Policy
    match config.policy:
        case "fallback":
            policy = Fallback()
        case "weighted":
            policy = Weighted(config.weights)
        case "least_latency":
            policy = LeastLatency()
        case "cheapest":
            policy = Cheapest()
    return Hedged(policy) if config.hedge else policy


def _local(name: str, config: LMConfig) -> tuple[EndpointSettings, ChildSpec]:
    address = ServerAddress()
    _, slash, path = config.model.partition("/")
    local = LocalModelSettings(
        model_path=Path(path) if slash else None,
        threads=config.threads,
        parallel=config.parallel,
        context=config.context,
    )
    command(local)  # says now, in one line, what is not installed
    settings = _treated(endpoint_settings(local, address, name=name), config)
    settings = replace(
        settings,
        model=config.model,  # its server takes any name; the cache tells models by it
        schema_dialect="llama_cpp" if config.structured_output else None,
        quirks=replace(settings.quirks, constrains="json_schema" if config.structured_output else None),
        # More than its slots would queue inside the server, out of the deadlines' reach.
        limits=replace(
            settings.limits, max_concurrency=min(config.parallel, config.limits.concurrency or config.parallel)
        ),
        context_window=config.context_window or config.context,
    )
    child = ChildSpec(
        id=name,
        start=lambda: LocalModel(name, local, address),
        start_timeout=START_TIMEOUT,
        shutdown=2 * STOP_TIMEOUT,
    )
    return settings, child


def _remote(name: str, config: LMConfig, clock: Clock) -> EndpointSettings:
    _, _, model = config.model.partition("/")
    provider = provider_named(config.provider, elsewhere=config.base_url is not None)
    if provider is None:
        raise ConfigError(
            f"lm.{name}.model = {config.model!r}: unknown provider {config.provider!r}",
            hint=f"Write local, local/PATH.gguf, or PROVIDER/NAME with one of: {', '.join(PROVIDERS)}.",
        )
    if not model:
        raise ConfigError(
            f"lm.{name}.model = {config.model!r} names no model", hint=f"Write {config.provider}/NAME."
        )
    base_url = config.base_url or provider.base_url
    if base_url is None:
        raise ConfigError(
            f"lm.{name}.base_url is missing, and nobody else knows where {config.provider} is",
            hint=f'Write: [lm.{name}] base_url = "https://.../v1"',
        )
    key_env = provider.api_key_env if config.api_key_env is None else config.api_key_env
    # Whoever serves a provider's models elsewhere has prices of its own.
    priced_as = config.provider if config.base_url is None else ""
    known = known_model(priced_as, model, datetime.fromtimestamp(clock.time(), UTC)) if priced_as else None
    settings = EndpointSettings(
        name=name,
        model=model,
        base_url=base_url,
        api_key=config.api_key(key_env),
        api_key_env=key_env,
        schema_dialect=provider.schema_dialect if config.structured_output else None,
        protocol=provider.protocol,
        quirks=provider.quirks if config.structured_output else replace(provider.quirks, constrains=None),
        provider=priced_as,
        context_window=config.context_window or (known.context_window if known is not None else None),
    )
    return _treated(settings, config)


def _treated(settings: EndpointSettings, config: LMConfig) -> EndpointSettings:
    """``settings`` with what the configuration says of any endpoint."""
    limits, price = config.limits, config.price
    return replace(
        settings,
        timeout=config.timeout,
        first_token_timeout=config.first_token_timeout,
        next_token_timeout=config.next_token_timeout,
        attempts=config.attempts,
        retry_share=config.retry_share,
        breaker=BreakerSettings(**config.breaker.model_dump()),
        limits=LimitSettings(
            max_concurrency=limits.concurrency,
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
            adaptive=limits.adaptive,
            max_waiting=limits.waiting,
        ),
        transport=TransportSettings(**config.transport.model_dump(), connect_timeout=config.connect_timeout),
        budget=BudgetSettings(
            price=Price.flat(**price.model_dump()) if price is not None else None, **config.budget.model_dump()
        ),
    )
