"""One reply of an endpoint as it comes: bytes to events to deltas, with a bound for every wait."""

from asyncio import CancelledError
from collections import deque
from collections.abc import Callable
from typing import Protocol

from repertory.clock import Clock
from repertory.errors import LMError, LMTimeout, RepertoryError
from repertory.providers.emulation import held_back, passed_on
from repertory.providers.failures import Peer
from repertory.providers.messages import Delta, End, LMResponse, UsageDelta
from repertory.providers.settings import EndpointSettings
from repertory.providers.sse import EventReader
from repertory.providers.transport import Stream


class Attempt(Protocol):
    """What wants to know how the attempt ended; only the first word counts.

    Attributes:
        nameless: Whether it wants to know the peer's id of the reply, and has not been told.
    """

    nameless: bool

    def identify(self, response_id: str) -> None:
        """The peer has told its id of the reply."""
        ...

    def succeed(self, response: LMResponse) -> LMResponse:
        """The reply was whole; return it with what it cost."""
        ...

    def fail(self, error: BaseException) -> None:
        """It was not."""
        ...


class StreamedReply:
    """The deltas of one reply; an async iterator. ``close`` ends the attempt, wherever it is.

    Args:
        meaning: What the whole reply means for its caller; its words are held back until then. None: just that.

    Attributes:
        failed: Whether it ended by an error.

    Invariant: what has been read is in ``_ready`` or has been passed on; the next bytes are read only when it
    is empty.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        peer: Peer,
        stream: Stream,
        attempt: Attempt,
        clock: Clock,
        deadline: float,
        meaning: Callable[[LMResponse], LMResponse] | None = None,
    ) -> None:
        self._first_wait = settings.first_token_timeout or settings.timeout
        self._next_wait = settings.next_token_timeout or settings.timeout
        self._peer = peer
        self._stream = stream
        self._attempt = attempt
        self._clock = clock
        self._deadline = deadline
        self._events = EventReader(peer)
        self._decoder = settings.protocol.decode_stream(peer)
        self._meaning = meaning
        self._ready: deque[Delta] = deque()
        self._failure: LMError | None = None  # to be raised when all that came before it has been passed on
        self._whole = False
        self.failed = False

    def __aiter__(self) -> "StreamedReply":
        return self

    async def __anext__(self) -> Delta:
        ready = self._ready
        while not ready:
            if self._whole:
                raise StopAsyncIteration
            try:
                if self._failure is not None:
                    raise self._failure
                left = self._deadline - self._clock.monotonic()
                self._take(await self._stream.read(self._next_wait, left))
            except BaseException as error:
                self.failed = isinstance(error, RepertoryError)
                self._attempt.fail(error)
                raise
        return ready.popleft()

    async def begin(self, since: float) -> None:
        """Wait for the first output, so that what fails until then can be repeated; counts of tokens are none.

        Args:
            since: When it was asked for, on the clock: the wait for the headers was part of that for the output.
        """
        patience = self._first_wait
        until = since + patience
        try:
            while all(isinstance(delta, UsageDelta) for delta in self._ready):
                # Until a point in time: a peer that only keeps the connection alive must not be waited for longer.
                now = self._clock.monotonic()
                self._take(await self._stream.read(max(0.0, until - now), self._deadline - now))
                self._check()  # although something may have come: as it was not passed on, all can be repeated
        except LMTimeout:
            self._stream.close()
            raise LMTimeout(
                f"{self._peer.name}: no output within {patience:g} s", endpoint=self._peer.name
            ) from None
        except BaseException:
            self._stream.close()
            raise

    async def whole(self) -> LMResponse:
        """Return the reply as a whole, nothing of it having been passed on."""
        async for delta in self:
            if isinstance(delta, End):
                return delta.response
        raise self._peer.broken_off()

    def close(self) -> None:
        """Give back the connection; a reply that was not whole counts as cancelled."""
        self._stream.close()
        self._attempt.fail(CancelledError())

    def _take(self, chunk: bytes) -> None:
        """Take in what came; the failure that it tells of is left in ``_failure``."""
        decoder = self._decoder
        try:
            for event in self._events.feed(chunk):
                if not decoder.ended:
                    deltas = decoder.feed(event)
                    if self._attempt.nameless and decoder.id:
                        self._attempt.identify(decoder.id)
                    self._ready += deltas if self._meaning is None else passed_on(deltas)
            if decoder.ended or not chunk:
                self._finish()
        except LMError as failure:
            self._failure = failure

    def _finish(self) -> None:
        response = self._decoder.finish()
        if self._meaning is not None:
            response = self._meaning(response)
            self._ready += held_back(response)
        self._ready.append(End(self._attempt.succeed(response)))
        self._whole = True
        self._stream.close()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
