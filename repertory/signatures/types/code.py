"""Code: bare source text, without the Markdown fence that models put around it."""

import ast
import re
import textwrap
import warnings
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from repertory.errors import SignatureError
from repertory.signatures.coercion_scalars import left_out, shown
from repertory.signatures.type_registry import TYPE_KEYWORD, TYPES, TypeMark
from repertory.signatures.types.parametrised import Arguments, Parametrised, values_of

_LANGUAGE: Final = re.compile(r"[A-Za-z][\w+#.-]{0,30}")
_FENCED: Final = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n(.*?)^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL)
_FENCE: Final = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_BRACKETS: Final = str.maketrans("([{", ")]}")
_MOST_PARSED: Final = 200_000  # characters of source that are looked at for a rating


class Code(str, Parametrised[Arguments]):
    """Source text. ``Code["python"]`` tells the model which language, and keeps it in ``language``."""

    __slots__ = ("language",)

    registered_as: ClassVar[str] = "Code"
    language: str

    def __new__(cls, source: str, language: str = "") -> "Code":
        """``source`` as it is."""
        made = super().__new__(cls, source)
        made.language = language
        return made

    def __class_getitem__(cls, language: object) -> Any:
        match values_of(language):
            case [str() as name] if _LANGUAGE.fullmatch(name):
                return Annotated[cls, _Language(name), TypeMark("Code", (name,))]
        raise SignatureError(
            f"Code[{language!r}]: its argument is the name of a language", hint='Write Code["python"].'
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _code_schema("")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "contentMediaType": "text/plain", TYPE_KEYWORD: cls.registered_as}


@dataclass(frozen=True, slots=True)
class _Language:
    """The language of a code."""

    name: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _code_schema(self.name)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "contentMediaType": f"text/x-{self.name}", TYPE_KEYWORD: Code.registered_as}


def _code_schema(language: str) -> CoreSchema:
    def checked(text: str) -> Code:
        if language != "markdown" and _FENCE.search(text):
            raise ValueError("holds a Markdown fence, which is not code")
        return Code(text, language)

    return core_schema.no_info_after_validator_function(
        checked,
        core_schema.str_schema(strict=False),
        serialization=core_schema.plain_serializer_function_ser_schema(str),
    )


def coerce_code(value: object) -> tuple[object, str]:
    """What stands in the one Markdown fence of a text, or in the first of several.

    Raises:
        ValueError: It is no text, or its fence is never closed.
    """
    if isinstance(value, dict) and isinstance(value.get("code"), str):
        inner, told = coerce_code(value["code"])
        reasons = ["what is in `code`", *left_out(value, ("code",)), *([told] if told else [])]
        return inner, "; ".join(reasons)
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is no code")
    blocks = [textwrap.dedent(found[2]).removesuffix("\n") for found in _FENCED.finditer(value)]
    if not blocks:
        if _FENCE.search(value):
            raise ValueError("the Markdown fence around the code is never closed")
        return value, ""
    return blocks[0], "the code in the fence" if len(blocks) == 1 else f"the first of {len(blocks)} code blocks"


def rate_code(code: Code) -> float:
    """1 for Python that parses, 0.2 for Python that does not; else a heuristic: whether the brackets close."""
    if not code.strip():
        return 0.0
    source = str(code)
    if code.language in ("python", "py", "python3") and len(source) <= _MOST_PARSED:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ast.parse(source)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return 0.2
        return 1.0
    opened: list[str] = []
    for char in source[:_MOST_PARSED]:
        if char in "([{":
            opened.append(char.translate(_BRACKETS))
        elif char in ")]}" and (not opened or opened.pop() != char):
            return 0.4
    return 0.4 if opened else 0.8


TYPES.register("Code", Code, coerce=coerce_code, quality=rate_code)
