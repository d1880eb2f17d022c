"""HTTP to one endpoint: the only file that knows aiohttp.

One session and one connection pool, without a cap on connections: how many calls are in flight is the
limiter's decision, and a hidden cap would make it a second time.
"""

import asyncio
import io
import math
import os
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeAlias

import aiohttp
from pydantic import SecretStr
from yarl import URL

from repertory.errors import (
    DeadlineExceeded,
    LMAuthError,
    LMConnectionError,
    LMError,
    LMReplyMalformed,
    LMTimeout,
    RuntimeClosed,
)
from repertory.providers.transport_settings import TransportSettings
from repertory.providers.wait_timer import WaitTimer

Answer: TypeAlias = tuple[int, Mapping[str, str], bytes]
BaseURL: TypeAlias = str | Callable[[], str | None]

USUAL: Final = TransportSettings()
MOST_URLS = 64  # kept parsed: those of calls are few, and each answer that is fetched has one of its own
NOT_UP_RETRY = 0.25  # seconds until an endpoint that is just starting is worth asking again
# Above this aiohttp warns that sending plain bytes holds up the loop, and wants a file to read pieces from.
WHOLE_BODY = 2**20
QUOTE = re.compile(r"b?['\"]")  # where the words of aiohttp's parser end and the peer's begin


class HttpTransport:
    """Sends requests to one endpoint and returns whole answers, whatever their status.

    Connections open lazily in the running loop and are kept alive. Cancelling a caller closes its socket.

    Args:
        base_url: Where paths are appended, or a function that says so at each request, None while the endpoint
            is not up.
        name: The endpoint's name, for errors.
        secret_headers: Sent with every request; their values appear in no repr and no error.
        settings: How connections are made.
        environment: Where the secrets are that ``settings`` names.

    Raises:
        ConfigError: The settings do not fit the endpoint, or name a file or variable that is not there.
    """

    def __init__(
        self,
        base_url: BaseURL,
        *,
        name: str = "endpoint",
        secret_headers: Mapping[str, SecretStr] | None = None,
        settings: TransportSettings = USUAL,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._base_url = base_url
        self._name = name
        self._settings = settings
        self._connect_timeout = settings.connect_timeout
        self._limits = self._limits_of(None)  # of the latest request
        self._max_body = settings.max_body
        self._secret_headers = {**settings.secret_headers(environment), **(secret_headers or {})}
        self._proxy = settings.proxy_url(environment)
        self._ssl = settings.ssl_context(environment)
        self._own_headers: dict[str, str] | None = None  # to go with each request, where the session must not know
        if isinstance(base_url, str):
            settings.check(base_url)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._url_base = ""
        self._urls: dict[str, URL] = {}

    def __repr__(self) -> str:
        return f"HttpTransport({self._name!r})"

    def post(
        self, path: str, body: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> Coroutine[Any, Any, Answer]:
        """Send ``body`` as JSON and return ``(status, headers, body)`` of the answer.

        Args:
            path: Appended to the base URL.
            body: JSON, encoded.
            timeout: Seconds for everything: connecting, sending, waiting, reading.
            headers: In addition to the transport's own.

        Raises:
            LMConnectionError: The endpoint is not up, cannot be reached, or the connection broke.
            LMTimeout: ``timeout`` passed.
            LMReplyMalformed: The answer is not HTTP, or its body is too large.
            RuntimeClosed: The transport was closed.
        """
        return self._request("POST", path, body, timeout, headers)

    async def open(
        self, path: str, body: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> "Stream":
        """Send ``body`` as JSON and return the answer as soon as its headers are there; ``close`` it in the end.

        Args:
            path: Appended to the base URL.
            body: JSON, encoded.
            timeout: Seconds until the headers.
            headers: In addition to the transport's own.

        Raises as ``post``.
        """
        try:
            async with asyncio.timeout(timeout):
                response = await self._send("POST", path, body, None, headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            error = self.error_from(fault, timeout)
        else:
            return Stream(self, response)
        raise error  # outside the handler for the reason given in `_request`

    def get(self, path: str, *, timeout: float) -> Coroutine[Any, Any, Answer]:
        """Ask for ``path``; otherwise like ``post``."""
        return self._request("GET", path, None, timeout, None)

    async def close(self) -> None:
        """Close all connections. Calls in flight fail with ``LMConnectionError``, later with ``RuntimeClosed``."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _request(
        self, method: str, path: str, body: bytes | None, timeout: float, headers: Mapping[str, str] | None
    ) -> Answer:
        try:
            response = await self._send(method, path, body, timeout, headers)
            try:
                content = response.content
                answer = await content.readany()
                if not content.is_eof():
                    answer = await self._read_on(answer, content)
                self.check_size(len(answer))
                return response.status, response.headers, answer
            except BaseException:
                response.close()
                raise
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            error = self.error_from(fault, timeout)
        # Raised outside the handler on purpose: aiohttp's errors hold the request with its headers, and a
        # chained one would carry the API key into every traceback that prints details.
        raise error

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        timeout: float | None,
        headers: Mapping[str, str] | None,
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Return the answer once its headers are there; ``timeout`` seconds bound its reading as well."""
        url = self._url(path)
        session = self._session or self._open_session()
        if self._own_headers is not None:
            headers = {**self._own_headers, **(headers or {})}
        if timeout != self._limits.total:  # calls mostly have the same
            self._limits = self._limits_of(timeout)
        data = io.BytesIO(body) if body is not None and len(body) > WHOLE_BODY else body
        return session.request(
            method, url, data=data, headers=headers, timeout=self._limits, allow_redirects=False
        )

    def _limits_of(self, timeout: float | None) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=timeout, connect=self._connect_timeout, ceil_threshold=math.inf)

    async def _read_on(self, first: bytes, content: aiohttp.StreamReader) -> bytes:
        """All of an answer of which there is more than its ``first`` bytes."""
        chunks = [first]
        size = len(first)
        while chunk := await content.readany():
            size += len(chunk)
            self.check_size(size)
            chunks.append(chunk)
        return b"".join(chunks)

    def check_size(self, size: int) -> None:
        """Raise LMReplyMalformed if an answer of ``size`` bytes is too large."""
        if size > self._max_body:
            raise LMReplyMalformed(
                f"{self._name}: its answer is larger than {self._max_body} bytes", endpoint=self._name
            )

    def _url(self, path: str) -> URL:
        base = self._base_url if isinstance(self._base_url, str) else self._base_url()
        if self._closed:
            raise RuntimeClosed(f"{self._name}: the endpoint was closed")
        if base is None:
            raise LMConnectionError(
                f"{self._name}: is not up", endpoint=self._name, retry_after=NOT_UP_RETRY, unsent=True
            )
        if base != self._url_base:
            self._settings.check(base)
            self._url_base = base
            self._urls.clear()
        url = self._urls.get(path)
        if url is None:
            if len(self._urls) >= MOST_URLS:
                self._urls.clear()
            url = self._urls[path] = URL(base.rstrip("/") + path)
        return url

    def _open_session(self) -> aiohttp.ClientSession:
        settings = self._settings
        secrets = {name: secret.get_secret_value() for name, secret in self._secret_headers.items()}
        headers = {"Content-Type": "application/json", "Accept": "application/json", **settings.headers, **secrets}
        if self._proxy is not None:
            # aiohttp tells a proxy all headers that the session has, the endpoint's key among them.
            self._own_headers, headers = headers, {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                ttl_dns_cache=math.ceil(settings.dns_ttl),
                keepalive_timeout=settings.keep_alive,
                ssl=True if self._ssl is None else self._ssl,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            proxy=self._proxy,
        )
        return self._session

    def too_late(self) -> DeadlineExceeded:
        """The error that a deadline passed while an answer was coming."""
        return DeadlineExceeded(f"{self._name}: the deadline passed while its reply was coming")

    def error_from(self, fault: Exception, timeout: float) -> LMError:
        """The error that a fault of aiohttp or the system stands for."""
        name = self._name
        match fault:
            case aiohttp.ConnectionTimeoutError():
                return LMConnectionError(
                    f"{name}: no connection within {self._connect_timeout:g} s", endpoint=name, unsent=True
                )
            case TimeoutError():
                return LMTimeout(f"{name}: no answer within {timeout:g} s", endpoint=name)
            case aiohttp.ClientHttpProxyError():
                return self._proxy_error(fault.status)
            case aiohttp.ClientResponseError():
                # Only the parser's own words: the bytes that it quotes after them may hold the key.
                words = " ".join(QUOTE.split(fault.message)[0].split()).rstrip(":")
                return LMReplyMalformed(f"{name}: its answer is not HTTP: {words}", endpoint=name)
            case aiohttp.ClientConnectorCertificateError():
                reason = getattr(fault.certificate_error, "verify_message", "") or "it does not fit"
                hint = "If its authority is your own, name it: ca_file = PEM-FILE"
                return LMConnectionError(
                    f"{name}: its certificate: {reason}", endpoint=name, hint=hint, unsent=True
                )
        # Only the system's own words: the text of an aiohttp error may quote URL or headers.
        what = (fault.strerror if isinstance(fault, OSError) else None) or type(fault).__name__
        where = (
            "the connection to the proxy"
            if isinstance(fault, aiohttp.ClientProxyConnectionError)
            else "the connection"
        )
        unsent = isinstance(fault, aiohttp.ClientConnectorError)
        return LMConnectionError(f"{name}: {where} failed: {what}", endpoint=name, unsent=unsent)

    def _proxy_error(self, status: int) -> LMError:
        name = self._name
        if status == 407:
            hint = "Set the environment variable that proxy_login_env names to its USER:PASSWORD."
            return LMAuthError(f"{name}: the proxy wants another login", endpoint=name, hint=hint)
        return LMConnectionError(f"{name}: the proxy answered {status}", endpoint=name)


class Stream:
    """An answer that is read as it comes. aiohttp stops reading the socket while much of it is not fetched."""

    __slots__ = ("_content", "_response", "_size", "_timer", "_transport")

    def __init__(self, transport: HttpTransport, response: aiohttp.ClientResponse) -> None:
        self._transport = transport
        self._response = response
        self._content = response.content
        self._timer = WaitTimer(self._expire)
        self._size = 0

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers; names ignore case."""
        return self._response.headers

    async def read(self, timeout: float, left: float = math.inf) -> bytes:
        """Return what has come; nothing at the end.

        Args:
            timeout: Most seconds to wait for it.
            left: Seconds until the deadline of the call.

        Raises:
            DeadlineExceeded: ``left`` is 0 or less, or was over no later than ``timeout``.

        Otherwise raises as ``HttpTransport.post``. It closes the connection then.
        """
        if left <= 0:  # a peer that always has more is never waited for, and would go on for ever
            self.close()
            raise self._transport.too_late()
        try:
            self._timer.begin(timeout if timeout < left else left)
            chunk = await self._content.readany()
            self._timer.end()
            self._size += len(chunk)
            self._transport.check_size(self._size)
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            self.close()
            late = left <= timeout and isinstance(fault, TimeoutError)
            error = self._transport.too_late() if late else self._transport.error_from(fault, timeout)
        except BaseException:
            self.close()
            raise
        else:
            return chunk
        raise error  # outside the handler for the reason given in `HttpTransport._request`

    async def read_all(self, timeout: float) -> bytes:
        """Return the whole rest, and close; ``timeout`` seconds are for all of it. Raises as ``read``."""
        chunks = []
        try:
            async with asyncio.timeout(timeout):
                while chunk := await self.read(timeout):
                    chunks.append(chunk)
        except TimeoutError as fault:
            error = self._transport.error_from(fault, timeout)
        else:
            self.close()
            return b"".join(chunks)
        raise error

    def close(self) -> None:
        """Give the connection back if the answer is over, else cut it."""
        self._timer.close()
        self._response.close()

    def _expire(self) -> None:
        """End the wait in ``read``, unless something has come that it is about to return."""
        if self._content.total_bytes == self._size and not self._content.is_eof():
            self._content.set_exception(TimeoutError())
