"""Signatures: typed inputs and outputs of a question to a language model, compiled to validators and schemas."""

from repertory.signatures.advice import Advice, advise
from repertory.signatures.checks import Check, check
from repertory.signatures.compiled import CompiledSignature, FieldSpec, compile_cache_stats, compile_signature
from repertory.signatures.fields import InputField, OutputField
from repertory.signatures.signature import Signature
from repertory.signatures.type_registry import register_type
from repertory.signatures.types import (
    Audio,
    Citation,
    Code,
    Confidence,
    Document,
    Embedding,
    File,
    History,
    Image,
    Label,
    Probability,
    Reasoning,
    ReasoningChain,
    ReasoningStep,
    Score,
    Similarity,
    TokenUsage,
    Tool,
    ToolCall,
    ToolResult,
)

__all__ = [
    "Advice",
    "Audio",
    "Check",
    "Citation",
    "Code",
    "CompiledSignature",
    "Confidence",
    "Document",
    "Embedding",
    "FieldSpec",
    "File",
    "History",
    "Image",
    "InputField",
    "Label",
    "OutputField",
    "Probability",
    "Reasoning",
    "ReasoningChain",
    "ReasoningStep",
    "Score",
    "Signature",
    "Similarity",
    "TokenUsage",
    "Tool",
    "ToolCall",
    "ToolResult",
    "advise",
    "check",
    "compile_cache_stats",
    "compile_signature",
    "register_type",
]
