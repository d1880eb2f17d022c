"""The port: taken before anything slow is started, listened on once requests can be answered."""

import asyncio
import errno
import logging
import socket
from typing import Final

from aiohttp import web

from repertory.errors import ConfigError
from repertory.events import Hooks
from repertory.runtime.config import ServerConfig
from repertory.server.connections import BoundedRunner, Bounds, affordable_connections
from repertory.server.events import BadHttp

LAST_ANSWERS: Final = 5.0  # seconds that answers already made get to reach their clients at the end


async def reserve_port(config: ServerConfig) -> socket.socket:
    """A socket bound to the configured host and port. Raises ConfigError naming the remedy."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(
            f"server.host = {config.host!r} is no address: {error.strerror}",
            hint='Write: host = "127.0.0.1" for this machine, "0.0.0.0" for all its networks.',
        ) from None
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise _cannot_listen(config, error) from None
    return bound


async def listen(runner: web.AppRunner, bound: socket.socket, config: ServerConfig) -> tuple[web.SockSite, str]:
    """Take requests; return the site and its URL. Raises ConfigError if another process was quicker."""
    site = web.SockSite(runner, bound)
    try:
        await site.start()
    except OSError as error:
        raise _cannot_listen(config, error) from None
    return site, site.name


def make_runner(app: web.Application, hooks: Hooks, bounds: Bounds | None = None) -> web.AppRunner:
    """The HTTP server of ``app``: a client that leaves has its handler cancelled.

    Args:
        bounds: What clients may hold; None: what this process can afford.
    """
    bounds = bounds or Bounds(connections=affordable_connections())
    log = logging.Logger("repertory.server")  # its own: it hangs on no global tree
    log.addHandler(_ToHooks(hooks))
    return BoundedRunner(
        app, bounds, access_log=None, logger=log, handler_cancellation=True, shutdown_timeout=LAST_ANSWERS
    )


class _ToHooks(logging.Handler):
    """Makes events of what aiohttp logs about connections it cannot serve."""

    def __init__(self, hooks: Hooks) -> None:
        super().__init__(logging.WARNING)
        self._hooks = hooks

    def emit(self, record: logging.LogRecord) -> None:
        if self._hooks:
            cause = record.exc_info[1] if record.exc_info else None
            self._hooks.emit(BadHttp(record.getMessage(), cause))


def _cannot_listen(config: ServerConfig, error: OSError) -> ConfigError:
    where = f"port {config.port} on {config.host}"
    match error.errno:
        case errno.EADDRINUSE:
            return ConfigError(
                f"{where} is in use",
                hint=f"Stop what listens there (ss -ltnp 'sport = :{config.port}' shows it), or set server.port.",
            )
        case errno.EACCES | errno.EPERM:
            return ConfigError(f"{where} may not be used", hint="Ports below 1024 need privileges.")
        case errno.EADDRNOTAVAIL:
            return ConfigError(
                f"{where}: this machine does not have that address",
                hint='Write: host = "127.0.0.1" for this machine, "0.0.0.0" for all its networks.',
            )
        case _:
            return ConfigError(f"{where} cannot be used: {error.strerror}", hint="Choose another server.port.")
