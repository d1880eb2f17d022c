"""Signatures: typed inputs and outputs of a question to a language model, compiled to validators and schemas."""

from repertory.signatures.compiled import CompiledSignature, FieldSpec, compile_signature
from repertory.signatures.fields import InputField, OutputField
from repertory.signatures.signature import Signature

__all__ = ["CompiledSignature", "FieldSpec", "InputField", "OutputField", "Signature", "compile_signature"]
