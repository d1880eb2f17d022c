"""Signatures: typed inputs and outputs of a question to a language model, compiled to validators and schemas."""

from repertory.signatures.advice import Advice, advise
from repertory.signatures.checks import Check, check
from repertory.signatures.compiled import CompiledSignature, FieldSpec, compile_cache_stats, compile_signature
from repertory.signatures.fields import InputField, OutputField
from repertory.signatures.signature import Signature

__all__ = [
    "Advice",
    "Check",
    "CompiledSignature",
    "FieldSpec",
    "InputField",
    "OutputField",
    "Signature",
    "advise",
    "check",
    "compile_cache_stats",
    "compile_signature",
]
