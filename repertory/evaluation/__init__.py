"""Evaluation: how good predictions are, and how sure one can be of it."""

from repertory.evaluation.accuracy import Accuracy

__all__ = ["Accuracy"]
