"""Repertory: language-model programs as supervised actors.

The names below are the public API. Each is loaded when it is first used, so that importing the package costs
next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repertory.errors import RepertoryError
    from repertory.evaluation import Accuracy
    from repertory.modules import (
        ChainOfThought,
        Example,
        Module,
        NearestExamples,
        Parameters,
        Predict,
        Prediction,
    )
    from repertory.runtime.config import RuntimeConfig, load_config
    from repertory.runtime.deployment import Deployment, Run
    from repertory.runtime.runtime import Runtime
    from repertory.signatures import InputField, OutputField, Signature, check

__version__ = "0.1.0"

_HOMES = {
    "Accuracy": "repertory.evaluation",
    "ChainOfThought": "repertory.modules",
    "Deployment": "repertory.runtime.deployment",
    "Example": "repertory.modules",
    "InputField": "repertory.signatures",
    "Module": "repertory.modules",
    "NearestExamples": "repertory.modules",
    "OutputField": "repertory.signatures",
    "Parameters": "repertory.modules",
    "Predict": "repertory.modules",
    "Prediction": "repertory.modules",
    "RepertoryError": "repertory.errors",
    "Run": "repertory.runtime.deployment",
    "Runtime": "repertory.runtime.runtime",
    "RuntimeConfig": "repertory.runtime.config",
    "Signature": "repertory.signatures",
    "check": "repertory.signatures",
    "load_config": "repertory.runtime.config",
}

__all__ = [
    "Accuracy",
    "ChainOfThought",
    "Deployment",
    "Example",
    "InputField",
    "Module",
    "NearestExamples",
    "OutputField",
    "Parameters",
    "Predict",
    "Prediction",
    "RepertoryError",
    "Run",
    "Runtime",
    "RuntimeConfig",
    "Signature",
    "check",
    "load_config",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'repertory' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
