"""What can be asked over HTTP."""

from dataclasses import dataclass
from typing import Any

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from pydantic_core import to_jsonable_python

from repertory.modules import Predict
from repertory.runtime.config import ServerConfig
from repertory.runtime.deployment import Deployment
from repertory.runtime.execution import Run
from repertory.runtime.runtime import Runtime
from repertory.server.cutoff import Cutoff
from repertory.server.problems import retry_after
from repertory.server.reading import json_response, read_inputs, read_timeout
from repertory.server.run_api import check_inputs, check_journal, started
from repertory.server.terms import check_accounts, read_terms


@dataclass(frozen=True, slots=True)
class Api:
    """The handlers.

    Args:
        registry: What ``/metrics`` shows.
        requests: Announced, it makes the service unready; cut, it ends the predictions under way with 503.
    """

    runtime: Runtime
    config: ServerConfig
    registry: CollectorRegistry
    requests: Cutoff

    def routes(self) -> list[web.RouteDef]:
        """Every path and what answers it."""
        return [
            web.get("/v1/programs", self.list_programs),
            web.post("/v1/programs/{name}/predict", self.predict),
            web.get("/health/live", self.live),
            web.get("/health/ready", self.ready),
            web.get("/metrics", self.metrics),
        ]

    async def predict(self, request: web.Request) -> web.Response:
        """Run a program once. A client that leaves takes its run along."""
        deployment = started(self.runtime, request.match_info["name"])
        timeout, asked = read_timeout(request, self.config.request_timeout), read_terms(request)
        async with self.requests.covering():
            inputs = await read_inputs(request, timeout)
            await check_accounts(asked.terms.accounts, self.runtime.ledger)
            check_inputs(deployment.current, inputs)
            if asked.key is not None:
                check_journal(self.runtime)
            run = await deployment.run(
                inputs,
                key=asked.key,
                timeout=timeout,
                terms=asked.terms,
                trace=asked.trace,
                tags=asked.tags,
                budget=asked.budget,
            )
        return json_response(_described_run(run))

    async def list_programs(self, _: web.Request) -> web.Response:
        """The programs, with JSON Schemas of what goes in and comes out."""
        programs = [_described_program(deployment.current) for deployment in self.runtime.deployments.values()]
        return json_response({"programs": programs})

    async def live(self, _: web.Request) -> web.Response:
        """Whether the process answers at all; if not, it wants to be restarted."""
        return json_response({"status": "live"})

    async def ready(self, _: web.Request) -> web.Response:
        """Whether requests should be sent here."""
        if self.requests.announced:
            return _unavailable("the service is draining: it finishes what is under way and stops")
        if (journal := self.runtime.journal) is not None:
            # Where no requests are sent any more, none can show that it is well again.
            await journal.writes.probe()
        if obstacles := self.runtime.obstacles():
            return _unavailable(*obstacles)
        return json_response({"status": "ready"})

    async def metrics(self, request: web.Request) -> web.Response:
        """The metrics in Prometheus' text format, or OpenMetrics if asked for."""
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=encode(self.registry), headers={hdrs.CONTENT_TYPE: content_type})


def _described_run(run: Run) -> dict[str, Any]:
    prediction = run.prediction
    usage = prediction.usage
    return {
        "id": run.id,
        "outputs": to_jsonable_python(prediction.outputs),
        "usage": {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens},
        "lm_calls": prediction.lm_calls,
        "latency_ms": round(run.seconds * 1000, 3),
    }


def _described_program(deployment: Deployment) -> dict[str, Any]:
    # Only of a single predictor is it known before the run what comes out.
    outputs = deployment.compiled.output_schema if isinstance(deployment.program, Predict) else {"type": "object"}
    return {"name": deployment.name, "inputs": deployment.compiled.input_schema, "outputs": outputs}


def _unavailable(*reasons: str) -> web.Response:
    return json_response({"status": "unavailable", "reasons": reasons}, status=503, headers=retry_after(None))
