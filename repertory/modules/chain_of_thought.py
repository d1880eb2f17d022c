"""Chain of thought: ask for the reasoning before the answer (Wei et al. 2022, arXiv:2201.11903)."""

from repertory.modules.predict import Predict
from repertory.signatures import OutputField, Signature


class ChainOfThought(Predict):
    """A `Predict` whose reply begins with a ``reasoning`` output."""

    @staticmethod
    def _asked(signature: type[Signature]) -> type[Signature]:
        return signature.prepend("reasoning", OutputField(desc="think step by step"))
