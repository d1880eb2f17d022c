"""What can be asked over HTTP about runs: submitting one, looking at it, saying something to it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from repertory.errors import InputError, KeyReused, ProgramChanged, ProgramError, WrongRunState
from repertory.runtime.config import ServerConfig
from repertory.runtime.deployment import Deployment
from repertory.runtime.run_handle import RunHandle
from repertory.runtime.run_log import RunEvent
from repertory.runtime.runtime import Runtime
from repertory.server.cutoff import Cutoff
from repertory.server.problems import Problem, input_problem
from repertory.server.reading import (
    asked_timeout,
    json_response,
    read_choice,
    read_inputs,
    read_number,
    read_value,
)
from repertory.server.run_json import described_events, described_run, described_step, run_line
from repertory.server.terms import LONGEST, check_accounts, read_terms

STATUSES: Final = ("accepted", "ok", "failed", "cancelled", "held")
PAGE: Final = 100  # runs, steps or events in an answer, if the client does not say
MOST: Final = 256  # of them in one answer


class Fork(BaseModel):
    """The body of a request for a fork."""

    model_config = ConfigDict(extra="forbid", strict=True)

    step: int = Field(default=0, ge=0)
    inputs: dict[str, Any] = Field(default_factory=dict)
    key: str | None = Field(default=None, min_length=1, max_length=LONGEST)


@dataclass(frozen=True, slots=True)
class RunApi:
    """The handlers.

    Args:
        requests: Announced, no run is begun any more; cut, those who wait for events are answered 503.
    """

    runtime: Runtime
    config: ServerConfig
    requests: Cutoff

    def routes(self) -> list[web.RouteDef]:
        """Every path and what answers it."""
        return [
            web.post("/v1/programs/{name}/runs", self.submit),
            web.get("/v1/runs", self.list_runs),
            web.get("/v1/runs/{id}", self.show),
            web.get("/v1/runs/{id}/steps", self.steps),
            web.get("/v1/runs/{id}/events", self.events),
            web.post("/v1/runs/{id}/cancel", self.cancel),
            web.post("/v1/runs/{id}/retry", self.retry),
            web.post("/v1/runs/{id}/signals/{name}", self.signal),
            web.post("/v1/runs/{id}/fork", self.fork),
        ]

    async def submit(self, request: web.Request) -> web.Response:
        """Have a run done, whoever waits for it; answered when it is on disk."""
        deployment = started(self.runtime, request.match_info["name"])
        asked, timeout = read_terms(request), asked_timeout(request)
        async with self._changing():
            inputs = await read_inputs(request, self.config.request_timeout)
            await check_accounts(asked.terms.accounts, self.runtime.ledger)
            check_inputs(deployment.current, inputs)
            run = await self.runtime.submit(
                deployment,
                inputs,
                key=asked.key,
                timeout=timeout,
                terms=asked.terms,
                trace=asked.trace,
                tags=asked.tags,
                budget=asked.budget,
            )
            return await self._shown(run)

    async def list_runs(self, request: web.Request) -> web.Response:
        """Runs, the latest first, without what they were given and gave."""
        status = read_choice(request, "status", STATUSES)
        limit = read_number(request, "limit", PAGE, least=1, most=MOST)
        program, before = request.query.get("program"), request.query.get("before")
        runs = await self.runtime.runs.latest(program, status, limit + 1, before=before)
        return json_response({"runs": [run_line(run) for run in runs[:limit]], "more": len(runs) > limit})

    async def show(self, request: web.Request) -> web.Response:
        """The state of a run."""
        return json_response(described_run(await self.runtime.runs.status(request.match_info["id"])))

    async def steps(self, request: web.Request) -> web.Response:
        """The steps of a run that have ended, in the order in which they did."""
        after = read_number(request, "after", -1, least=-1)
        limit = read_number(request, "limit", PAGE, least=1, most=MOST)
        steps = await self.runtime.runs.steps(request.match_info["id"], after + 1, limit + 1)
        page = [described_step(step) for step in steps[:limit]]
        return json_response({"steps": page, "more": len(steps) > limit})

    async def events(self, request: web.Request) -> web.Response:
        """A page of a run's events; where there are none yet, it is waited for the first."""
        id, after = request.match_info["id"], read_number(request, "after", 0)
        limit = read_number(request, "limit", PAGE, least=1, most=MOST)
        wait = min(read_number(request, "wait", 0), self.config.request_timeout)
        async with self.requests.covering():
            ended = (await self.runtime.runs.status(id)).ended  # before the page: what it lacks may yet come
            page = await self.runtime.runs.page(id, after, limit)
            if not page and not ended and wait:
                await self._news(id, after, wait)
                ended = (await self.runtime.runs.status(id)).ended
                page = await self.runtime.runs.page(id, after, limit)
        return json_response(_described_page(page, after, ended=ended and len(page) < limit))

    async def cancel(self, request: web.Request) -> web.Response:
        """Ask a run to stop, wherever it is executed."""
        run = await self.runtime.find_run(request.match_info["id"])
        await read_value(request, self.config.request_timeout)
        await run.cancel()
        return await self._shown(run)

    async def signal(self, request: web.Request) -> web.Response:
        """Send a run a signal, wherever it is executed; answered when that is on disk."""
        run = await self.runtime.find_run(request.match_info["id"])
        name = request.match_info["name"]
        if not (len(name) <= LONGEST and name.isprintable()):
            detail = "a signal's name has up to 200 printable characters"
            raise Problem(422, "signal_invalid", "The signal cannot be sent", detail, field="name")
        await run.signal(name, await read_value(request, self.config.request_timeout))
        return await self._shown(run)

    async def retry(self, request: web.Request) -> web.Response:
        """Go on with a run from where it failed, was cancelled or is held."""
        async with self._changing():
            run = await self.runtime.find_run(request.match_info["id"])
            await read_value(request, self.config.request_timeout)
            timeout = asked_timeout(request)
            with _refusing():
                await run.retry(timeout=timeout)
            return await self._shown(run)

    async def fork(self, request: web.Request) -> web.Response:
        """Begin a run that has the first steps of another one."""
        async with self._changing():
            run = await self.runtime.find_run(request.match_info["id"])
            try:
                asked = Fork.model_validate(await read_inputs(request, self.config.request_timeout))
            except ValidationError as error:
                raise _unfit(error) from None
            with _refusing():
                fork = await run.fork(asked.step, inputs=asked.inputs, key=asked.key)
            return await self._shown(fork)

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """Around what has this process do work. Raises RuntimeClosed once it takes no more."""
        async with self.requests.covering():
            with self.runtime.working():
                check_journal(self.runtime)
                yield

    async def _news(self, id: str, after: int, wait: float) -> None:
        """Return when there is an event beyond number ``after``, or after ``wait`` seconds."""
        try:
            async with asyncio.timeout(wait), aclosing(self.runtime.runs.events(id, after)) as events:
                await anext(events, None)
        except TimeoutError:
            return

    async def _shown(self, run: RunHandle) -> web.Response:
        """The state of ``run``: 202 while it is to be done, 200 where it has its outcome."""
        status = await run.status()
        location = {str(hdrs.LOCATION): f"/v1/runs/{run.id}"}
        return json_response(described_run(status), status=200 if status.ended else 202, headers=location)


def started(runtime: Runtime, name: str) -> Deployment:
    """The program that is served under this name. Raises Problem."""
    deployments = runtime.deployments
    if name not in deployments:
        raise Problem(
            404,
            "program_unknown",
            "There is no such program",
            f"there is no program {name!r}",
            hint=f"There are: {', '.join(deployments)}.",
        )
    return deployments[name]


def check_journal(runtime: Runtime) -> None:
    """Raise Problem if a run would be forgotten with the process, or whenever it ends."""
    if runtime.journal is None:
        raise Problem(
            501,
            "journal_off",
            "The service keeps no runs",
            "the service is configured without a journal: nothing would remember the run",
            hint="Predict without a key, or have its operator write: journal = true",
        )


def check_inputs(deployment: Deployment, inputs: dict[str, Any]) -> None:
    """Raise Problem if the inputs do not fit: an InputError that comes out of a run is the program's own."""
    compiled = deployment.compiled
    try:
        values = compiled.validate_inputs(inputs)
        compiled.dump_inputs(values)  # can the journal and the prompt hold them?
    except InputError as error:
        raise input_problem(error) from None


@contextmanager
def _refusing() -> Iterator[None]:
    """Tell the client why a run cannot be gone on with, where that is the program's doing."""
    try:
        yield
    except (KeyReused, WrongRunState, ProgramChanged):
        raise  # known by themselves
    except InputError as error:
        raise input_problem(error) from None
    except ProgramError as error:
        title = "The program cannot go on with the run"
        raise Problem(409, error.code, title, error.message, hint=error.hint) from None


def _described_page(page: list[RunEvent], after: int, *, ended: bool) -> dict[str, Any]:
    last = page[-1].id if page else after
    return {"events": described_events(page), "last": last, "ended": ended}


def _unfit(error: ValidationError) -> Problem:
    fault = error.errors(include_url=False)[0]
    field = ".".join(str(step) for step in fault["loc"])
    detail = f"{field}: {fault['msg']}"
    hint = 'Write: {"step": 2, "inputs": {}, "key": "a-new-one"}, or less.'
    return Problem(422, "fork_invalid", "The run cannot be forked like this", detail, hint=hint, field=field)
