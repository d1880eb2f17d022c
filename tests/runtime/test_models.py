"""From configuration to endpoints: no setting is passed over."""

from random import Random

import pytest

from repertory.clock import SystemClock
from repertory.events import Hooks
from repertory.providers.settings import EndpointSettings
from repertory.runtime.lm_config import LMConfig, LMLimits
from repertory.runtime.models import make_endpoint


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
    endpoint, child = make_endpoint("m", config, clock=SystemClock(), hooks=Hooks(), rng=Random(0))
    settings: EndpointSettings = endpoint.settings
    assert (settings.name, settings.schema_dialect, settings.timeout) == ("m", None, 7)
    assert (settings.connect_timeout, settings.attempts) == (3, 2)
    assert (settings.requests_per_minute, settings.max_concurrency) == (5, 1)
    assert (child is not None) == (model == "local")
    await endpoint.close()
