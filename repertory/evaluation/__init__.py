"""Evaluation: how good predictions are, and how sure one can be of it."""

from repertory.evaluation.accuracy import Accuracy
from repertory.evaluation.mcnemar import McNemar

__all__ = ["Accuracy", "McNemar"]
