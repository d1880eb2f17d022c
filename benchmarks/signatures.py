"""What signatures and prompts cost: compiling, formatting, parsing.

    pip install 'repertory[bench]'
    python -m benchmarks.signatures --json

Method: CPU time of this process; every figure is taken once a round, DSPy's in the same round right after ours,
    and the median over the rounds is reported beside the lowest and highest. A ratio is taken within the round.
    The exit status is 1 if a figure misses what it must reach.

* ``compile_cold_us``: reading a string form of five fields never seen before, and compiling it: validators, JSON
  schemas, fingerprint. DSPy: ``dspy.Signature(text)``, which makes no schema.
* ``compile_cached_us``: compiling it again.
* ``format_parse_us``: `ChatAdapter` words a question of two inputs (validated before) and reads the reply to it
  (two outputs), no demonstrations. DSPy: its ChatAdapter, the same question and the same reply.
* ``demos16_us``: what 16 demonstrations add to that, as `Predict` asks: what they look like is worked out once
  for each snapshot of parameters. ``demos16_per_call_us``: if they are other ones in every call.
* ``construct_format_ratio``: making a signature from its string form and wording a question, as in a handler that
  does so for every request: times as fast as DSPy.
* ``parse_4kb_us``: `JSONAdapter` reads a valid reply of 4 kB, an order of nested models, into typed values.
* ``repair_rate``, ``silent_wrong``: of 200 damaged replies, the share read as what was intended, and how many were
  read as something else without a word; see ``benchmarks.damaged_replies``. One set: it is the same every time.
"""

import argparse
import gc
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from time import process_time
from typing import Any, Literal

from pydantic import BaseModel

from benchmarks.damaged_replies import tally
from repertory import InputField, OutputField, Predict, Signature
from repertory.modules import ChatAdapter, JSONAdapter
from repertory.signatures import compile_signature

ROUNDS = 11
AT_MOST = {
    "compile_cold_us": 2000.0,
    "compile_cached_us": 2.0,
    "format_parse_us": 20.0,
    "demos16_us": 10.0,
    "parse_4kb_us": 150.0,
    "silent_wrong": 0.0,
}
AT_LEAST = {"construct_format_ratio": 10.0, "repair_rate": 0.95}

FIVE_FIELDS = (
    "question{0}, context{0}: list[str] -> answer{0}: str, topic{0}: Literal['a', 'b'], confidence{0}: float"
)
QUESTION = "question, context: list[str] -> answer, confidence: float"
INPUTS = {"question": "Where was the treaty signed?", "context": ["It was signed in Paris.", "In 1783."]}
OUTPUTS = {"answer": "Paris", "confidence": 0.9}
REPLY = "[[ ## answer ## ]]\nParis\n\n[[ ## confidence ## ]]\n0.9\n\n[[ ## completed ## ]]"


class Item(BaseModel):
    """One position of an order."""

    sku: str
    title: str
    quantity: int
    price: Decimal
    tags: list[str]


class Party(BaseModel):
    """Who buys or sells."""

    name: str
    street: str
    city: str
    country: Literal["DE", "FR", "GB"]


class Order(Signature):
    """Read the order from the mail."""

    mail: str = InputField()
    ordered: date = OutputField()
    buyer: Party = OutputField()
    seller: Party = OutputField()
    lines: list[Item] = OutputField(min_length=1)
    urgent: bool = OutputField()
    remarks: str | None = OutputField()


@dataclass(slots=True)
class Figures:
    """Samples by key, in the order taken."""

    samples: dict[str, list[float]] = field(default_factory=dict)

    def note(self, key: str, value: float) -> None:
        """Add one sample."""
        self.samples.setdefault(key, []).append(value)

    def summary(self) -> dict[str, dict[str, float]]:
        """Median, lowest and highest of each."""
        return {
            key: {"median": _short(median(values)), "min": _short(min(values)), "max": _short(max(values))}
            for key, values in self.samples.items()
        }


def microseconds(call: Callable[[], object], repeat: int) -> float:
    """CPU time of one call, over ``repeat`` calls."""
    gc.collect()
    begun = process_time()
    for _ in range(repeat):
        call()
    return (process_time() - begun) / repeat * 1e6


def our_round(number: int, figures: Figures, scale: int) -> None:
    """Every figure of ours, once."""
    texts = iter([FIVE_FIELDS.format(f"_{number}_{each}") for each in range(100 // scale)])
    figures.note(
        "compile_cold_us", microseconds(lambda: compile_signature(Signature.parse(next(texts))), 100 // scale)
    )
    known = Signature.parse(FIVE_FIELDS.format(""))
    figures.note("compile_cached_us", microseconds(lambda: compile_signature(known), 100_000 // scale))

    adapter, compiled = ChatAdapter(), compile_signature(Signature.parse(QUESTION))
    assert adapter.parse(compiled, REPLY).outputs == OUTPUTS

    def format_parse() -> None:
        adapter.format(compiled, (), INPUTS)
        adapter.parse(compiled, REPLY)

    figures.note("format_parse_us", microseconds(format_parse, 10_000 // scale))

    demos = [{**INPUTS, **OUTPUTS, "question": f"{each}: where?"} for each in range(16)]
    bare, shown = Predict(QUESTION, adapter=adapter), Predict(QUESTION, adapter=adapter, demos=demos)
    without = microseconds(lambda: bare.messages(INPUTS), 10_000 // scale)
    figures.note("demos16_us", microseconds(lambda: shown.messages(INPUTS), 10_000 // scale) - without)
    figures.note(
        "demos16_per_call_us", microseconds(lambda: bare.messages(INPUTS, demos=demos), 1_000 // scale) - without
    )

    def construct_format() -> None:
        adapter.format(compile_signature(Signature.parse(QUESTION)), (), INPUTS)

    figures.note("construct_format_us", microseconds(construct_format, 10_000 // scale))

    order, reply = compile_signature(Order), order_reply()
    assert not JSONAdapter().parse(order, reply).changes
    figures.note("parse_4kb_us", microseconds(lambda: JSONAdapter().parse(order, reply), 2_000 // scale))


def dspy_round(number: int, figures: Figures, scale: int) -> None:
    """The same of DSPy, where it has the same."""
    import dspy

    texts = iter([FIVE_FIELDS.format(f"_{number}_{each}") for each in range(100 // scale)])
    figures.note("dspy_compile_cold_us", microseconds(lambda: dspy.Signature(next(texts)), 100 // scale))
    adapter, signature = dspy.ChatAdapter(), dspy.Signature(QUESTION)
    assert adapter.parse(signature, REPLY) == OUTPUTS

    def format_parse() -> None:
        adapter.format(signature, [], INPUTS)
        adapter.parse(signature, REPLY)

    without = microseconds(format_parse, 1_000 // scale)
    figures.note("dspy_format_parse_us", without)
    demos = [{**INPUTS, **OUTPUTS, "question": f"{each}: where?"} for each in range(16)]

    def format_demos() -> None:
        adapter.format(signature, demos, INPUTS)
        adapter.parse(signature, REPLY)

    figures.note("dspy_demos16_us", microseconds(format_demos, 300 // scale) - without)
    constructed = microseconds(lambda: adapter.format(dspy.Signature(QUESTION), [], INPUTS), 300 // scale)
    figures.note("dspy_construct_format_us", constructed)
    figures.note("construct_format_ratio", constructed / figures.samples["construct_format_us"][-1])


def order_reply() -> str:
    """A valid reply of 4 kB to `Order`."""
    party = {"name": "Meyer & Söhne", "street": "Hauptstraße 5", "city": "Köln", "country": "DE"}
    items: list[dict[str, Any]] = []
    while True:
        number = len(items)
        items.append(
            {
                "sku": f"A-{number:04}",
                "title": f"Steel bracket, size {number}",
                "quantity": number + 1,
                "price": f"{number}.95",
                "tags": ["steel", "bracket"],
            }
        )
        values = {"ordered": "2026-03-05", "buyer": party, "seller": party, "lines": items}
        reply = json.dumps({**values, "urgent": False, "remarks": None}, ensure_ascii=False)
        if len(reply.encode()) >= 4096:
            return reply


def missed(summary: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The figures that do not reach what they must."""
    value = {key: figure["median"] for key, figure in summary.items()}
    over = [key for key, bound in AT_MOST.items() if key in value and value[key] > bound]
    return over + [key for key, bound in AT_LEAST.items() if key in value and value[key] < bound]


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to see that it runs")
    arguments = parser.parse_args()
    scale = 10 if arguments.quick else 1
    try:
        peer = version("dspy")
    except PackageNotFoundError:
        peer = "not installed: pip install 'repertory[bench]'"
    figures = Figures()
    for number in range(arguments.rounds):
        our_round(number, figures, scale)
        if peer[0].isdigit():
            dspy_round(number, figures, scale)
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    replies = tally()
    figures.note("repair_rate", replies.repair_rate)
    figures.note("silent_wrong", replies.silent_wrong)
    summary = figures.summary()
    failed = missed(summary)
    if not arguments.json:
        for key, figure in summary.items():
            must = AT_MOST.get(key, AT_LEAST.get(key, ""))
            print(f"{key:26}{figure['median']:>10g}   ({figure['min']:g} to {figure['max']:g})   {must}")
        return int(bool(failed))
    values = {key: figure["median"] for key, figure in summary.items()}
    told = {"must": {**AT_MOST, **AT_LEAST}, "missed": failed, "spread": summary, "dspy": peer}
    print(json.dumps({**values, **told, "rounds": arguments.rounds}, indent=2))
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
