"""The language models of a runtime: from configuration to endpoints."""

from dataclasses import replace
from pathlib import Path
from random import Random

from repertory.clock import Clock
from repertory.errors import ConfigError
from repertory.events import Hooks
from repertory.providers.catalog import PROVIDERS, provider_named
from repertory.providers.endpoint import Endpoint
from repertory.providers.local import QUIRKS, LocalModelSettings, command, endpoint_settings
from repertory.providers.settings import EndpointSettings
from repertory.runtime.config import LMConfig
from repertory.runtime.local_model import START_TIMEOUT, STOP_TIMEOUT, LocalModel, ServerAddress
from repertory.supervisors import ChildSpec


def make_endpoint(
    name: str, config: LMConfig, *, clock: Clock, hooks: Hooks, rng: Random
) -> tuple[Endpoint, ChildSpec | None]:
    """The endpoint of a configured model, and the child that must run for it, if any.

    Raises ConfigError naming the setting and the remedy.
    """
    match config.provider:
        case "local":
            address = ServerAddress()
            local = _local_settings(config)
            command(local)  # says now, in one line, what is not installed
            settings = replace(
                endpoint_settings(local, address, name=name, timeout=config.timeout),
                schema_dialect="llama_cpp" if config.structured_output else None,
                quirks=replace(QUIRKS, constrains="json_schema" if config.structured_output else None),
                connect_timeout=config.connect_timeout,
                attempts=config.attempts,
                requests_per_minute=config.limits.requests_per_minute,
                # More than its slots would queue inside the server, out of the deadlines' reach.
                max_concurrency=min(config.parallel, config.limits.concurrency or config.parallel),
            )
            child = ChildSpec(
                id=name,
                start=lambda: LocalModel(name, local, address),
                start_timeout=START_TIMEOUT,
                shutdown=2 * STOP_TIMEOUT,
            )
            return Endpoint(settings, clock=clock, hooks=hooks, rng=rng), child
        case _:
            return Endpoint(_remote_settings(name, config), clock=clock, hooks=hooks, rng=rng), None


def _local_settings(config: LMConfig) -> LocalModelSettings:
    _, slash, path = config.model.partition("/")
    return LocalModelSettings(
        model_path=Path(path) if slash else None,
        threads=config.threads,
        parallel=config.parallel,
        context=config.context,
    )


def _remote_settings(name: str, config: LMConfig) -> EndpointSettings:
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
    return EndpointSettings(
        name=name,
        model=model,
        base_url=base_url,
        api_key=config.api_key(key_env),
        api_key_env=key_env,
        schema_dialect=provider.schema_dialect if config.structured_output else None,
        protocol=provider.protocol,
        quirks=provider.quirks if config.structured_output else replace(provider.quirks, constrains=None),
        timeout=config.timeout,
        connect_timeout=config.connect_timeout,
        attempts=config.attempts,
        requests_per_minute=config.limits.requests_per_minute,
        max_concurrency=config.limits.concurrency,
    )
