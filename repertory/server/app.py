"""The web application: handlers, and what happens around each of them."""

from typing import Final
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry

from repertory.runtime.config import ServerConfig
from repertory.runtime.runtime import Runtime
from repertory.server.api import Api
from repertory.server.auth import make_guard
from repertory.server.cutoff import Cutoff
from repertory.server.events import RequestServed
from repertory.server.problems import ON_EVERY_ANSWER, answer
from repertory.server.run_api import RunApi

CLIENT_LEFT: Final = 499  # nginx' word for it; nobody receives it
QUIET_PATHS: Final = frozenset({"/health/live", "/health/ready", "/metrics", "/v1/tree", "/v1/endpoints"})


def make_app(
    runtime: Runtime, config: ServerConfig, registry: CollectorRegistry, requests: Cutoff | None = None
) -> web.Application:
    """The application that serves what is deployed on ``runtime``.

    Run it with ``web.AppRunner(app, handler_cancellation=True)``: a client that leaves then takes its run along.

    Args:
        registry: What ``/metrics`` shows.
        requests: Lets the owner announce its end, and end the predictions under way.

    Raises ConfigError if there is no API key to ask for, or none is asked for on a host others can reach.
    """
    requests = requests or Cutoff()
    app = web.Application(
        middlewares=[observing(runtime, requests), make_guard(config)],
        client_max_size=config.max_body_bytes,
    )
    app.add_routes(Api(runtime, config, registry, requests).routes())
    app.add_routes(RunApi(runtime, config, requests).routes())
    return app


def observing(runtime: Runtime, requests: Cutoff) -> Middleware:
    """The outermost middleware: numbers a request, sees that it is answered, tells the hooks how it went."""

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = runtime.clock.monotonic()
        request_id = uuid4().hex
        status = CLIENT_LEFT
        try:
            response = await answer(request, handler, request_id, runtime.hooks)
            status = response.status
        finally:
            path = request.rel_url.raw_path
            if (hooks := runtime.hooks) and not (status == 200 and path in QUIET_PATHS):
                seconds = runtime.clock.monotonic() - started
                hooks.emit(RequestServed(request_id, request.method, path[:200], status, seconds))
        response.headers.update(ON_EVERY_ANSWER)
        response.headers["X-Request-Id"] = request_id
        if requests.announced:
            response.force_close()
        return response

    return observe
