"""What an endpoint's limits are, and how they stand, as data."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from repertory.errors import ConfigError
from repertory.providers.messages import Priority


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How much an endpoint may be sent.

    Args:
        max_concurrency: Most attempts in flight; None is no limit.
        requests_per_minute: Most attempts sent in any minute; None is no limit. They are spread over the minute:
            at most a sixtieth of them, and at least one, may come as a burst.
        tokens_per_minute: Most tokens, read and written, a minute; None is no limit. As with the providers, up to
            a minute's worth is saved up while less is used.
        adaptive: Whether fewer attempts are let into flight where the endpoint shows that it has too many.
        max_waiting: Most calls that may wait for their turn; more are refused.
    """

    max_concurrency: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    adaptive: bool = True
    max_waiting: int = 10_000

    def __post_init__(self) -> None:
        for name in ("max_concurrency", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"limits: {name} = {value}: expected a number above 0, or None for no limit")
        if self.max_concurrency is not None and self.max_concurrency < 1:
            raise ConfigError(f"limits: max_concurrency = {self.max_concurrency}: expected at least 1")
        if self.max_waiting < 0:
            raise ConfigError(f"limits: max_waiting = {self.max_waiting}: expected 0 or more")


@dataclass(frozen=True, slots=True)
class LimitsSnapshot:
    """How an endpoint's limits stand."""

    waiting: Mapping[Priority, int]  # calls waiting for their turn
    callers: int  # on whose behalf they wait; one that waits in two classes counts twice
    in_flight: int  # attempts that have their turn and have not ended
    concurrency: int | None  # most attempts in flight at present; None: no limit
    tokens_left: int | None  # of `tokens_per_minute`, less what is reserved; below 0 it is a debt
    requests_left: int | None  # as the provider last announced, less what was sent since; None: it did not
    paused_for: float  # seconds during which the provider wants no call; 0 is no pause
