"""Whether answers have become slow: a row of them, each slow for its length.

Plain seconds mislead, as a long answer takes longer than a short one; seconds a token mislead too, as every answer
has a part that does not depend on its length. An answer counts as slow only if it is slow by both measures, each
against its own slowly moving average, as the long-term round trip of Netflix's Gradient2
(https://github.com/Netflix/concurrency-limits) moves: longer answers raise the first measure only, shorter ones
the second. One slow answer says nothing at all, a row of them does.
"""

FACTOR = 2.5  # times the average is slow
ROW = 10  # slow answers in a row that are a sign
REMEMBERED = (
    250  # answers the averages look back on; a change that lasts is the rule after a tenth to half of them
)
WARM_UP = 30  # answers before there is a rule to depart from
# Where answers take less than this, it is as likely that our own process is busy as that the endpoint is.
NEVER_SLOW = 2.0  # seconds


class Slowness:
    """Watches the answers of one endpoint.

    Invariant: ``_row`` is the number of slow answers since the last one that was not, or since ``restart``.
    """

    __slots__ = ("_pace", "_row", "_seconds", "_seen")

    def __init__(self) -> None:
        self._seconds = 0.0  # an answer takes, on average
        self._pace = 0.0  # seconds a token, on average
        self._seen = 0
        self._row = 0

    def note(self, seconds: float, tokens: int) -> bool:
        """Count an answer; return whether it completes a row of slow ones.

        Args:
            seconds: How long it took.
            tokens: Read and written for it, above 0.
        """
        pace = seconds / tokens
        slow = (
            seconds > NEVER_SLOW
            and self._seen >= WARM_UP
            and seconds > FACTOR * self._seconds
            and pace > FACTOR * self._pace
        )
        if self._seen < REMEMBERED:
            self._seen += 1
        self._seconds += (seconds - self._seconds) / self._seen
        self._pace += (pace - self._pace) / self._seen
        if not slow:
            self._row = 0
            return False
        self._row += 1
        if self._row < ROW:
            return False
        self._row = 0
        return True

    def restart(self) -> None:
        """Begin a new row: the load has changed."""
        self._row = 0
