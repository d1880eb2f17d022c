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
        Graph,
        Module,
        NearestExamples,
        Parameters,
        Pending,
        Predict,
        Prediction,
        gather,
        map,
    )
    from repertory.modules.effects import sleep_until, step, this_run, wait_for_signal
    from repertory.modules.options import ModuleOptions
    from repertory.modules.run_info import RunInfo
    from repertory.providers.messages import Terms
    from repertory.runtime.config import RuntimeConfig, load_config
    from repertory.runtime.deployment import Deployment
    from repertory.runtime.execution import Run
    from repertory.runtime.releases import Release
    from repertory.runtime.rollout_plan import RolloutPlan
    from repertory.runtime.run_budget import RunBudget
    from repertory.runtime.run_handle import RunHandle
    from repertory.runtime.run_log import RunEvent
    from repertory.runtime.run_status import RunStatus
    from repertory.runtime.runtime import Runtime
    from repertory.signatures import (
        Audio,
        Citation,
        Code,
        Confidence,
        Document,
        Embedding,
        File,
        History,
        Image,
        InputField,
        Label,
        OutputField,
        Probability,
        Reasoning,
        ReasoningChain,
        ReasoningStep,
        Score,
        Signature,
        Similarity,
        TokenUsage,
        Tool,
        ToolCall,
        ToolResult,
        check,
        register_type,
    )

__version__ = "0.1.0"

_HOMES = {
    "Accuracy": "repertory.evaluation",
    "Audio": "repertory.signatures",
    "ChainOfThought": "repertory.modules",
    "Citation": "repertory.signatures",
    "Code": "repertory.signatures",
    "Confidence": "repertory.signatures",
    "Deployment": "repertory.runtime.deployment",
    "Document": "repertory.signatures",
    "Embedding": "repertory.signatures",
    "Example": "repertory.modules",
    "File": "repertory.signatures",
    "Graph": "repertory.modules",
    "History": "repertory.signatures",
    "Image": "repertory.signatures",
    "InputField": "repertory.signatures",
    "Label": "repertory.signatures",
    "Module": "repertory.modules",
    "ModuleOptions": "repertory.modules.options",
    "NearestExamples": "repertory.modules",
    "OutputField": "repertory.signatures",
    "Parameters": "repertory.modules",
    "Pending": "repertory.modules",
    "Predict": "repertory.modules",
    "Prediction": "repertory.modules",
    "Probability": "repertory.signatures",
    "Reasoning": "repertory.signatures",
    "ReasoningChain": "repertory.signatures",
    "ReasoningStep": "repertory.signatures",
    "Release": "repertory.runtime.releases",
    "RepertoryError": "repertory.errors",
    "RolloutPlan": "repertory.runtime.rollout_plan",
    "Run": "repertory.runtime.execution",
    "RunBudget": "repertory.runtime.run_budget",
    "RunEvent": "repertory.runtime.run_log",
    "RunHandle": "repertory.runtime.run_handle",
    "RunInfo": "repertory.modules.run_info",
    "RunStatus": "repertory.runtime.run_status",
    "Runtime": "repertory.runtime.runtime",
    "RuntimeConfig": "repertory.runtime.config",
    "Score": "repertory.signatures",
    "Signature": "repertory.signatures",
    "Similarity": "repertory.signatures",
    "Terms": "repertory.providers.messages",
    "TokenUsage": "repertory.signatures",
    "Tool": "repertory.signatures",
    "ToolCall": "repertory.signatures",
    "ToolResult": "repertory.signatures",
    "check": "repertory.signatures",
    "gather": "repertory.modules",
    "load_config": "repertory.runtime.config",
    "map": "repertory.modules",
    "register_type": "repertory.signatures",
    "sleep_until": "repertory.modules.effects",
    "step": "repertory.modules.effects",
    "this_run": "repertory.modules.effects",
    "wait_for_signal": "repertory.modules.effects",
}

__all__ = [
    "Accuracy",
    "Audio",
    "ChainOfThought",
    "Citation",
    "Code",
    "Confidence",
    "Deployment",
    "Document",
    "Embedding",
    "Example",
    "File",
    "Graph",
    "History",
    "Image",
    "InputField",
    "Label",
    "Module",
    "ModuleOptions",
    "NearestExamples",
    "OutputField",
    "Parameters",
    "Pending",
    "Predict",
    "Prediction",
    "Probability",
    "Reasoning",
    "ReasoningChain",
    "ReasoningStep",
    "Release",
    "RepertoryError",
    "RolloutPlan",
    "Run",
    "RunBudget",
    "RunEvent",
    "RunHandle",
    "RunInfo",
    "RunStatus",
    "Runtime",
    "RuntimeConfig",
    "Score",
    "Signature",
    "Similarity",
    "Terms",
    "TokenUsage",
    "Tool",
    "ToolCall",
    "ToolResult",
    "check",
    "gather",
    "load_config",
    "map",
    "register_type",
    "sleep_until",
    "step",
    "this_run",
    "wait_for_signal",
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
