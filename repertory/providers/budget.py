"""The budget stage: what an attempt can cost at worst is reserved before it is sent, and charged when it ends.

Input is counted by bytes. A tokenizer that works on bytes (byte-level BPE, SentencePiece with byte fallback) gives
at most one token for each, and the body holds every byte of the text that the model reads, escaped at that: its
length is a bound. It is none for pictures, recordings and documents, whose tokens go by their size in pixels,
seconds or pages: these need a bound of their own, ``media_tokens``.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from repertory.clock import Clock
from repertory.errors import (
    AmountUnknown,
    BudgetExceeded,
    ConfigError,
    DeadlineExceeded,
    LMRequestRejected,
    PriceUnknown,
    RepertoryError,
)
from repertory.events import BudgetCharged, BudgetRefused, Hooks
from repertory.providers.ending import NONE_COUNTED, Ending, outcome_of
from repertory.providers.messages import LMRequest, MediaPart, Usage
from repertory.providers.prices import QUARTER, Price, known_price
from repertory.providers.witness import Intent, Told, Witness
from repertory.store.ledger import MOST, Amount, Ledger, Reservation, WorstCase, in_dollars, nano_dollars

TEMPLATE = 64  # tokens that providers put around a conversation
INSTRUCTIONS = (
    1024  # tokens of the instructions that providers add for tools and schemas; Anthropic's are about 500
)

HARMLESS: Final = frozenset(
    (
        *("top_k", "min_p", "typical_p", "repeat_penalty", "repetition_penalty", "mirostat", "mirostat_tau"),
        *("frequency_penalty", "presence_penalty", "logit_bias", "verbosity", "reasoning_effort"),
        *("user", "metadata", "safety_identifier", "prompt_cache_key", "safetySettings", "labels", "store"),
        *("background",),
    )
)
"""Fields of providers' own that change neither how many tokens a call takes at most nor what one costs."""

TOLD: Final[Mapping[Ending, Told]] = MappingProxyType(
    {"settle": "paid", "release": "unpaid", "write_off": "uncertain"}
)
"""What a witness is told of how an attempt ended."""


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """What an endpoint's calls may cost.

    Args:
        price: A price of one's own instead of the table's.
        max_tokens: What a reply is cut at where its caller sets no ``max_tokens``; see `BudgetStage.bounded`.
        media_tokens: Most tokens of one picture (``image``), recording (``audio``), document (``file``).
        call_cap: Dollars that an attempt surely costs at most, where that cannot be worked out; it is charged in
            full where the price is unknown.
    """

    price: Price | None = None
    max_tokens: int | None = None
    media_tokens: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    call_cap: Decimal | None = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"budget: max_tokens = {self.max_tokens}: expected a number above 0")
        for kind, tokens in self.media_tokens.items():
            if tokens < 1:
                raise ConfigError(f"budget: media_tokens.{kind} = {tokens}: expected a number above 0")
        if self.call_cap is not None and not (self.call_cap.is_finite() and self.call_cap >= 0):
            raise ConfigError(f"budget: call_cap = {self.call_cap}: expected dollars, 0 or more")


def input_at_most(request: LMRequest, body: bytes, media_tokens: Mapping[str, int]) -> int | None:
    """Most tokens that a model can read in ``body``, which asks for ``request``; None if nobody can say."""
    tokens = len(body) + TEMPLATE
    if request.tools or request.response_schema is not None:
        tokens += INSTRUCTIONS
    for part in media_in(request):
        bound = media_tokens.get(part.kind)
        if bound is None:
            return None
        tokens += bound - encoded_size(part)
    return tokens


def media_in(request: LMRequest) -> list[MediaPart]:
    """The pictures, recordings and documents that ``request`` carries."""
    return [
        part
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
        if isinstance(part, MediaPart)
    ]


def encoded_size(part: MediaPart) -> int:
    """Bytes of a body that are ``part`` and no words: its base64."""
    if part.data is None or part.mime.startswith("text/"):  # which some protocols carry as it is, to be read
        return 0
    return (len(part.data) + 2) // 3 * 4


def worst_case(
    price: Price | None, input_tokens_at_most: int | None, max_tokens: int | None, n: int, cap: int | None
) -> WorstCase:
    """The most that an attempt can cost.

    Args:
        price: Of the model; None if nobody knows it.
        input_tokens_at_most: None if nobody can say.
        max_tokens: Of each reply; None if it is not bounded.
        n: How many replies.
        cap: Nano-dollars to take where that cannot be worked out; None if nobody vouches for any.
    """
    if input_tokens_at_most is None or max_tokens is None:
        return WorstCase(cap, None)
    output = max_tokens * n
    return WorstCase(
        cap if price is None else price.at_most(input_tokens_at_most, output), input_tokens_at_most + output
    )


class BudgetStage:
    """Reserves for each attempt of an endpoint, and charges it. All accounts of a request pay, or none.

    Args:
        settings: What bounds the endpoint's calls.
        ledger: Where the accounts are.
        endpoint: The endpoint's name, for errors and events.
        provider: Whose prices apply: a name of `catalog.PROVIDERS`; "" is nobody's.
        model: The model's name there.

    Example::

        request = stage.bounded(request)
        hold = await stage.reserve(request, body)
        try:
            response = await send(body)
        except BaseException as error:
            hold.fail(error, sent=True, status=None)
            raise
        cost = hold.succeed(response.usage)
    """

    def __init__(
        self,
        settings: BudgetSettings,
        ledger: Ledger,
        *,
        endpoint: str,
        provider: str,
        model: str,
        clock: Clock,
        hooks: Hooks,
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self._endpoint = endpoint
        self._provider = provider
        self._model = model
        self._clock = clock
        self._hooks = hooks
        self._cap = None if settings.call_cap is None else nano_dollars(settings.call_cap)
        self._quarter = -1
        self._price: Price | None = None
        self.price()  # loads the table now rather than in the first call

    def price(self) -> Price | None:
        """The price at this time; None if nobody knows it."""
        now = self._clock.time()
        quarter = int(now // QUARTER)
        if quarter != self._quarter:
            own, provider = self.settings.price, self._provider
            if own is not None or not provider:
                self._price = own
            else:
                self._price = known_price(provider, self._model, datetime.fromtimestamp(now, UTC))
            self._quarter = quarter
        return self._price

    def bounded(self, request: LMRequest) -> LMRequest:
        """``request`` with the endpoint's bound of the reply, if accounts pay for it and it has none itself."""
        if not request.terms.accounts or request.max_tokens is not None or self.settings.max_tokens is None:
            return request
        return replace(request, max_tokens=self.settings.max_tokens)

    async def reserve(self, request: LMRequest, body: bytes, timeout: float | None = None) -> "Hold | None":
        """Have the request's accounts set aside what an attempt with ``body`` can cost; None if it names none.

        Args:
            request: What is asked.
            body: The same as it goes over the wire.
            timeout: Most seconds to wait for a ledger that is locked; None: as long as it takes.

        Raises:
            DeadlineExceeded: ``timeout`` passed.
            BudgetExceeded: An account has not enough left.
            PriceUnknown: One is limited in money, and nobody knows the price.
            LMRequestRejected: One is limited, and nothing bounds what the call may cost; the hint says what would.
            ConfigError: There is no such account.
            StoreError: The reservation could not be written down.
        """
        if not request.terms.accounts:
            return None
        most = self.worst_case(request, body)
        try:
            reservation = await self.ledger.reserve(request.terms.accounts, most, timeout)
        except TimeoutError:
            locked = "the deadline passed while the budgets that pay for the call were not to be reached"
            raise DeadlineExceeded(f"{self._endpoint}: {locked}") from None
        except AmountUnknown as unknown:
            refusal = self._unbounded(request, body, unknown)
            self._tell_refusal(request, refusal)
            raise refusal from None
        except BudgetExceeded as refusal:
            refusal.endpoint = self._endpoint
            self._tell_refusal(request, refusal)
            raise
        return Hold(self, request, most, reservation)

    def unpaid(self, request: LMRequest, body: bytes) -> "Hold":
        """What an attempt with ``body`` can cost, which no account pays for but a witness is told of."""
        return Hold(self, request, self.worst_case(request, body), None)

    def worst_case(self, request: LMRequest, body: bytes) -> WorstCase:
        """The most that an attempt at ``request``, whose body is ``body``, can cost."""
        bounded = _is_bounded(request)
        max_tokens = request.max_tokens if bounded and _bounds_replies(request) else None
        if max_tokens is None:
            return WorstCase(self._cap, None)
        most_read = input_at_most(request, body, self.settings.media_tokens)
        return worst_case(self.price() if bounded else None, most_read, max_tokens, request.n, self._cap)

    def cost(self, request: LMRequest, usage: Usage) -> Decimal | None:
        """What a reply to ``request``, for which nobody had to reserve, has cost; None if nobody knows."""
        if not (usage.input_tokens or usage.output_tokens):
            return None
        nano = self.charge(request, usage)
        return None if nano is None else in_dollars(nano)

    def charge(self, request: LMRequest, usage: Usage) -> int | None:
        """Nano-dollars of a reply to ``request`` that is over now; None if nobody knows."""
        price = self.price()
        if price is None or not _is_bounded(request):
            return None
        return min(price.of(usage, media=_has_media(request)), MOST)

    def end(self, reservation: Reservation, ending: Ending, spent: Amount) -> None:
        """Write down how an attempt ended; it takes effect whoever is cancelled."""
        match ending:
            case "settle":
                self.ledger.settle(reservation, spent)
            case "release":
                self.ledger.release(reservation)
            case "write_off":
                self.ledger.write_off(reservation)
        if self._hooks:
            charged = spent if ending == "settle" else reservation.most if ending == "write_off" else Amount()
            self._hooks.emit(
                BudgetCharged(
                    *(self._endpoint, reservation.accounts, ending, charged.nano_dollars, charged.tokens)
                )
            )

    def _tell_refusal(self, request: LMRequest, refusal: RepertoryError) -> None:
        if self._hooks:
            self._hooks.emit(BudgetRefused(self._endpoint, request.terms.accounts, refusal.code))

    def _unbounded(
        self, request: LMRequest, body: bytes, unknown: AmountUnknown
    ) -> PriceUnknown | LMRequestRejected:
        """The error that says why nobody knows what the call may cost, and what to do about it."""
        endpoint = self._endpoint
        or_cap = ", or give the endpoint a call_cap in dollars" if unknown.kind == "money" else ""
        pays = f"budget {unknown.account!r}, which is limited in {unknown.kind}, is to pay"
        if extra := sorted(request.extra.keys() - HARMLESS):
            return LMRequestRejected(
                f"{endpoint}: extra[{extra[0]!r}]: nobody knows what it does to the cost of a call, and {pays}",
                endpoint=endpoint,
                hint=f"Leave it out{or_cap}.",
            )
        if not _bounds_replies(request):
            name, value = ("n", request.n) if request.n < 1 else ("max_tokens", request.max_tokens)
            return LMRequestRejected(
                f"{endpoint}: {name} = {value}: what servers make of it nobody knows, and {pays}",
                endpoint=endpoint,
                hint=f"Give it a number above 0{or_cap}.",
            )
        if request.max_tokens is None:
            return LMRequestRejected(
                f"{endpoint}: max_tokens is not set, so nothing bounds the reply, and {pays}",
                endpoint=endpoint,
                hint=f"Set max_tokens, or the max_tokens of the endpoint's budget{or_cap}.",
            )
        if input_at_most(request, body, self.settings.media_tokens) is None:
            return LMRequestRejected(
                f"{endpoint}: nobody knows how many tokens its pictures, recordings or documents take, and {pays}",
                endpoint=endpoint,
                hint=f"Give the endpoint media_tokens, such as {{'image': 5000}}{or_cap}.",
            )
        return PriceUnknown(
            f"{endpoint}: nobody knows the price of {self._model!r}, and {pays}",
            endpoint=endpoint,
            hint="Give the endpoint a price, or a call_cap: dollars that one call surely costs at most.",
        )


class Hold:
    """What one attempt can cost: accounts have set it aside, or a witness is told of it, or both.

    It ends once, by whichever comes first of its methods, and for both alike. A witness is told of the end of what
    it was to write down, and of that alone.
    """

    __slots__ = ("_most", "_over", "_request", "_reservation", "_stage", "_told")

    def __init__(
        self, stage: BudgetStage, request: LMRequest, most: WorstCase, reservation: Reservation | None
    ) -> None:
        self._stage = stage
        self._request = request
        self._most = most
        self._reservation = reservation
        self._told: tuple[Witness, Intent] | None = None
        self._over = False

    def intend(
        self, witness: Witness, key: str, attempt: int, endpoint: str, request_hash: str
    ) -> Awaitable[object]:
        """Have ``witness`` write down that the attempt is about to be sent; see `Intent`. Raises as it does."""
        most = self._most
        intent = Intent(key, attempt, endpoint, request_hash, self._nano_most(), min(most.tokens or 0, MOST))
        self._told = witness, intent  # from now on: nobody knows how far one comes that is cancelled
        return witness.intend(intent)

    def identify(self, response_id: str) -> None:
        """The provider has told its id of the answer."""
        if self._told is not None:
            witness, intent = self._told
            witness.identified(intent, response_id)

    def succeed(self, usage: Usage) -> Decimal | None:
        """There was a reply. Return what it cost in dollars; None if nobody knows."""
        # As some providers do, it is charged by the price of when it is over.
        nano = self._stage.charge(self._request, usage)
        ending = outcome_of(None, usage=usage)
        self._end(ending, self._nano_most() if nano is None else nano, usage)
        return None if nano is None or ending != "settle" else in_dollars(nano)

    def fail(self, error: BaseException, *, sent: bool, status: int | None) -> None:
        """There was none; see `outcome_of`."""
        self._end(outcome_of(error, sent=sent, status=status), 0, NONE_COUNTED)

    def _end(self, ending: Ending, spent: int | None, usage: Usage) -> None:
        if self._over:
            return
        self._over = True
        if self._reservation is not None:
            tokens = usage.input_tokens + usage.output_tokens
            self._stage.end(self._reservation, ending, Amount(spent or 0, tokens))
        if self._told is not None:
            witness, intent = self._told
            nano = intent.nano_most if ending == "write_off" else spent
            witness.settled(intent, TOLD[ending], usage, None if nano is None else in_dollars(nano))

    def _nano_most(self) -> int | None:
        nano = self._most.nano_dollars
        return None if nano is None else min(nano, MOST)


def _is_bounded(request: LMRequest) -> bool:
    """Whether nothing in the request may change what it costs in a way that nobody here knows."""
    return not request.extra or request.extra.keys() <= HARMLESS


def _bounds_replies(request: LMRequest) -> bool:
    """Whether ``max_tokens``, if set, and ``n`` mean what they say: to many a server -1 and 0 are no bound."""
    if not request.messages:  # it asks for vectors
        return True
    return request.n >= 1 and (request.max_tokens is None or request.max_tokens >= 1)


def _has_media(request: LMRequest) -> bool:
    return bool(media_in(request))
