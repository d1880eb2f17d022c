"""Who may ask: API keys, or, without them, only what runs on the same machine."""

import hmac
import ipaddress
import os
from collections.abc import Iterable
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from repertory.errors import ConfigError
from repertory.runtime.config import ServerConfig
from repertory.server.problems import Problem

OPEN_PATHS: Final = frozenset({"/health/live", "/health/ready"})
"""What anybody may ask: load balancers and process managers have no key."""

MAKE_KEY: Final = "python3 -c 'import secrets; print(secrets.token_hex(32))'"


class ApiKeys:
    """The keys that open the door. Only their digests are kept, so that no log or repr can show one."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def __contains__(self, key: str) -> bool:
        """Whether ``key`` is one of them; takes the same time whichever it is."""
        digest = _digest(key)
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(digest, known)
        return found


def make_guard(config: ServerConfig) -> Middleware:
    """The middleware that decides who may ask. Raises ConfigError if the settings leave the door open or shut."""
    if not config.auth:
        if not is_loopback(config.host):
            raise ConfigError(
                f"server.auth = false with server.host = {config.host!r}: anybody on the network could ask",
                hint='Write: auth = true, or host = "127.0.0.1".',
            )
        return only_local_names
    keys = [key for part in os.environ.get(config.api_key_env, "").split(",") if (key := part.strip())]
    if not keys:
        raise ConfigError(
            f"server.auth = true, but the environment variable {config.api_key_env} holds no key",
            hint=f"Make one: export {config.api_key_env}=$({MAKE_KEY})   (for this machine only: auth = false)",
        )
    return requiring(ApiKeys(keys))


def requiring(keys: ApiKeys) -> Middleware:
    """A middleware that lets through who brings one of ``keys`` (RFC 6750, 2.1); health checks need none."""

    @web.middleware
    async def require_key(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if resource is not None and resource.canonical in OPEN_PATHS:
            return await handler(request)
        scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise _unauthorized("the request brings no API key", 'Bearer realm="repertory"')
        if key.strip() not in keys:
            raise _unauthorized("this API key is not valid", 'Bearer realm="repertory", error="invalid_token"')
        return await handler(request)

    return require_key


@web.middleware
async def only_local_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests that call this machine by a foreign name.

    Where no key is asked for, a web page could otherwise have its own name resolve to 127.0.0.1 and, in the
    browser of somebody who runs the daemon, read what it answers (DNS rebinding).
    """
    host = request.headers.get(hdrs.HOST)  # missing in HTTP/1.0, which no browser speaks
    if host is not None and not is_loopback(_host_name(host)):
        raise Problem(
            421,
            "host_refused",
            "This host is not served",
            "without API keys the service answers only to localhost",
            hint="Ask http://127.0.0.1, or set server.auth = true.",
        )
    return await handler(request)


def is_loopback(host: str) -> bool:
    """Whether ``host`` can only mean this machine."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_name(host: str) -> str:
    """``host`` without its port; "" if it makes no sense."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(
        401,
        "unauthorized",
        "An API key is needed",
        detail,
        hint="Send the header: Authorization: Bearer KEY",
        headers={hdrs.WWW_AUTHENTICATE: challenge},
    )
