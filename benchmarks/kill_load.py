"""The load under which processes are killed: a program of five steps, and what an endpoint says to each of them.

All of it follows from the number of the document that a run is about, so that everybody knows what is right.
"""

import repertory as rp

STEPS = 5
ASKED_TWICE = 10  # one run in so many has a step whose first reply is of no use
INPUT, OUTPUT = 400, 1600  # nano-dollars a token
MAX_TOKENS = 200


class Report(rp.Module):
    """Two steps side by side, one that waits for both, one whose reply may need a correction, one after that."""

    def __init__(self) -> None:
        self.facts = rp.Predict("document -> facts", max_tokens=MAX_TOKENS)
        self.risks = rp.Predict("document -> risks", max_tokens=MAX_TOKENS)
        self.outline = rp.Predict("facts, risks -> outline", max_tokens=MAX_TOKENS)
        self.rate = rp.Predict("outline -> score: int", max_tokens=MAX_TOKENS)
        self.write = rp.Predict("outline, score: int -> report", max_tokens=MAX_TOKENS)

    async def forward(self, document: str) -> rp.Prediction:
        """The report on a document."""
        facts = self.facts(document=document)
        risks = self.risks(document=document)
        outline = self.outline(facts=facts.facts, risks=risks.risks)
        rated = await self.rate(outline=outline.outline)
        return await self.write(outline=outline.outline, score=rated.score)


def document(number: int) -> str:
    """The document that the run of this number is about."""
    return f"document {number}"


def outputs(number: int) -> dict[str, object]:
    """What the run of this number returns."""
    outline = f"outline of (facts of {document(number)}; risks of {document(number)})"
    return {"report": f"report on {outline}, {number}"}


def calls(runs: int) -> int:
    """How many different calls that many runs make."""
    return runs * STEPS + len([number for number in range(runs) if _is_asked_twice(number)])


def reply(output: str, question: str, turns: int) -> dict[str, object]:
    """What a model says.

    Args:
        output: The field that is wanted.
        question: The inputs, a line for each.
        turns: Messages of the conversation so far.
    """
    given = dict(line.split(": ", 1) for line in question.splitlines())
    match output:
        case "facts" | "risks":
            return {output: f"{output} of {given['document']}"}
        case "outline":
            return {output: f"outline of ({given['facts']}; {given['risks']})"}
        case "score":
            number = int(given["outline"].rpartition(" ")[2].rstrip(")"))
            return {output: "many" if _is_asked_twice(number) and turns == 2 else number}
        case _:
            return {output: f"report on {given['outline']}, {given['score']}"}


def _is_asked_twice(number: int) -> bool:
    return number % ASKED_TWICE == 3
