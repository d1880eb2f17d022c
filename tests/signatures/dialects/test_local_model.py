"""The packaged model's server makes a grammar of every schema of the llama.cpp dialect."""

from random import Random

import pytest

from repertory.clock import SystemClock
from repertory.errors import LMError
from repertory.events import Hooks
from repertory.providers.endpoint import Endpoint
from repertory.providers.local import LocalModelSettings, LocalServerProcess, endpoint_settings
from repertory.providers.messages import LMRequest, Message
from tests.signatures.dialects.outputs import ALL, compiled

START = 60  # seconds: generous, for machines busy with other tests


@pytest.mark.local_model
async def test_the_packaged_models_server_takes_every_schema() -> None:
    settings = LocalModelSettings(threads=1)
    process = LocalServerProcess(settings)
    url = await process.start(timeout=START)
    endpoint = Endpoint(
        endpoint_settings(settings, lambda: url), clock=SystemClock(), hooks=Hooks(), rng=Random(1)
    )
    refused: dict[str, str] = {}
    schemas = {name: compiled(kind).provider_schema("llama_cpp").schema for name, kind in ALL.items()}
    schemas["none such"] = {"type": "object", "properties": {"answer": {"type": "none such"}}}
    try:
        for name, schema in schemas.items():
            request = LMRequest(
                (Message("user", "Answer as JSON."),), response_schema=schema, temperature=0.0, max_tokens=3
            )
            try:
                reply = await endpoint.complete(request)
            except LMError as error:
                refused[name] = str(error)
            else:
                assert reply.text.lstrip().startswith(("{", "```json")), name  # it takes off a fence in the end
    finally:
        await endpoint.close()
        await process.stop(timeout=10)
    assert list(refused) == ["none such"], refused
