"""The daemon: from a configuration to a service, and back to nothing in good order."""

import asyncio
import gc
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector

from repertory.errors import ConfigError, RuntimeClosed
from repertory.events import Event
from repertory.modules import Module
from repertory.runtime.activity import ActivityMetrics
from repertory.runtime.config import RuntimeConfig
from repertory.runtime.loading import load_program
from repertory.runtime.program_config import options_of_modules
from repertory.runtime.runtime import Runtime
from repertory.runtime.telemetry import PrometheusHook, StructlogHook, make_logger
from repertory.server.admin import administered
from repertory.server.app import make_app
from repertory.server.cutoff import Cutoff
from repertory.server.events import LEVELS, DaemonFailed, DaemonStopped, Draining, Listening
from repertory.server.listening import listen, make_runner, reserve_port
from repertory.server.stopping import Stop

FAILED = 1  # exit code where the supervision tree gave up: a process manager starts the daemon again


async def serve(config: RuntimeConfig, source: str) -> int:
    """Serve the configured programs until SIGTERM or SIGINT; return the exit code.

    The first signal closes the port, makes the service unready, gives requests under way
    ``server.drain_timeout`` seconds and answers the rest 503; the code is 0. A second one ends at once, with 128
    and its number. The code is 1 if the supervision tree gives up.

    Args:
        source: What errors call the origin of ``config``, such as its file.

    Raises:
        ConfigError, ProgramError: Something is not as it must be; the model has not been started yet unless
            that is what cannot be started.
        StartFailed: A language model did not start.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    log = make_logger(config.log, sys.stderr)
    runtime = Runtime(
        config,
        hooks=[StructlogHook(log, LEVELS), PrometheusHook(registry)],
        timeout=config.server.request_timeout,
    )
    daemon = Daemon(runtime, load_programs(config, source), registry)
    stop = Stop()
    with stop.on_signals():
        return await daemon.run(stop)


def load_programs(config: RuntimeConfig, source: str) -> dict[str, Module]:
    """The configured programs by name. Raises ConfigError if there are none, ProgramError as `load_program`."""
    if not config.programs:
        raise ConfigError(
            f"{source}: there is no program to serve",
            hint='Write: [programs.NAME] and below it source = "path.py:name"',
        )
    return {name: load_program(program.source) for name, program in config.programs.items()}


class Daemon:
    """Serves programs on a runtime that is its own: it opens and closes it.

    Args:
        runtime: Not yet open; its configuration says where to listen and how each program is started.
        programs: What to serve, by the names it has there.
        registry: What ``/metrics`` shows.

    Raises ConfigError if the service may not be served as configured (see `make_app`), or a program not be run so.
    """

    def __init__(self, runtime: Runtime, programs: Mapping[str, Module], registry: CollectorRegistry) -> None:
        self._runtime = runtime
        self._programs = programs
        self._modules = {
            name: options_of_modules(name, runtime.config.programs[name], program)
            for name, program in programs.items()
        }
        self._config = runtime.config.server
        self._requests = Cutoff()
        registry.register(ActivityMetrics(runtime))
        self._app = make_app(runtime, self._config, registry, self._requests)

    async def run(self, stop: Stop) -> int:
        """Serve until ``stop`` is asked for or the supervision tree gives up; return the exit code."""
        async with AsyncExitStack() as stack:
            try:
                async with stop.starting.covering():
                    site = await self._start(stack)
            except RuntimeClosed:
                if not stop.asked.is_set():
                    raise
                drained = True
            else:
                if (failure := await self._stopped(stop)) is not None:
                    self._tell(DaemonFailed(failure))
                    return FAILED
                drained = await self._drain(site, stop)
        self._tell(DaemonStopped(drained))
        return stop.exit_code

    async def _start(self, stack: AsyncExitStack) -> web.SockSite:
        """Start everything, in the order in which mistakes are cheap to find; the port opens last."""
        bound = await reserve_port(self._config)
        stack.callback(bound.close)
        # Before the runtime, and after it at the end: a model that does not start is something to look at.
        admin = await stack.enter_async_context(administered(self._runtime))
        await stack.enter_async_context(self._runtime)
        for name, program in self._programs.items():
            settings = self._runtime.config.programs[name]
            await self._runtime.start(
                program,
                name=name,
                replicas=settings.replicas,
                concurrency=settings.concurrency,
                modules=self._modules[name],
                on_failure=settings.on_failure,
                uncertain=settings.uncertain,
                changed=settings.changed,
            )
        runner = make_runner(self._app, self._runtime.hooks)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.callback(self._requests.cut)
        site, url = await listen(runner, bound, self._config)
        # What the start has made stays for as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        admin_socket = str(admin) if admin is not None else None
        self._tell(Listening(url, tuple(self._programs), self._config.auth, admin_socket))
        return site

    async def _stopped(self, stop: Stop) -> BaseException | None:
        """Wait until the daemon has to end; return what made it fail, None if it was asked to stop."""
        asked = asyncio.create_task(stop.asked.wait())
        failed = asyncio.create_task(self._runtime.failure())
        try:
            await asyncio.wait({asked, failed}, return_when=asyncio.FIRST_COMPLETED)
            return failed.result() if failed.done() else None
        finally:
            asked.cancel()
            failed.cancel()
            await asyncio.wait({asked, failed})

    async def _drain(self, site: web.SockSite, stop: Stop) -> bool:
        """Take no new requests and let those under way finish; return whether all did in time."""
        self._requests.announced = True
        await site.stop()
        self._tell(Draining(self._config.drain_timeout))
        try:
            async with stop.draining.covering():
                return await self._runtime.drain(self._config.drain_timeout)
        except RuntimeClosed:  # asked to hurry
            return False

    def _tell(self, event: Event) -> None:
        if hooks := self._runtime.hooks:
            hooks.emit(event)
