"""Documents, and citations of them."""

from typing import Final, TypeAlias

from pydantic import Field, model_validator

from repertory.signatures.coercion_scalars import shown
from repertory.signatures.type_registry import TYPES
from repertory.signatures.types.structure import Structure

Fact: TypeAlias = str | int | float | bool | None

_SHORTEST: Final = 20  # characters from which on a quote says something of its own


class Document(Structure):
    """A text to work on, and where it is from."""

    text: str = Field(min_length=1)
    title: str = ""
    source: str = ""
    id: str = ""
    metadata: dict[str, Fact] = Field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


class Citation(Structure):
    """A passage of a document, word for word.

    Attributes:
        quote: The words.
        document: The id, title or number of the document; "" where there is one only.
        start: Where the quote begins in the document's text, in characters from 0.
        end: Where it ends.
    """

    quote: str = Field(min_length=1)
    document: str = ""
    start: int | None = Field(default=None, ge=0)
    end: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> "Citation":
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"it ends at {self.end}, which is not after {self.start}")
        return self

    def located(self, document: Document) -> "Citation | None":
        """The citation with the place of its quote in ``document``; None if the words are not there.

        White space and case may differ.
        """
        at = document.text.find(self.quote)
        if at >= 0:
            return self.model_copy(update={"start": at, "end": at + len(self.quote)})
        folded, places = _folded(document.text)
        wanted, _ = _folded(self.quote)
        at = folded.find(wanted)
        if not wanted or at < 0:
            return None
        return self.model_copy(update={"start": places[at], "end": places[at + len(wanted) - 1] + 1})


def _folded(text: str) -> tuple[str, list[int]]:
    """``text`` in lower case with single spaces, and where each of its characters was."""
    folded: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        if char.isspace():
            if folded and folded[-1] != " ":
                folded.append(" ")
                places.append(place)
        else:
            for lower in char.lower():
                folded.append(lower)
                places.append(place)
    if folded and folded[-1] == " ":
        del folded[-1], places[-1]
    return "".join(folded), places


def coerce_document(value: object) -> tuple[object, str]:
    """A bare text as a document. Raises ValueError for anything but text or an object."""
    if isinstance(value, str) and value.strip():
        return {"text": value}, "a text as a document"
    if isinstance(value, dict):
        return value, ""
    raise ValueError(f"{shown(value)} is no document")


def coerce_citation(value: object) -> tuple[object, str]:
    """A bare text, perhaps in quotation marks, as a citation.

    Raises:
        ValueError: It is neither a text nor an object.
    """
    if isinstance(value, str) and (quote := value.strip().strip("\"'“”«»„").strip()):
        return {"quote": quote}, f"{shown(value)} as a citation"
    if isinstance(value, dict):
        number = value.get("document")
        if isinstance(number, int) and not isinstance(number, bool):
            return {**value, "document": str(number)}, f"document {number} as text"
        return value, ""
    raise ValueError(f"{shown(value)} is no citation")


def rate_citation(citation: Citation) -> float:
    """A heuristic, for the document is not known here: a quote of a few characters proves little."""
    return min(1.0, len(citation.quote.strip()) / _SHORTEST)


TYPES.register("Document", Document, coerce=coerce_document)
TYPES.register("Citation", Citation, coerce=coerce_citation, quality=rate_citation)
