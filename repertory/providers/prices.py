"""What a model's tokens cost: the most that a call can cost, and what one has cost.

The table is that of genai-prices, which comes with the package and needs no network. It is loaded when a price is
first asked for: that takes a moment, so ask before the first call.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from repertory.providers.messages import Usage
from repertory.store.ledger import nano_dollars

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

MTOK = 10**6

TABLE_NAMES: Final = MappingProxyType({"openai-responses": "openai", "anthropic-2023-06-01": "anthropic"})
"""What the table calls providers that it knows by another name."""

OWN = "local"  # the provider that is a process of ours: nobody bills it

# What the table knows a price of. Kinds of input that a `Usage` does not count apart:
MEDIA = ("input_audio_mtok", "input_image_mtok", "input_video_mtok", "input_text_mtok")
CACHED_MEDIA = ("cache_audio_read_mtok", "cache_image_read_mtok", "cache_video_read_mtok")
# Kinds of output likewise, which a model may choose to give:
OUTPUT = ("output_mtok", "output_audio_mtok", "output_image_mtok", "output_video_mtok", "output_reasoning_mtok")
# Only calls that ask for it pay for it, and no `LMRequest` does but by its field `extra`:
ON_DEMAND = (
    *("cache_write_5m_mtok", "cache_write_1h_mtok"),
    *("web_searches_kcount", "social_searches_kcount", "storage_searches_kcount", "code_executions_kcount"),
)
UNDERSTOOD = frozenset(
    (
        *("input_mtok", "cache_read_mtok", "cache_write_mtok", "requests_kcount"),
        *(*MEDIA, *CACHED_MEDIA, *OUTPUT, *ON_DEMAND),
    )
)
QUARTER = 900  # seconds; prices that depend on the hour change on the quarter
AHEAD = tuple(timedelta(seconds=QUARTER * quarters) for quarters in (1, 2, 3, 4))  # longer than a call takes


@dataclass(frozen=True, slots=True)
class Tier:
    """What calls with many input tokens cost; all of a call is of one tier.

    Attributes:
        above: It is for calls with more input tokens than this; -1 for all.
        input: Nano-dollars per million tokens read, as all that follow.
        output: Tokens written, of the dearest kind that the model writes.
        cache_read: Tokens read from the provider's cache.
        cache_write: Tokens written to it.
        media: Tokens read, of the dearest kind: those of recordings often cost more than those of text.
    """

    above: int
    input: int
    output: int
    cache_read: int
    cache_write: int
    media: int

    @property
    def dearest_input(self) -> int:
        """Of the kinds of input."""
        return max(self.input, self.cache_read, self.cache_write, self.media)


@dataclass(frozen=True, slots=True)
class Price:
    """What calls of one model cost.

    Attributes:
        tiers: From fewest input tokens to most; the first is for all.
        request: Nano-dollars for each request, whatever it is.
        coming: Tiers of prices that come into force while a call may be under way.
    """

    tiers: tuple[Tier, ...]
    request: int = 0
    coming: tuple[Tier, ...] = ()

    @classmethod
    def flat(
        cls,
        *,
        input: Decimal,
        output: Decimal,
        cache_read: Decimal | None = None,
        cache_write: Decimal | None = None,
    ) -> "Price":
        """A price of one's own, in dollars per million tokens; None is as ``input``."""
        read, written = (input if rate is None else rate for rate in (cache_read, cache_write))
        plain = nano_dollars(input)
        return cls((Tier(-1, plain, nano_dollars(output), nano_dollars(read), nano_dollars(written), plain),))

    def at_most(self, input_tokens: int, output_tokens: int) -> int:
        """Nano-dollars that a call with at most so many tokens can cost: each of the dearest kind, in any tier."""
        most = 0
        for tiers in (self.tiers, self.coming):
            for tier in tiers:
                if tier.above < input_tokens or tier.above < 0:
                    most = max(most, input_tokens * tier.dearest_input + output_tokens * tier.output)
        return self.request + _rounded_up(most)

    def of(self, usage: Usage, *, media: bool = False) -> int:
        """Nano-dollars that a call has cost.

        Args:
            usage: What it was counted for.
            media: Whether it carried pictures or the like. A usage does not tell which tokens were theirs: where
                those have a price of their own, all it read is charged that.
        """
        tier = self.tiers[0]
        for higher in self.tiers[1:]:
            if usage.input_tokens > higher.above:
                tier = higher
        read, written = usage.cached_tokens, usage.cache_write_tokens
        if media and tier.media > tier.input:
            read_for = usage.input_tokens * tier.dearest_input
        else:
            fresh = max(0, usage.input_tokens - read - written)
            read_for = fresh * tier.input + read * tier.cache_read + written * tier.cache_write
        return self.request + _rounded_up(read_for + usage.output_tokens * tier.output)


def _rounded_up(nano_by_million: int) -> int:
    return -(-nano_by_million // MTOK)


@dataclass(frozen=True, slots=True)
class KnownModel:
    """What the table says of a model.

    Attributes:
        price: None where it is not billed by tokens alone.
        context_window: Most input tokens it takes, roughly; None where the table does not say.
    """

    price: Price | None
    context_window: int | None


FREE = Price((Tier(-1, 0, 0, 0, 0, 0),))


def known_price(provider: str, model: str, now: datetime) -> Price | None:
    """The price of ``model`` from ``now`` on; None where nobody knows it. See `known_model`."""
    known = known_model(provider, model, now)
    return None if known is None else known.price


def known_model(provider: str, model: str, now: datetime) -> KnownModel | None:
    """What is known of ``model``; None if nothing is.

    Args:
        provider: A name of `catalog.PROVIDERS` or of the table.
        model: The model's name there.
        now: When it is called or answered: some prices depend on the hour. Ask again every `QUARTER`.
    """
    if provider == OWN:
        return KnownModel(FREE, None)
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    name = TABLE_NAMES.get(provider, provider)
    # Not by resemblance: a gateway of whatever name would be taken for someone whose prices are known.
    row = next((each for each in snapshot.providers if each.id == name), None)
    found = None if row is None else row.find_model(model, all_providers=snapshot.providers)
    if found is None:
        return None
    present = found.get_prices(now)
    tiers = _tiers(present)
    if tiers is None:
        return KnownModel(None, found.context_window)
    coming = {tier for ahead in AHEAD for tier in _tiers(found.get_prices(now + ahead)) or ()}.difference(tiers)
    price = Price(tiers, -(-_rate(present, "requests_kcount", 0) // 1000), tuple(coming))
    return KnownModel(price, found.context_window)


def _tiers(price: "ModelPrice") -> tuple[Tier, ...] | None:
    """The tiers of a row of the table; None where calls are billed by something else than tokens too."""
    rates = {name for name, rate in vars(price).items() if rate is not None}
    if not rates <= UNDERSTOOD or not {"input_mtok", "output_mtok"} <= rates:
        return None
    starts = sorted({tier.start for name in rates for tier in getattr(vars(price)[name], "tiers", ())})
    return tuple(_tier(price, above) for above in (-1, *starts))


def _tier(price: "ModelPrice", above: int) -> Tier:
    plain = _rate(price, "input_mtok", above)
    return Tier(
        above,
        input=plain,
        output=_dearest(price, OUTPUT, above),
        cache_read=_rate(price, "cache_read_mtok", above, otherwise=plain),
        cache_write=_rate(price, "cache_write_mtok", above, otherwise=plain),
        media=max(plain, _dearest(price, (*MEDIA, *CACHED_MEDIA), above)),
    )


def _dearest(price: "ModelPrice", names: Iterable[str], above: int) -> int:
    return max(_rate(price, name, above) for name in names)


def _rate(price: "ModelPrice", name: str, above: int, *, otherwise: int = 0) -> int:
    """Nano-dollars for the unit of ``name`` in calls with just more than ``above`` input tokens."""
    rate = vars(price).get(name)
    if rate is None:
        return otherwise
    if not isinstance(rate, Decimal):
        reached = [tier.price for tier in rate.tiers if tier.start <= above]
        rate = reached[-1] if reached else rate.base
    return nano_dollars(rate)
