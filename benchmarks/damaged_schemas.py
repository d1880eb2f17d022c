"""Twenty signatures as people write them, each with values that a model may give: the intended objects."""

from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from repertory import Signature

URL = "https://example.org/a?b=1&c={d}#e"
SNIPPET = 'def greet(name: str) -> str:\n    return f"Hello, {name}!"  # it\'s short'


class Person(BaseModel):
    """Somebody in a mail."""

    name: str
    age: int | None
    emails: list[str]


class Line(BaseModel):
    """A position of an order."""

    sku: str
    quantity: int
    price: Decimal


class Money(BaseModel):
    """An amount."""

    amount: float
    currency: Literal["EUR", "USD"]


class Severity(Enum):
    """How bad a finding is."""

    LOW = "low"
    HIGH = "high"


class Finding(BaseModel):
    """What a reviewer found."""

    file: str
    line: int
    severity: Severity
    message: str


class Refund(BaseModel):
    """Money goes back."""

    kind: Literal["refund"]
    order: str
    amount: float


class Reply(BaseModel):
    """The customer is answered."""

    kind: Literal["reply"]
    text: str


class Section(BaseModel):
    """A part of a text, with parts of its own."""

    title: str
    body: str
    sections: list["Section"]


_TYPES: Final[dict[str, Any]] = {
    each.__name__: each for each in (Person, Line, Money, Severity, Finding, Refund, Reply, Section)
} | {"Action": Annotated[Refund | Reply, Field(discriminator="kind")]}


def _signature(text: str) -> type[Signature]:
    return Signature.parse(text, "Do it.", types=_TYPES)


SCHEMAS: Final[tuple[tuple[type[Signature], tuple[dict[str, Any], ...]], ...]] = (
    (
        _signature("article -> topic: Literal['business', 'sports', 'tech'], confidence: Confidence"),
        ({"topic": "sports", "confidence": 0.87}, {"topic": "tech", "confidence": 1.0}),
    ),
    (
        _signature("question -> reasoning, answer"),
        (
            {"reasoning": "It's said: \"all swans are white\".\nBut one isn't.", "answer": "No, not all."},
            {"reasoning": "Step 1: {x} is [y].\n\tStep 2: so what?", "answer": "100 % (see " + URL + ")"},
        ),
    ),
    (
        _signature("mail -> sender: Person, cc: list[Person], urgent: bool"),
        (
            {"sender": {"name": "Zoë O'Neil", "age": None, "emails": ["z@x.org"]}, "cc": [], "urgent": True},
            {
                "sender": {"name": "李雷", "age": 41, "emails": []},
                "cc": [{"name": 'Dr. "Bob" Ray', "age": 3, "emails": ["a@b.c", "d@e.f"]}],
                "urgent": False,
            },
        ),
    ),
    (
        _signature("order -> lines: list[Line], total: Decimal, ordered: date"),
        (
            {
                "lines": [
                    {"sku": "A-1", "quantity": 2, "price": "9.95"},
                    {"sku": "B'2", "quantity": 1, "price": "0.05"},
                ],
                "total": "19.95",
                "ordered": "2026-03-05",
            },
        ),
    ),
    (
        _signature("invoice -> total: Money, paid: bool | None, note: str | None"),
        (
            {"total": {"amount": 1234.5, "currency": "EUR"}, "paid": None, "note": None},
            {"total": {"amount": -3.0, "currency": "USD"}, "paid": True, "note": "Paid, in full; thanks: Ann"},
        ),
    ),
    (
        _signature("diff -> findings: list[Finding], summary"),
        (
            {
                "findings": [
                    {
                        "file": "a/b.py",
                        "line": 12,
                        "severity": "high",
                        "message": 'use "is" with None, not ==; see [1]',
                    },
                    {"file": "c.py", "line": 1, "severity": "low", "message": "don't"},
                ],
                "summary": "Two findings, one of them: serious.",
            },
        ),
    ),
    (
        _signature("ticket -> action: Action, escalate: bool"),
        (
            {"action": {"kind": "refund", "order": "#77", "amount": 12.5}, "escalate": False},
            {"action": {"kind": "reply", "text": "Hi,\n\nwe're on it.\n\nBest"}, "escalate": True},
        ),
    ),
    (
        _signature("text -> outline: Section"),
        (
            {
                "outline": {
                    "title": "I",
                    "body": "",
                    "sections": [{"title": "I.1", "body": 'It {is} so: [really], "so".', "sections": []}],
                }
            },
        ),
    ),
    (
        _signature("task -> code, language: Literal['python', 'sql']"),
        ({"code": SNIPPET, "language": "python"},),
    ),
    (
        _signature("question -> query: str, parameters: dict[str, int]"),
        ({"query": "SELECT \"a\", 'b' FROM t WHERE x = :x", "parameters": {"x": 3, "limit": 10}},),
    ),
    (
        _signature("page -> title, links: list[str], tags: set[str]"),
        ({"title": "Cats & dogs", "links": [URL, "http://b.c/"], "tags": ["a"]},),
    ),
    (
        _signature("log -> counts: dict[str, int], worst: Severity"),
        ({"counts": {"error": 12, "warn": 0, "it's": 3}, "worst": "high"},),
    ),
    (
        _signature("review -> stars: int, pros: list[str], cons: list[str]"),
        (
            {"stars": 4, "pros": ["fast", "it's light"], "cons": []},
            {"stars": 1, "pros": [], "cons": ["broke, twice", '5" too short']},
        ),
    ),
    (
        _signature("claim -> verdict: bool, sources: list[str], probability: float"),
        ({"verdict": False, "sources": ["Smith (2020), p. 3", "ibid."], "probability": 0.05},),
    ),
    (
        _signature("cv -> name, born: date | None, skills: dict[str, Literal['basic', 'good']]"),
        ({"name": "Søren", "born": None, "skills": {"C++": "good", "SQL": "basic"}},),
    ),
    (
        _signature("recipe -> steps: list[str], minutes: int, vegan: bool"),
        (
            {
                "steps": ["Mix 1/2 cup: flour, milk.", "Bake at 180 °C {fan}.", "Eat!"],
                "minutes": 45,
                "vegan": True,
            },
        ),
    ),
    (
        _signature("point -> corners: list[tuple[float, float]], closed: bool"),
        ({"corners": [[0.0, 1.5], [-2.25, 3.0]], "closed": True},),
    ),
    (
        _signature("sentence -> translation, notes: list[str] | None"),
        (
            {"translation": "„Ja“, sagte sie – „morgen“.", "notes": None},
            {"translation": 'He said: "No".', "notes": ["idiom", "\\o/ stays"]},
        ),
    ),
    (
        _signature("path -> folder, name, size: int, hidden: bool"),
        ({"folder": "C:\\Users\\new\\table", "name": "read me.txt", "size": 1234567, "hidden": False},),
    ),
    (
        _signature("chat -> reply, mood: Literal['calm', 'angry'], follow_up: str | None, due: date | None"),
        ({"reply": "Sure - I'll {do} it, ok?", "mood": "calm", "follow_up": "When?", "due": "2026-12-24"},),
    ),
)
