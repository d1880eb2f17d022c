"""Nearest examples: demonstrations picked for each question by lexical similarity (BM25).

Showing the labelled examples closest to the question helps small models most (Liu et al. 2021,
arXiv:2101.06804). Needs the extra ``retrieval``.
"""

from collections.abc import Iterable
from typing import Any

from repertory.errors import ConfigError
from repertory.modules.example import Example


class NearestExamples:
    """An index over labelled examples.

    ```python
    nearest = NearestExamples(labelled, field="article", k=3)
    await classify(article=article, demos=nearest(article))
    ```

    Args:
        examples: What to pick from, at least ``k``.
        field: The text field that is compared.
        k: How many to pick.

    Raises ConfigError naming the argument, or the command that installs the extra.
    """

    def __init__(self, examples: Iterable[Example], *, field: str, k: int = 3) -> None:
        self.examples = tuple(examples)
        self.k = k
        if not 1 <= k <= len(self.examples):
            raise ConfigError(
                f"NearestExamples: k = {k} of {len(self.examples)} examples",
                hint="Give at least k examples, and a k of 1 or more.",
            )
        for position, example in enumerate(self.examples):
            if not isinstance(example.get(field), str):
                raise ConfigError(
                    f"NearestExamples: example {position} has no text in {field!r}",
                    hint=f"It has: {', '.join(example)}.",
                )
        try:
            import bm25s
        except ImportError as error:
            raise ConfigError(
                "NearestExamples needs the extra `retrieval`", hint="Run: pip install 'repertory[retrieval]'"
            ) from error
        self._tokenize = bm25s.tokenize
        self._index = bm25s.BM25()
        corpus = self._tokens([example[field] for example in self.examples])
        if not any(corpus.ids):
            raise ConfigError(
                f"NearestExamples: no example has a word to compare in {field!r}",
                hint="Words of one letter and the commonest English ones are passed over.",
            )
        self._index.index(corpus, show_progress=False)

    def __call__(self, text: str) -> list[Example]:
        """The ``k`` examples most like ``text``, the closest last: next to the question it helps most."""
        found, _scores = self._index.retrieve(self._tokens([text]), k=self.k, show_progress=False)
        return [self.examples[position] for position in reversed(found[0].tolist())]

    def _tokens(self, texts: list[str]) -> Any:
        return self._tokenize(texts, stopwords="en", show_progress=False)
