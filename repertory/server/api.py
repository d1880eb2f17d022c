"""What can be asked over HTTP."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from pydantic_core import to_jsonable_python

from repertory.errors import InputError
from repertory.modules import Predict
from repertory.runtime.config import ServerConfig
from repertory.runtime.deployment import Deployment
from repertory.runtime.execution import Run
from repertory.runtime.runtime import Runtime
from repertory.server.cutoff import Cutoff
from repertory.server.problems import Problem, input_problem, retry_after
from repertory.server.reading import read_inputs, read_timeout
from repertory.signatures.json_text import dump_json


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
        deployment = self._deployment(request.match_info["name"])
        timeout = read_timeout(request, self.config.request_timeout)
        async with self.requests.covering():
            inputs = await read_inputs(request, timeout)
            try:
                values = deployment.compiled.validate_inputs(inputs)
                deployment.compiled.dump_inputs(values)  # can the journal and the prompt hold them?
            except InputError as error:
                # Only here: one that comes out of the run is the program's mistake, not the client's.
                raise input_problem(error) from None
            run = await deployment.resume(values, uuid4().hex, None, timeout=timeout)
        return _json(_described_run(run))

    async def list_programs(self, _: web.Request) -> web.Response:
        """The programs, with JSON Schemas of what goes in and comes out."""
        programs = [_described_program(deployment.current) for deployment in self.runtime.deployments.values()]
        return _json({"programs": programs})

    async def live(self, _: web.Request) -> web.Response:
        """Whether the process answers at all; if not, it wants to be restarted."""
        return _json({"status": "live"})

    async def ready(self, _: web.Request) -> web.Response:
        """Whether requests should be sent here."""
        if self.requests.announced:
            return _unavailable("the service is draining: it finishes what is under way and stops")
        if (journal := self.runtime.journal) is not None:
            # Where no requests are sent any more, none can show that it is well again.
            await journal.writes.probe()
        if obstacles := self.runtime.obstacles():
            return _unavailable(*obstacles)
        return _json({"status": "ready"})

    async def metrics(self, request: web.Request) -> web.Response:
        """The metrics in Prometheus' text format, or OpenMetrics if asked for."""
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=encode(self.registry), headers={hdrs.CONTENT_TYPE: content_type})

    def _deployment(self, name: str) -> Deployment:
        deployments = self.runtime.deployments
        if name not in deployments:
            raise Problem(
                404,
                "program_unknown",
                "There is no such program",
                f"there is no program {name!r}",
                hint=f"There are: {', '.join(deployments)}.",
            )
        return deployments[name]


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
    return _json({"status": "unavailable", "reasons": reasons}, status=503, headers=retry_after(None))


def _json(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    body = dump_json(value)
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
