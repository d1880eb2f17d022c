"""One attempt on the wire: a body goes out, a reply or a stream of one comes in; nothing is decided here."""

import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol, TypeVar

from repertory.clock import Clock
from repertory.errors import DeadlineExceeded, LMModelUnknown, LMReplyMalformed, LMTimeout
from repertory.providers.embeddings import EmbedRequest, EmbedResponse, offered
from repertory.providers.failures import Peer, error_from
from repertory.providers.messages import LMRequest, LMResponse
from repertory.providers.probe import misspelt
from repertory.providers.settings import EndpointSettings
from repertory.providers.stored import Fetched, StoredReplies
from repertory.providers.transport import HttpTransport, Stream

T = TypeVar("T")

NOT_THERE = (404, 410)


class Told(Protocol):
    """What wants to know of every answer as soon as its headers are there."""

    def note_answer(self, status: int, headers: Mapping[str, str]) -> None:
        """The endpoint has begun to answer, whatever it says."""
        ...


class Exchange:
    """What an endpoint's settings make of the transport."""

    def __init__(self, settings: EndpointSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        others = tuple(settings.transport.secret_headers(os.environ).values())
        self.peer = Peer(settings.name, settings.api_key, settings.api_key_env, others)
        self._transport = HttpTransport(
            settings.base_url,
            name=settings.name,
            secret_headers=settings.protocol.headers(settings.api_key),
            settings=settings.transport,
        )
        self._path = settings.protocol.path(settings.model, stream=False)
        self._key_header = settings.protocol.IDEMPOTENCY_HEADER
        self._stream_path = settings.protocol.path(settings.model, stream=True)

    def whole(self, body: bytes, left: float, told: Told, key: str | None) -> Awaitable[LMResponse]:
        """Send ``body`` and return the reply.

        Args:
            body: What is asked, encoded.
            left: Seconds until the deadline.
            told: Told of the answer.
            key: The call's idempotency key; None if it has none.
        """
        return self._post(self._path, body, left, told, key, self._settings.protocol.decode)

    async def stream(self, body: bytes, left: float, told: Told, key: str | None) -> Stream:
        """Send ``body`` and return the answer's stream, its status being good."""
        settings = self._settings
        wait = min(settings.first_token_timeout or settings.timeout, left)
        until = self._clock.monotonic() + wait
        try:
            stream = await self._transport.open(self._stream_path, body, timeout=wait, headers=self._headers(key))
            told.note_answer(stream.status, stream.headers)
            if not 200 <= stream.status < 300:
                answer = await stream.read_all(until - self._clock.monotonic())
                raise error_from(stream.status, stream.headers, answer, now=self._clock.time(), peer=self.peer)
        except LMTimeout:
            if wait < left:
                raise
            raise self._too_late(left) from None
        return stream

    def embed(
        self, request: EmbedRequest, body: bytes, left: float, told: Told, key: str | None
    ) -> Awaitable[EmbedResponse]:
        """Send ``body``, which asks for the vectors of ``request``, and return them."""
        settings = self._settings
        protocol = offered(settings.protocol.EMBEDDINGS if settings.quirks.embeds else None, settings.name)
        decode = partial(protocol.decode, texts=len(request.texts))
        return self._post(protocol.path(settings.model), body, left, told, key, decode)

    async def fetch(
        self, stored: StoredReplies, response_id: str, request: LMRequest | None, left: float
    ) -> Fetched:
        """Ask once, at no cost, for an answer that ``stored`` may have."""
        timeout, path = self._settings.timeout, stored.path(response_id, request)
        try:
            status, headers, answer = await self._transport.get(path, timeout=min(timeout, left))
        except LMTimeout:
            if timeout < left:
                raise
            raise self._too_late(left) from None
        if status in NOT_THERE:
            return "gone"
        if 200 <= status < 300:
            return stored.decode(answer, self.peer)
        raise error_from(status, headers, answer, now=self._clock.time(), peer=self.peer)

    async def probe(self, timeout: float) -> None:
        """Ask, at no cost, whether the endpoint is there, takes the key, has the model. Raises LMError if not."""
        settings = self._settings
        status, headers, answer = await self._transport.get(settings.protocol.PROBE_PATH, timeout=timeout)
        if status in (401, 402, 403) or status >= 500:
            raise error_from(status, headers, answer, now=self._clock.time(), peer=self.peer)
        if not 200 <= status < 300 or not settings.quirks.lists_models:
            return
        try:
            models = settings.protocol.offers(answer, self.peer)
        except LMReplyMalformed:
            return  # it answers; not every gateway has such a list
        remedy = misspelt(settings.model, models)
        if remedy is not None:
            said = f"{settings.name}: there is no model {settings.model!r} among those it lists"
            raise LMModelUnknown(said, endpoint=settings.name, hint=remedy)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def _post(
        self,
        path: str,
        body: bytes,
        left: float,
        told: Told,
        key: str | None,
        decode: Callable[[bytes, Peer], T],
    ) -> T:
        """Send ``body`` and return what ``decode`` makes of the answer's, its status being good."""
        timeout = self._settings.timeout
        try:
            status, headers, answer = await self._transport.post(
                path, body, timeout=min(timeout, left), headers=self._headers(key)
            )
        except LMTimeout:
            if timeout < left:
                raise
            raise self._too_late(left) from None
        told.note_answer(status, headers)
        if 200 <= status < 300:
            return decode(answer, self.peer)
        raise error_from(status, headers, answer, now=self._clock.time(), peer=self.peer)

    def _headers(self, key: str | None) -> Mapping[str, str] | None:
        return None if key is None or self._key_header is None else {self._key_header: key}

    def _too_late(self, left: float) -> DeadlineExceeded:
        name = self.peer.name
        return DeadlineExceeded(f"{name}: the deadline passed {left:.1f} s after sending")
