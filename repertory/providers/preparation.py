"""What an endpoint makes of a request before it asks: bounded, encoded, measured, with a deadline."""

from functools import partial
from typing import Final

from repertory.clock import Clock
from repertory.providers.budget import BudgetStage, encoded_size, media_in
from repertory.providers.cache_key import unspeakable
from repertory.providers.emulation import emulate, restore
from repertory.providers.emulation import is_needed as must_emulate
from repertory.providers.failures import Peer
from repertory.providers.gate import Call
from repertory.providers.messages import LMRequest
from repertory.providers.settings import EndpointSettings
from repertory.providers.stored import StoredReplies
from repertory.providers.token_estimate import TokenEstimate

MEDIA_TOKENS: Final = 1500  # that a picture or the like is taken to have: what a photograph of a megapixel has


class Preparation:
    """Makes calls of requests.

    Args:
        settings: The endpoint's.
        budget: Bounds what accounts pay for.
        stored: How answers are kept that a witness may want fetched; None if they are not.
        estimate: Of tokens.
        peer: Who answers.
        clock: What deadlines are points on.
    """

    __slots__ = ("_budget", "_clock", "_estimate", "_peer", "_settings", "_stored")

    def __init__(
        self,
        settings: EndpointSettings,
        budget: BudgetStage,
        stored: StoredReplies | None,
        estimate: TokenEstimate,
        peer: Peer,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._stored = stored
        self._estimate = estimate
        self._peer = peer
        self._clock = clock

    def call(self, request: LMRequest, deadline: float | None = None, *, stream: bool = False) -> Call:
        """``request`` as it goes over the wire: bounded where it must be paid for, without what is emulated.

        Raises:
            LMRequestRejected: The protocol cannot carry it.
        """
        settings = self._settings
        asked = bounded = self._budget.bounded(request)
        meaning = None
        if settings.quirks.emulates_tools and must_emulate(bounded):
            asked = emulate(bounded)
            meaning = partial(restore, bounded, peer=self._peer)
        if request.witness is not None and self._stored is not None:
            asked = self._stored.kept(asked)
        body = self._encoded(asked, stream=stream)
        media = media_in(asked)
        words = len(body) - sum(map(encoded_size, media)) if media else len(body)
        tokens = self._estimate.estimate(words) + len(media) * MEDIA_TOKENS
        if asked.max_tokens is not None:
            tokens += max(0, asked.max_tokens * asked.n)
        return Call(asked, body, self.deadline(deadline), tokens, meaning, words_alone=not media)

    def plain(self, request: LMRequest, body: bytes, deadline: float) -> Call:
        """A call with a ``body`` of its own that is nothing but words, and whose reply has none."""
        return Call(request, body, deadline, self._estimate.estimate(len(body)))

    def deadline(self, deadline: float | None) -> float:
        """``deadline``, or when all attempts together have had their time."""
        if deadline is not None:
            return deadline
        return self._clock.monotonic() + self._settings.timeout * self._settings.attempts

    def _encoded(self, asked: LMRequest, *, stream: bool) -> bytes:
        settings = self._settings
        try:
            return settings.protocol.encode(asked, settings.model, settings.quirks, stream=stream)
        except TypeError as error:
            raise unspeakable(asked, str(error)) from error
