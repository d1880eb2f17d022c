"""Modules: how a model is asked for what a signature says, and how such questions compose into programs."""

from repertory.modules.adapters import (
    Adapter,
    BAMLAdapter,
    ChatAdapter,
    FieldDelta,
    FieldDone,
    FieldEvent,
    JSONAdapter,
    ReplyStream,
    TwoStepAdapter,
    XMLAdapter,
)
from repertory.modules.chain_of_thought import ChainOfThought
from repertory.modules.concurrent import gather, map
from repertory.modules.example import Example
from repertory.modules.graph import Graph
from repertory.modules.module import Module
from repertory.modules.nearest import NearestExamples
from repertory.modules.parameters import Parameters
from repertory.modules.pending import Pending
from repertory.modules.predict import Predict
from repertory.modules.prediction import Prediction

__all__ = [
    "Adapter",
    "BAMLAdapter",
    "ChainOfThought",
    "ChatAdapter",
    "Example",
    "FieldDelta",
    "FieldDone",
    "FieldEvent",
    "Graph",
    "JSONAdapter",
    "Module",
    "NearestExamples",
    "Parameters",
    "Pending",
    "Predict",
    "Prediction",
    "ReplyStream",
    "TwoStepAdapter",
    "XMLAdapter",
    "gather",
    "map",
]
