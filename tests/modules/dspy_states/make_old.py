"""Writes the state of one program with an older DSPy: ``old_VERSION.json`` beside this file.

Run from the repository's root in an environment of its own for each: ``pip install dspy==2.5.43``, then
``python -m tests.modules.dspy_states.make_old``. Here are 2.5.5, 2.5.43, 2.6.27 and 3.0.0: between them the format
changed. No model is asked.
"""

from importlib.metadata import version
from pathlib import Path

import dspy
from pydantic import BaseModel

HERE = Path(__file__).parent


class Place(BaseModel):
    name: str
    population: int


class Find(dspy.Signature):  # type: ignore[misc]  # dspy ships no types
    """Find the place."""

    question: str = dspy.InputField()
    place: Place = dspy.OutputField()


class Answer(dspy.Signature):  # type: ignore[misc]  # dspy ships no types
    """Answer the question."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField(desc="one word")


class Guide(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    def __init__(self) -> None:
        super().__init__()
        self.find = dspy.Predict(Find)
        self.answer = dspy.ChainOfThought(Answer)


def main() -> None:
    release = version("dspy")
    dspy.configure(lm=dspy.LM("openai/gpt-4o-mini", api_key="unused"))  # 2.5 words a reasoning by it
    program = Guide()
    place = Place(name="Łódź", population=670_642)
    program.find.demos = [dspy.Example(question="Which city?", place=place, augmented=True)]
    chain = program.answer.predict if hasattr(program.answer, "predict") else program.answer._predict
    chain.demos = [dspy.Example(question="Who?", reasoning="She did.", answer="Ada", augmented=True)]
    for attribute in ("signature", "extended_signature"):
        if hasattr(chain, attribute):
            setattr(chain, attribute, getattr(chain, attribute).with_instructions("Answer in one word."))
    if not release.startswith("2.5"):  # whose models cannot be saved
        program.find.lm = dspy.LM("openai/gpt-4o-mini", temperature=0.5, max_tokens=300, api_key="sk-not-a-key")
    program.save(str(HERE / f"old_{release.replace('.', '_')}.json"))


if __name__ == "__main__":
    main()
