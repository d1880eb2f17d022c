"""Types that are known by name in every signature, beside those of Python."""

from repertory.signatures.types.code import Code
from repertory.signatures.types.documents import Citation, Document
from repertory.signatures.types.embedding import Embedding
from repertory.signatures.types.history import History
from repertory.signatures.types.label import Label
from repertory.signatures.types.media import Audio, File, Image, Media, MediaCollector
from repertory.signatures.types.numbers import Confidence, Probability, Score, Similarity
from repertory.signatures.types.reasoning import Reasoning, ReasoningChain, ReasoningStep
from repertory.signatures.types.tools import Tool, ToolCall, ToolResult
from repertory.signatures.types.usage import TokenUsage

__all__ = [
    "Audio",
    "Citation",
    "Code",
    "Confidence",
    "Document",
    "Embedding",
    "File",
    "History",
    "Image",
    "Label",
    "Media",
    "MediaCollector",
    "Probability",
    "Reasoning",
    "ReasoningChain",
    "ReasoningStep",
    "Score",
    "Similarity",
    "TokenUsage",
    "Tool",
    "ToolCall",
    "ToolResult",
]
