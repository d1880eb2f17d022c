"""What an operator on the same machine can ask through the admin socket. File permissions decide who may."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web

from repertory import __version__
from repertory.actors.info import ActorInfo
from repertory.providers.breaker_memory import Forced
from repertory.runtime.activity import activity_of
from repertory.runtime.runtime import Runtime
from repertory.server.admin_socket import reserved
from repertory.server.app import observing
from repertory.server.connections import Bounds
from repertory.server.cutoff import Cutoff
from repertory.server.listening import make_runner
from repertory.server.problems import Problem
from repertory.server.run_api import RunApi
from repertory.signatures.json_text import dump_json

TREE: Final = "/v1/tree"
ENDPOINTS: Final = "/v1/endpoints"
CIRCUIT: Final = "/v1/endpoints/{name}/circuit/{state:open|closed|auto}"
RETRY: Final = "/v1/runs/{id}/retry"
FORCED: Final[Mapping[str, Forced | None]] = MappingProxyType({"open": "open", "closed": "closed", "auto": None})
OPERATORS: Final = 16  # connections at a time
LONGEST_ERROR: Final = 200  # characters


@asynccontextmanager
async def administered(runtime: Runtime) -> AsyncIterator[Path | None]:
    """Answer at the configured admin socket meanwhile; its path, None if there is none. Raises ConfigError."""
    path = runtime.config.admin_socket
    if path is None:
        yield None
        return
    with reserved(path) as bound:
        runner = make_runner(make_admin_app(runtime), runtime.hooks, Bounds(connections=OPERATORS))
        await runner.setup()
        try:
            await web.SockSite(runner, bound).start()
            yield path.absolute()
        finally:
            await runner.cleanup()


def make_admin_app(runtime: Runtime) -> web.Application:
    """The application behind the admin socket. It asks no actor anything, so it answers however busy they are."""

    async def tree(_: web.Request) -> web.Response:
        actors = [described(info) for info in runtime.tree()]
        failure = runtime.journal.writes.failure if runtime.journal is not None else None
        body = {
            "version": __version__,
            "pid": os.getpid(),
            "journal_failure": shortened(failure) if failure is not None else None,
            "circuits": [
                {"endpoint": each.name, "state": each.circuit.state, "open_for": each.circuit.open_for}
                for each in runtime.endpoints()
            ],
            "runs": [asdict(each) for each in activity_of(runtime)],
            "steps": asdict(runtime.stage.snapshot()),
            "actors": actors,
        }
        return web.Response(body=dump_json(body), content_type="application/json")

    async def endpoints(_: web.Request) -> web.Response:
        described = [asdict(each) for each in runtime.endpoints()]
        body = {"version": __version__, "pid": os.getpid(), "endpoints": described}
        return web.Response(body=dump_json(body), content_type="application/json")

    async def force_circuit(request: web.Request) -> web.Response:
        name, state = request.match_info["name"], request.match_info["state"]
        if name not in {each.name for each in runtime.endpoints()}:
            detail = f"there is no endpoint of this name: {name}"
            hint = "repertory ps --endpoints shows those there are."
            raise Problem(404, "endpoint_unknown", "There is no such endpoint", detail, hint=hint)
        runtime.force_circuit(name, FORCED[state])
        return await endpoints(request)

    requests = Cutoff()
    runs = RunApi(runtime, runtime.config.server, requests)
    app = web.Application(middlewares=[observing(runtime, requests)])
    app.add_routes([web.get(TREE, tree), web.get(ENDPOINTS, endpoints), web.post(CIRCUIT, force_circuit)])
    app.add_routes([web.post(RETRY, runs.retry)])
    return app


def described(info: ActorInfo) -> dict[str, Any]:
    """``info`` as JSON has it, with its error cut short."""
    mailbox = info.mailbox
    return {
        "path": info.path,
        "kind": info.kind,
        "state": info.state,
        "incarnation": info.incarnation,
        "restarts": info.restarts,
        "age": info.age,
        "mailbox": {
            "depth": mailbox.depth,
            "high_water": mailbox.high_water,
            "waits": mailbox.waits,
            "drops": mailbox.drops,
        },
        "handling": info.handling,
        "last_error": shortened(info.last_error) if info.last_error is not None else None,
        "children": [described(child) for child in info.children],
    }


def shortened(error: str) -> str:
    """The first line of an error's text: what follows tends to quote the data that caused it."""
    line = next(iter(error.strip().splitlines()), "").encode(errors="replace").decode()
    return line if len(line) <= LONGEST_ERROR else f"{line[: LONGEST_ERROR - 1]}…"
