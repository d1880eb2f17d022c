"""How many tokens a request has, from its size in bytes: a ratio learnt from what the replies were counted for.

A tokenizer would know, but needs the vocabulary of the model, which is a download or the provider's secret.
"""

from math import ceil

FRAME = 16  # tokens that a chat has beyond those of its words: marks around it, and the reply's beginning
FIRST_RATIO = 1 / 3  # tokens a byte; English has a quarter, so that the first guesses are on the safe side
LOWEST_RATIO = 1 / 16
HIGHEST_RATIO = 1.0
FIRST_WEIGHT = 2000  # bytes; what the first ratio counts for
WEIGHT = 0.1  # of the newest reply against all before
MOST_HIDDEN = 20_000  # tokens


class TokenEstimate:
    """The tokens of one model's requests.

    Sizes are those of the encoded body, or of as much of it as is text: a picture's bytes are not like a text's,
    and one that is given by its address has none. Whoever asks with pictures has to add what they cost.

    Invariant: ``_tokens / _bytes`` is the ratio of exponentially weighted averages over the replies noted, long
    requests counting for more than short ones; ``_hidden`` is the most by which a request noted had more tokens
    than bytes, at least ``FRAME`` and at most ``MOST_HIDDEN``.
    """

    __slots__ = ("_bytes", "_hidden", "_tokens")

    def __init__(self) -> None:
        self._bytes: float = FIRST_WEIGHT
        self._tokens: float = FIRST_WEIGHT * FIRST_RATIO
        self._hidden = FRAME

    @property
    def ratio(self) -> float:
        """Tokens a byte."""
        return min(HIGHEST_RATIO, max(LOWEST_RATIO, self._tokens / self._bytes))

    def estimate(self, size_bytes: int) -> int:
        """The tokens a request of that size probably has."""
        return ceil(size_bytes * self.ratio) + FRAME

    def at_most(self, size_bytes: int) -> int:
        """The most tokens a request of that size can have.

        A byte-level BPE vocabulary (OpenAI's, Llama's, Qwen's) is made by joining bytes, and SentencePiece falls
        back to single bytes for what it does not know: neither makes more tokens than there are bytes. The marks
        around a message are fewer than the bytes of the JSON around it. What a provider adds unseen, such as its
        own instructions for the use of tools, shows in the first reply and is allowed for from then on.
        """
        return size_bytes + self._hidden

    def note(self, size_bytes: int, input_tokens: int) -> None:
        """Learn from a reply.

        Args:
            size_bytes: The request's size.
            input_tokens: What it was counted for; 0 or less is taken to mean that nobody counted.
        """
        if size_bytes <= 0 or input_tokens <= 0:
            return
        words = min(max(0, input_tokens - FRAME), size_bytes * HIGHEST_RATIO)
        self._bytes += WEIGHT * (size_bytes - self._bytes)
        self._tokens += WEIGHT * (words - self._tokens)
        if (hidden := input_tokens - size_bytes) > self._hidden:
            self._hidden = min(hidden, MOST_HIDDEN)
